"""JPEG and JPEG-LS codestreams to pixels, by libjpeg-turbo and CharLS."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from radgaze.dicom.error import DicomError

SOI, EOI, SOS = b"\xff\xd8", b"\xff\xd9", 0xDA
FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
"""Markers that a frame begins with, that of JPEG-LS (SOF55) included."""
ALONE = {0x01, *range(0xD0, 0xD8)}
"""Markers without a length."""


def decode(codestream: bytes, rows: int, columns: int, *, ls: bool) -> NDArray[Any]:
    """The pixels (rows, columns), 8 or 16 bits, unsigned: of signed ones their bits.

    Args:
        codestream: Baseline, extended (up to 12 bits) or lossless JPEG (ITU-T T.81), or JPEG-LS (T.87).
        rows, columns: What it should hold.
        ls: Whether it is JPEG-LS.

    Raises:
        DicomError: It is none, holds another image, or ends early.
    """
    import imagecodecs  # half a second, and few files need it

    if _frame(codestream) != (rows, columns, 1):
        raise DicomError("wrong_length", "the JPEG codestream has not the size that the header says")
    # Bytes of a scan are stuffed, so that this marker is nowhere in them. Decoders make up what is missing.
    if EOI not in codestream[len(codestream) // 2 :]:
        raise DicomError("truncated", "the JPEG codestream has no end")
    decoder = imagecodecs.jpegls_decode if ls else imagecodecs.jpeg8_decode
    return np.asarray(decoder(codestream))


def _frame(codestream: bytes) -> tuple[int, int, int]:
    """Height, width and components, as the first frame's header says: decoders believe only this."""
    if not codestream.startswith(SOI):
        raise DicomError("broken", "no JPEG codestream")
    at = len(SOI)
    while at + 4 <= len(codestream) and codestream[at] == 0xFF:
        marker = codestream[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in ALONE:
            at += 2
        elif marker in FRAMES and at + 10 <= len(codestream):
            height, width = (int.from_bytes(codestream[i : i + 2], "big") for i in (at + 5, at + 7))
            return height, width, codestream[at + 9]
        elif marker == SOS:
            break
        else:
            at += 2 + int.from_bytes(codestream[at + 2 : at + 4], "big")
    raise DicomError("broken", "the JPEG codestream has no frame")
