"""Check that a JPEG 2000 codestream is complete and agrees with the file's header (ITU-T T.800 annex A)."""

from __future__ import annotations

from collections import Counter

from radgaze.dicom.error import DicomError

START, SOT, EOC = b"\xff\x4f\xff\x51", b"\xff\x90", b"\xff\xd9"


def check(codestream: bytes, rows: int, columns: int, bits: int) -> None:
    """Compare a codestream's size (SIZ) with the header's, which the decoder does not, and count its tiles.

    A decoder leaves missing tiles black.

    Raises:
        DicomError: The size differs, pixels have more than `bits` bits, or tiles are missing.
    """
    at = codestream.find(START, 0, 4096)  # 0 by the standard; some wrap it in a JP2 file
    if at < 0 or len(codestream) < at + 45:
        raise DicomError("broken", "no JPEG 2000 codestream")
    x1, y1, x0, y0, width, height, left, top = (
        int.from_bytes(codestream[i : i + 4], "big") for i in range(at + 8, at + 40, 4)
    )
    samples = int.from_bytes(codestream[at + 40 : at + 42], "big")
    # Separations of samples (XRsiz, YRsiz) other than 1 would make another image.
    if (y1 - y0, x1 - x0, samples, *codestream[at + 43 : at + 45]) != (rows, columns, 1, 1, 1):
        raise DicomError("wrong_length", "the JPEG 2000 codestream has not the size that the header says")
    if codestream[at + 42] % 128 >= bits:  # Ssiz: the sign, and the depth less one
        raise DicomError("bad_bits", f"a codestream of more than the {bits} bits allocated")
    if not (width and height and left <= x0 < left + width and top <= y0 < top + height):
        raise DicomError("broken", "the JPEG 2000 codestream has no tiles that make sense")
    tiles = -(-(x1 - left) // width) * -(-(y1 - top) // height)
    _check_tiles(codestream, _main_header_end(codestream, at + 2), tiles)


def _main_header_end(codestream: bytes, at: int) -> int:
    """Offset of the first tile-part."""
    while codestream[at : at + 2] != SOT:
        length = int.from_bytes(codestream[at + 2 : at + 4], "big")
        if codestream[at : at + 1] != b"\xff" or length < 2:
            raise DicomError("broken", "the JPEG 2000 codestream has no tile")
        at += 2 + length
    return at


def _check_tiles(codestream: bytes, at: int, tiles: int) -> None:
    seen: Counter[int] = Counter()
    stated: dict[int, int] = {}
    while codestream[at : at + 2] == SOT:
        if len(codestream) < at + 12:
            raise DicomError("truncated", "the JPEG 2000 codestream ends early")
        tile, length = (
            int.from_bytes(codestream[i:j], "big") for i, j in ((at + 4, at + 6), (at + 6, at + 10))
        )
        part, parts = codestream[at + 10], codestream[at + 11]
        if tile >= tiles or part != seen[tile] or 0 < length < 14:
            raise DicomError("broken", "the tiles of the JPEG 2000 codestream make no sense")
        seen[tile] += 1
        if parts:
            stated[tile] = parts
        if not length:  # the last one, which ends with the codestream
            end = codestream.rfind(EOC)
            at = end if end > at else len(codestream) + 1
        else:
            at += length
        if at > len(codestream):
            raise DicomError("truncated", "the JPEG 2000 codestream ends early")
    if codestream[at : at + 2] not in (EOC, b"", b"\0"):
        raise DicomError("broken", "the tiles of the JPEG 2000 codestream do not end where it does")
    if len(seen) != tiles or any(seen[tile] != parts for tile, parts in stated.items()):
        raise DicomError("truncated", "the JPEG 2000 codestream lacks tiles")
