"""Open a DICOM file so that parsing it takes bounded memory and time."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO, cast

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset, read_preamble
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from radgaze.dicom.error import DicomError
from radgaze.dicom.guard import Source, opened

HEADER_BYTES = 64 * 2**20
"""Most bytes of a file beside its pixels."""

HEAD = 8
"""Bytes of an element before its value, as pydicom reads them."""

MAX_READS = 100_000
"""Most reads of a file; an element takes one to four. Radiographs have a few hundred elements."""

MAX_VALUE = 2**20
"""Most bytes of an element that is used, besides the pixels; look-up tables take 128 KiB."""

MAX_TEXT = 2**10
"""Most bytes of an element that describes the encoding or the pixels; such an element takes a few."""

MAX_FRAGMENTS = 10_000
"""Most fragments of compressed pixels; most files have one."""

MAX_ITEMS = 1000
"""Most items of a sequence that is used; of a look-up table's the first is used."""

CHARACTER_SET = (b"\x08\x00\x05\x00", b"\x00\x08\x00\x05")
"""Tag of Specific Character Set in both byte orders; pydicom parses this element as it reads the file."""

ITEM, END, ITEM_BIG = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0", b"\xff\xfe\xe0\x00"


@contextmanager
def opened_dicom(source: Source, max_pixels: int) -> Iterator[tuple[BinaryIO, bool]]:
    """Open a file that is not far larger than any image that would be read.

    Args:
        source: The file.
        max_pixels: Most pixels of an image that is read.

    Yields:
        The file and whether it is deflated. A deflated file is inflated, under the transfer syntax that it
        then has. Reading raises `too_large` after `MAX_READS` reads.
    """
    limit = 2 * max_pixels + HEADER_BYTES
    with opened(source, limit) as file:
        counted = _Counted(file)
        plain = _inflated(cast(BinaryIO, counted), limit)
        counted.seek(0)
        yield cast(BinaryIO, counted if plain is None else _Counted(plain)), plain is not None


class _Counted:
    """A file with a limit on its reads, as parsing very many elements, or character sets, takes long."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._reads, self._is_character_set = file, 0, False
        self.seek, self.tell = file.seek, file.tell
        self.seek(0)

    def read(self, size: int = -1) -> bytes:
        self._reads += 1
        if self._reads > MAX_READS:
            raise DicomError("too_large", "the file has far more elements than a radiograph")
        if self._is_character_set and size > MAX_TEXT:
            raise DicomError(
                "too_large", f"the file's SpecificCharacterSet is larger than {_shown(MAX_TEXT)}"
            )
        content = self._file.read(size)
        if size == HEAD:
            self._is_character_set = content.startswith(CHARACTER_SET)
        return content


def _inflated(file: BinaryIO, limit: int) -> BinaryIO | None:
    """A deflated file inflated piece by piece, so that its size is bounded; None for another file."""
    read_preamble(file, force=False)
    meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
    check_values(meta, ("TransferSyntaxUID",), most=MAX_TEXT)
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
        raise DicomError("broken", "the deflated data are damaged") from error
    if not inflater.eof:
        raise DicomError("truncated", "the deflated data end early")
    return plain


def check_values(dataset: Dataset, keywords: Sequence[str], *, most: int = MAX_VALUE) -> None:
    """Refuse elements that would take long to parse.

    Args:
        dataset: Elements that are not parsed yet.
        keywords: Elements to check.
        most: Most bytes of an element.

    Raises:
        DicomError: An element of `keywords` is too large.
    """
    for keyword in keywords:
        raw = dataset.get_item(keyword) if keyword in dataset else None
        if not isinstance(raw, RawDataElement) or raw.value is None:
            continue
        if len(raw.value) > most:
            raise DicomError("too_large", f"the file's {keyword} is larger than {_shown(most)}")
        item = ITEM if raw.is_little_endian else ITEM_BIG
        if keyword.endswith("Sequence") and raw.value.count(item) > MAX_ITEMS:
            raise DicomError("too_large", f"the file's {keyword} has more than {MAX_ITEMS:,} items")


def _shown(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 2**20 else f"{size >> 10} KiB"


def check_fragments(data: bytes) -> None:
    """Refuse compressed pixels in very many fragments, or in truncated ones.

    Raises:
        DicomError: There are too many fragments, or they are damaged.
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
