"""Decode JPEG and JPEG-LS codestreams, by libjpeg-turbo and CharLS."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from radgaze.dicom.error import DicomError
from radgaze.dicom.scan import EOI, check_lossless, check_sequential, damaged, frame, parse

BASELINE, EXTENDED, PROGRESSIVE, LOSSLESS = 0xC0, 0xC1, 0xC2, 0xC3


def decode(codestream: bytes, rows: int, columns: int, *, ls: bool) -> NDArray[np.integer]:
    """Decode a codestream to pixels (rows, columns) of 8 or 16 bits, unsigned: of signed ones their bits.

    Args:
        codestream: Baseline, extended (up to 12 bits) or lossless JPEG (ITU-T T.81), or JPEG-LS (T.87).
        rows, columns: Size of the image by the file's header.
        ls: Whether it is JPEG-LS.

    Raises:
        DicomError: It is no codestream, of another size, ends early, or is found to be damaged.
    """
    import imagecodecs  # half a second, and few files need it

    if frame(codestream) != (rows, columns, 1):
        raise DicomError("wrong_length", "the JPEG codestream has not the size that the header says")
    # Bytes of a scan are stuffed, so that this marker does not occur in them. Decoders fill missing data in.
    if EOI not in codestream[len(codestream) // 2 :]:
        raise DicomError("truncated", "the JPEG codestream has no end")
    if ls:
        return np.asarray(imagecodecs.jpegls_decode(codestream))
    stream = parse(codestream)
    if stream.kind != LOSSLESS:
        check(codestream)
        return np.asarray(imagecodecs.jpeg8_decode(codestream))
    pixels = np.asarray(imagecodecs.jpeg8_decode(codestream))
    if pixels.shape != (rows, columns) or not stream.whole:
        raise damaged()
    check_lossless(stream, pixels)
    return pixels


WALKED = 2**19
"""Bytes up to which every code is checked; libjxl is faster, and finds less."""


def check(codestream: bytes) -> None:
    """Refuse lossy JPEG whose data do not end where its image does.

    Small and deep codestreams are checked code by code, the others by libjxl, which is faster and finds less
    damage.

    Raises:
        DicomError: The codestream is found to be damaged.
    """
    import imagecodecs

    stream = parse(codestream)
    sequential = stream.kind in (BASELINE, EXTENDED)
    if sequential and stream.whole and (stream.precision > 8 or len(codestream) <= WALKED):
        check_sequential(stream)
    elif stream.precision == 8 and (sequential or stream.kind == PROGRESSIVE):
        try:
            imagecodecs.jpegxl_encode_jpeg(codestream)
        except RuntimeError:
            if not (sequential and stream.whole):
                raise damaged() from None
            check_sequential(stream)  # libjxl refuses some unusual ones
