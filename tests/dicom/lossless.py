"""A lossless JPEG encoder in plain Python, after ITU-T T.81 annex H, for what no encoder at hand writes.

It shares nothing with any decoder, so it is the oracle of what a stream means: each of the seven predictors,
any precision, restart intervals and the point transform.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

# Every category of difference gets a code of five bits: 17 of the 31 that may be (K.2 excludes all ones).
TABLE = bytes([0, *(0, 0, 0, 0, 17), *[0] * 11, *range(17)])


def encode(pixels: np.ndarray, *, bits: int, predictor: int, shift: int = 0, restart: int = 0) -> bytes:
    """Encode (H, W) unsigned integers.

    Args:
        bits: Precision, 2 to 16.
        predictor: Selection value, 1 to 7 (table H.1).
        shift: Point transform: so many lower bits are lost.
        restart: Rows after which prediction begins again; 0 for never.
    """
    rows, columns = pixels.shape
    stream = b"\xff\xd8"
    stream += _segment(0xC3, bytes([bits]) + _word(rows) + _word(columns) + bytes([1, 1, 0x11, 0]))
    stream += _segment(0xC4, TABLE)
    if restart:
        stream += _segment(0xDD, _word(restart * columns))
    stream += _segment(0xDA, bytes([1, 1, 0, predictor, 0, shift]))
    samples = pixels.astype(np.int64) >> shift
    step = restart or rows
    for k, top in enumerate(range(0, rows, step)):
        stream += bytes([0xFF, 0xD0 + (k - 1) % 8]) if k else b""
        stream += _entropy(samples[top : top + step].tolist(), 2 ** (bits - shift - 1), predictor)
    return stream + b"\xff\xd9"


def _entropy(samples: list[list[int]], first: int, predictor: int) -> bytes:
    word = "".join(_code(difference) for difference in _differences(samples, first, predictor))
    word += "1" * (-len(word) % 8)
    return int(word, 2).to_bytes(len(word) // 8, "big").replace(b"\xff", b"\xff\x00")


def _differences(samples: list[list[int]], first: int, predictor: int) -> Iterator[int]:
    """H.1.2.1: the first line is predicted from the left, the first of each other line from above."""
    for y, row in enumerate(samples):
        for x, sample in enumerate(row):
            a = row[x - 1] if x else 0
            b = samples[y - 1][x] if y else 0
            c = samples[y - 1][x - 1] if x and y else 0
            if not y:
                guess = a if x else first
            elif not x:
                guess = b
            else:
                guess = (a, b, c, a + b - c, a + ((b - c) >> 1), b + ((a - c) >> 1), (a + b) >> 1)[
                    predictor - 1
                ]
            yield (sample - guess + 2**15 - 1) % 2**16 - 2**15 + 1  # modulo 2¹⁶, in −32767 … 32768


def _code(difference: int) -> str:
    size = abs(difference).bit_length()
    if not size or size == 16:
        return f"{size:05b}"
    return f"{size:05b}{difference if difference > 0 else difference + 2**size - 1:0{size}b}"


def _segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + _word(len(body) + 2) + body


def _word(number: int) -> bytes:
    return number.to_bytes(2, "big")
