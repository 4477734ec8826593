"""Check that the entropy-coded data of a JPEG codestream are as long as its image (ITU-T T.81).

Decoders fill missing data in and ignore surplus data. Changed bits often move the end of the data, so the
comparison finds damage, for which JPEG has no checksum.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from radgaze.dicom.elements import Block, CodesError, lookup, walk
from radgaze.dicom.error import DicomError

FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
"""Markers that a frame begins with, that of JPEG-LS (SOF55) included."""
ALONE = {0x01, *range(0xD0, 0xD8)}
"""Markers without a length."""
SOI, EOI, SOS, DQT, DHT, DRI = b"\xff\xd8", b"\xff\xd9", 0xDA, 0xDB, 0xC4, 0xDD
PREDICTORS: dict[int, Callable[..., NDArray[np.uint16]]] = {
    1: lambda left, above, corner: left,
    2: lambda left, above, corner: above,
    3: lambda left, above, corner: corner,
    4: lambda left, above, corner: left + above - corner,
    5: lambda left, above, corner: left + _halved(above, corner),
    6: lambda left, above, corner: above + _halved(left, corner),
    7: lambda left, above, corner: ((left.astype(np.uint32) + above) >> 1).astype(np.uint16),
}
"""Predictions of a lossless scan from the samples beside, above and in between (table H.1), modulo 2¹⁶."""
ROWS = 64
"""Rows processed together, so that their arrays stay in the processor's cache."""
END_OF_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
RESTART = re.compile(rb"\xff+([\xd0-\xd7])")


@dataclass
class Stream:
    """A codestream up to the end of its first scan.

    Attributes:
        kind: Second byte of the frame's marker.
        precision: Bits of a sample.
        height, width: Size of the image in pixels.
        components: For each component's number its sampling, across and along, and its quantisation table.
        steps: For each quantisation table its first entry, the step of the block's mean.
        tables: For each class (0 DC or lossless, 1 AC) and number of a table, symbol to (code, length).
        interval: MCUs between restarts, 0 for none.
        parts: The data between restarts, unstuffed.
        selected: For each component of the scan its number, and the numbers of its tables for DC and AC.
        predictor, shift: Predictor and point transform of a lossless scan.
        whole: Whether the image ends with this scan.
    """

    kind: int = 0
    precision: int = 0
    height: int = 0
    width: int = 0
    components: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    steps: dict[int, int] = field(default_factory=dict)
    tables: dict[tuple[int, int], dict[int, tuple[int, int]]] = field(default_factory=dict)
    interval: int = 0
    parts: list[bytes] = field(default_factory=list)
    selected: list[tuple[int, int, int]] = field(default_factory=list)
    predictor: int = 0
    shift: int = 0
    whole: bool = False


def _halved(a: NDArray[np.uint16], b: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """(a − b)/2, rounded down."""
    return ((a.astype(np.int32) - b) >> 1).astype(np.uint16)


def damaged() -> DicomError:
    """The error for data that contradict the headers."""
    return DicomError("broken", "the JPEG codestream is damaged: its data do not end where its image does")


def frame(codestream: bytes) -> tuple[int, int, int]:
    """Height, width and components in the first frame's header, which decoders rely on."""
    for marker, body, _ in _segments(codestream):
        if marker in FRAMES and len(body) >= 6:
            return int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big"), body[5]
        if marker == SOS:
            break
    raise DicomError("broken", "the JPEG codestream has no frame")


def parse(codestream: bytes) -> Stream:
    """Parse the headers of a codestream, and the data of its first scan.

    Raises:
        DicomError: The headers make no sense.
    """
    stream = Stream()
    try:
        for marker, body, end in _segments(codestream):
            if marker == DHT:
                _read_tables(body, stream)
            elif marker == DQT:
                _read_steps(body, stream)
            elif marker == DRI:
                stream.interval = int.from_bytes(body[:2], "big")
            elif marker in FRAMES:
                stream.kind, stream.precision = marker, body[0]
                stream.height, stream.width = (
                    int.from_bytes(body[1:3], "big"),
                    int.from_bytes(body[3:5], "big"),
                )
                stream.components = {
                    body[i]: (body[i + 1] >> 4, body[i + 1] & 15, body[i + 2])
                    for i in range(6, 6 + 3 * body[5], 3)
                }
            elif marker == SOS:
                count = body[0]
                stream.selected = [
                    (body[i], body[i + 1] >> 4, body[i + 1] & 15) for i in range(1, 1 + 2 * count, 2)
                ]
                stream.predictor, stream.shift = body[1 + 2 * count], body[3 + 2 * count] & 15
                _read_scan(codestream, end, stream)
                return stream
    except IndexError:
        raise damaged() from None
    raise DicomError("broken", "the JPEG codestream has no scan")


def check_lossless(stream: Stream, pixels: NDArray[np.integer]) -> None:
    """Compare the bits that the decoded samples take with those in the data.

    Raises:
        DicomError: The numbers differ, or samples have more bits than the image.
    """
    if int(pixels.max()) >> stream.precision:
        raise damaged()
    rows_at_once = stream.height
    if stream.interval:
        _check_count(stream, stream.height * stream.width)
        if stream.interval % stream.width:
            return  # restarts within rows, which only old software writes
        rows_at_once = stream.interval // stream.width
    bits = _bits_of_differences(stream.tables.get((0, stream.selected[0][1]), {}))
    for i, data in enumerate(stream.parts):
        rows = slice(i * rows_at_once, (i + 1) * rows_at_once)
        samples = pixels[rows].astype(np.uint16) >> np.uint16(stream.shift)
        needed = sum(int(bits[part].sum(dtype=np.int64)) for part in _differences(samples, stream))
        _check_end(data, needed)


def _bits_of_differences(table: dict[int, tuple[int, int]]) -> NDArray[np.uint8]:
    """Bits that each difference modulo 2¹⁶ takes: its category's code, and the category (table H.1)."""
    lengths = np.zeros(17, np.uint8)
    for symbol, (_, length) in table.items():
        if symbol <= 16:
            lengths[symbol] = length + (symbol if symbol < 16 else 0)
    difference = np.arange(2**16)
    size = np.where(difference > 2**15, 2**16 - difference, difference)
    return lengths[np.frexp(size.astype(np.float64))[1]]


def _differences(samples: NDArray[np.uint16], stream: Stream) -> Iterator[NDArray[np.uint16]]:
    """The differences modulo 2¹⁶ of samples from their predictions (H.1.2.1), rows at a time."""
    predict = PREDICTORS.get(stream.predictor)
    if predict is None:
        raise damaged()
    first = samples[0]
    start = np.uint16(1 << (stream.precision - stream.shift - 1))
    yield np.concatenate([first[:1] - start, first[1:] - first[:-1]])
    yield samples[1:, 0] - samples[:-1, 0]
    for top in range(1, len(samples), ROWS):
        rows, before = samples[top : top + ROWS], samples[top - 1 : top - 1 + ROWS][: len(samples) - top]
        yield rows[:, 1:] - predict(rows[:, :-1], before[:, 1:], before[:, :-1])


def check_sequential(stream: Stream) -> None:
    """Check the Huffman codes of a scan of DCT coefficients, one after the other.

    Raises:
        DicomError: The data are no codes, or do not end with the image.
    """
    numbers = [number for number, _, _ in stream.selected]
    if sorted(numbers) != sorted(stream.components) or not stream.whole:
        raise damaged()  # images with colours in several scans have the other check alone
    across = max(a for a, _, _ in stream.components.values()) if len(numbers) > 1 else 1
    along = max(b for _, b, _ in stream.components.values()) if len(numbers) > 1 else 1
    count = -(-stream.width // (8 * across)) * -(-stream.height // (8 * along))
    lookups = {key: lookup(table, ac=key[0] == 1) for key, table in stream.tables.items()}
    blocks: list[Block] = []
    for i, (number, dc, ac) in enumerate(stream.selected):
        columns, rows, table = stream.components[number]
        step = stream.steps.get(table, 1)
        limit = (2 ** (stream.precision + 2) + step) // max(step, 1)  # eight times the furthest mean
        repeats = columns * rows if len(numbers) > 1 else 1
        if (0, dc) not in lookups or (1, ac) not in lookups:
            raise damaged()
        blocks += [Block(i, limit, lookups[0, dc], lookups[1, ac])] * repeats
    _check_count(stream, count)
    for i, part in enumerate(stream.parts):
        left = count - i * stream.interval
        try:
            needed = walk(part, min(left, stream.interval) if stream.interval else left, blocks)
        except CodesError:
            raise damaged() from None
        _check_end(part, needed)


def _check_count(stream: Stream, units: int) -> None:
    """Compare the number of restarts with that of an image of so many units."""
    if len(stream.parts) != (-(-units // stream.interval) if stream.interval else 1):
        raise damaged()


def _check_end(part: bytes, needed: int) -> None:
    """Compare a part's bits with those needed: less than a byte may remain, of ones (some write zeros)."""
    left = 8 * len(part) - needed
    if not 0 <= left < 8 or (part[-1] if part else 0) & (2**left - 1) not in (0, 2**left - 1):
        raise damaged()


def _segments(codestream: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Markers, the bodies of their segments, and where these end, up to invalid data or the first scan."""
    if not codestream.startswith(SOI):
        raise DicomError("broken", "no JPEG codestream")
    at = len(SOI)
    while at + 4 <= len(codestream) and codestream[at] == 0xFF:
        marker = codestream[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in ALONE:
            at += 2
        else:
            end = at + 2 + int.from_bytes(codestream[at + 2 : at + 4], "big")
            yield marker, codestream[at + 4 : end], end
            if marker == SOS:
                return
            at = end


def _read_tables(body: bytes, stream: Stream) -> None:
    at = 0
    while at < len(body):
        counts = body[at + 1 : at + 17]
        symbols = body[at + 17 : at + 17 + sum(counts)]
        if len(symbols) < sum(counts):
            raise damaged()
        code, table, k = 0, {}, 0
        for length, many in enumerate(counts, 1):
            for symbol in symbols[k : k + many]:
                table[symbol] = code, length
                code += 1
            k += many
            if code > 1 << length:
                raise damaged()
            code <<= 1
        stream.tables[body[at] >> 4, body[at] & 15] = table
        at += 17 + len(symbols)


def _read_steps(body: bytes, stream: Stream) -> None:
    at = 0
    while at < len(body):
        wide = body[at] >> 4
        stream.steps[body[at] & 15] = int.from_bytes(body[at + 1 : at + 2 + bool(wide)], "big")
        at += 129 if wide else 65


def _read_scan(codestream: bytes, start: int, stream: Stream) -> None:
    end = END_OF_SCAN.search(codestream, start)
    if end is None:
        raise DicomError("truncated", "the JPEG codestream has no end")
    data = codestream[start : end.start()].rstrip(b"\xff")  # bytes that fill before a marker
    stream.whole = end.group() == EOI
    marks = [int(mark[0]) - 0xD0 for mark in RESTART.findall(data)]
    if marks != [k % 8 for k in range(len(marks))]:
        raise damaged()
    stream.parts = [part.replace(b"\xff\x00", b"\xff") for part in RESTART.split(data)[::2]]
