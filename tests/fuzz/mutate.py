"""Changes drawn at random, of bytes, text and structures; all from one generator, so that they repeat."""

from __future__ import annotations

import json
import random
from pathlib import Path

WORDS = """- 0 -1 1 7 1.5 1e3 nan inf -inf null None true [] {} a,b a=b =1+1 " ' \\ ../x nowhere . .. * ?
[b] [/b] %s {x} \x1b[31m é 肺炎 \u202e \udcff 99999999999999999999"""
NASTY = ("", " ", "\t", "\n", "x" * 300, "x/" * 60, *WORDS.split())
"""Words that software trips over; none of them names a place outside the folder of the try."""
NUMBERS = (None, True, 0, -1, 1.5, 2**70, float("nan"))
VALUES: tuple[object, ...] = (*NUMBERS, "", "x", "../x", [], [None], {}, {"a": 1})
CHUNK = 64


def spoil(data: bytes, draw: random.Random, start: int = 0, end: int | None = None) -> bytes:
    """One to eight changes between two places: bits flipped, bytes set, cut out, doubled or put in."""
    end = len(data) if end is None else min(end, len(data))
    part = bytearray(data[start:end])
    for _ in range(draw.choice((1, 1, 2, 8))):
        if not part:
            break
        at, long = draw.randrange(len(part)), draw.randint(1, CHUNK)
        match draw.randrange(6):
            case 0 | 1:
                part[at] ^= 1 << draw.randrange(8)
            case 2:
                part[at] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
            case 3:
                del part[at : at + long]
            case 4:
                part[at:at] = part[at : at + long]
            case _:
                part[at:at] = draw.randbytes(long)
    if draw.random() < 0.1:
        return data[:start] + bytes(part[: draw.randrange(len(part) + 1)])
    return data[:start] + bytes(part) + data[end:]


def exchange(data: bytes, draw: random.Random, start: int, end: int) -> bytes:
    """The bytes between two places set at random; nothing moves."""
    part = bytearray(data[start:end])
    for _ in range(draw.randint(1, 8)):
        part[draw.randrange(len(part))] = draw.randrange(256)
    return data[:start] + bytes(part) + data[end:]


def spoil_value(value: object, draw: random.Random) -> object:
    """A JSON value with one place of it replaced, removed or put deeper."""
    if isinstance(value, dict) and value and draw.random() < 0.9:
        key = draw.choice(sorted(value, key=str))
        rest = {name: kept for name, kept in value.items() if name != key}
        if draw.random() < 0.15:
            return rest
        return rest | {key: spoil_value(value[key], draw)}
    if isinstance(value, list) and value and draw.random() < 0.9:
        at = draw.randrange(len(value))
        return [*value[:at], spoil_value(value[at], draw), *value[at + 1 :]]
    return draw.choice((*VALUES, [value], {"a": value}))


def spoil_file(path: Path, others: list[Path], draw: random.Random) -> str:
    """Change one file in a folder; return what was done to it."""
    data, kind = path.read_bytes(), draw.randrange(10)
    if path.suffix == ".json" and kind < 7:
        path.write_text(json.dumps(spoil_value(json.loads(data), draw)), encoding="utf-8")
        return "value changed"
    if path.suffix in (".yaml", ".csv") and kind < 7:
        path.write_bytes(spoil_line(data, draw))
        return "line changed"
    if kind < 7:
        path.write_bytes(spoil(data, draw))
        return "bytes changed"
    path.unlink()
    if kind == 7:
        path.write_bytes(data[: draw.choice((0, len(data) // 2, max(len(data) - 1, 0)))])
        return "cut"
    if kind == 8:
        path.write_bytes(draw.choice(others).read_bytes())
        return "another file's content"
    if draw.random() < 0.3:
        path.mkdir()
        return "a folder in its place"
    return "removed"


def spoil_line(data: bytes, draw: random.Random) -> bytes:
    """Text with one line lost, doubled, or its last value exchanged."""
    lines = data.split(b"\n")
    at = draw.randrange(len(lines))
    match draw.randrange(4):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, lines[draw.randrange(len(lines))])
        case _:
            cut = max(lines[at].rfind(sign) for sign in (b":", b","))
            word = draw.choice(NASTY).encode("utf-8", "surrogateescape")
            lines[at] = lines[at][: cut + 1] + b" " * (b":" in lines[at]) + word
    return b"\n".join(lines)
