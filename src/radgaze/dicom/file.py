"""A DICOM file, opened so that parsing it takes bounded memory and time."""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset, read_preamble
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from radgaze.dicom.error import DicomError
from radgaze.dicom.guard import opened

HEADER_BYTES = 64 * 2**20
"""What a file may hold beside its pixels."""

MAX_READS = 100_000
"""Reads of a file, of which an element takes one to four. Radiographs have a few hundred elements."""

MAX_VALUE = 2**20
"""Bytes of an element that is used, pixels apart; look-up tables take 128 KiB."""

MAX_FRAGMENTS = 10_000
"""Pieces that compressed pixels come in; most come in one."""

ITEM, END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"


@contextmanager
def opened_dicom(path: str | os.PathLike[str], max_pixels: int) -> Iterator[tuple[BinaryIO, bool]]:
    """The file, if it is not far larger than any image that would be read, and whether it is deflated.

    What comes of a deflated file is the same inflated, under the transfer syntax that it then has. Reading
    raises `too_large` once there have been `MAX_READS` reads.
    """
    limit = 2 * max_pixels + HEADER_BYTES
    with opened(path, limit) as file:
        plain = _inflated(file, limit)
        counted = _Counted(plain or file)
        yield cast(BinaryIO, counted), plain is not None


class _Counted:
    """A file that is read only so often: of very many tiny elements each costs microseconds."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._reads = file, 0
        self.seek, self.tell = file.seek, file.tell
        self.seek(0)

    def read(self, size: int = -1) -> bytes:
        self._reads += 1
        if self._reads > MAX_READS:
            raise DicomError("too_large", "the file has far more elements than a radiograph")
        return self._file.read(size)


def _inflated(file: BinaryIO, limit: int) -> BinaryIO | None:
    """A deflated file inflated piece by piece, so that it stays small; None for another."""
    read_preamble(file, force=False)
    meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return None
    size, rest = file.tell(), file.read()
    file.seek(0)
    uid = ExplicitVRLittleEndian.encode().ljust(len(DeflatedExplicitVRLittleEndian), b"\0")
    plain = io.BytesIO()
    plain.write(file.read(size).replace(DeflatedExplicitVRLittleEndian.encode(), uid))
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        while rest and not inflater.eof:
            plain.write(inflater.decompress(rest, 2**20))
            rest = inflater.unconsumed_tail
            if plain.tell() > limit:
                raise DicomError("too_large", f"the file inflates to more than {limit >> 20} MiB")
    except zlib.error as error:
        raise DicomError("broken", "the deflated data make no sense") from error
    if not inflater.eof:
        raise DicomError("truncated", "the deflated data end early")
    return plain


def check_values(dataset: Dataset, keywords: tuple[str, ...]) -> None:
    """Refuse an element of `keywords` that would take long to parse.

    Raises:
        DicomError: There is one.
    """
    for keyword in keywords:
        raw = dataset.get_item(keyword) if keyword in dataset else None
        if isinstance(raw, RawDataElement) and raw.value is not None and len(raw.value) > MAX_VALUE:
            raise DicomError("too_large", f"the file's {keyword} is larger than {MAX_VALUE >> 20} MiB")


def check_fragments(data: bytes) -> None:
    """Refuse compressed pixels in very many pieces, or in pieces that are cut.

    Raises:
        DicomError: They are.
    """
    at = count = 0
    while data[at : at + 4] == ITEM:
        at += 8 + int.from_bytes(data[at + 4 : at + 8], "little")
        count += 1
        if count > MAX_FRAGMENTS:
            raise DicomError("too_large", "the pixel data come in far too many pieces")
    if at > len(data):
        raise DicomError("truncated", "the file ends within its pixel data")
    if data[at : at + 4] not in (b"", END):
        raise DicomError("broken", "the pieces of the pixel data make no sense")
