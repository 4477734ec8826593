"""Tables of labels, fixations and boxes with cells, lines, names, separators, encodings and bytes changed."""

from __future__ import annotations

import csv
import io
import random
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from tests.fuzz.mutate import NASTY, spoil
from tests.fuzz.runner import command

CASES = 8
SCORED = ("", "nan", "N/A", "-", "-1", "0.5", "1e400", "-0", "２", "1,5", "0x10", "True", "yes", "2024-01-01")


def setup(folder: Path) -> None:
    """Eight pictures of four patients, and a table of each sort."""
    draw = np.random.default_rng(0)
    (folder / "images").mkdir()
    tables: dict[str, list[list[object]]] = {
        "labels": [["image", "patient_id", "age", "Normal", "Sick"]],
        "fixations": [["case", "x", "y", "onset", "duration", "reader"]],
        "boxes": [["image", "label", "x", "y", "width", "height"]],
    }
    for i in range(CASES):
        name = f"c{i}.png"
        Image.fromarray(draw.integers(0, 255, (40, 30), np.uint8)).save(folder / "images" / name)
        tables["labels"].append([name, f"p{i // 2}", 40 + i, i % 2, 1 - i % 2])
        tables["fixations"] += [[f"c{i}", 3 * k, 4 * k, 0.3 * k, 0.2, f"r{i % 2}"] for k in range(4)]
        tables["boxes"].append([name, "opacity", 3, 4, 10, 12 + i])
    for name, rows in tables.items():
        (folder / f"{name}.csv").write_bytes(text(rows))


def text(rows: list[list[object]], separator: str = ",") -> bytes:
    file = io.StringIO()
    csv.writer(file, delimiter=separator, lineterminator="\n").writerows(rows)
    return file.getvalue().encode("utf-8", "surrogateescape")


def attempt(folder: Path, draw: random.Random) -> str:
    """Read a cohort of which one table is changed; of each tenth make a store too."""
    victim = draw.choice(("labels", "labels", "fixations", "boxes"))
    paths: dict[str, Path] = {}
    for name in ("labels", "fixations", "boxes"):
        paths[name] = folder / "input" / f"{name}.csv"
        data = (folder / f"{name}.csv").read_bytes()
        if name == victim:
            data = changed(data, draw)
            if draw.random() < 0.1:
                as_parquet(data, paths[name].with_suffix(".parquet"))
                if paths[name].with_suffix(".parquet").exists():
                    paths[name] = paths[name].with_suffix(".parquet")
        paths[name].write_bytes(data) if paths[name].suffix == ".csv" else None
    arguments = ["--table", str(paths["labels"]), "--images", str(folder / "images")]
    arguments += ["--fixations", str(paths["fixations"]), "--boxes", str(paths["boxes"])]
    if draw.random() < 0.2:
        arguments += [
            draw.choice(("--separator", "--encoding", "--seed", "--fixation-frame")),
            draw.choice(NASTY),
        ]
    if draw.random() < 0.2:
        arguments += [
            draw.choice(("--labels", "--classes")),
            *draw.choices(("Normal", "Sick", "age", "x"), k=2),
        ]
    return command(["prepare", "table", *arguments, "--size", "16", "--workers", "1", "--out", "store"])


def changed(data: bytes, draw: random.Random) -> bytes:
    """The table with one or two changes of its cells and lines, and sometimes of how it is written."""
    rows: list[list[object]] = [list(row) for row in csv.reader(io.StringIO(data.decode()))]
    for _ in range(draw.choice((1, 1, 2))):
        at = draw.randrange(len(rows)) if draw.random() < 0.8 else 0  # 0 is the header
        k = draw.randrange(len(rows[at])) if rows[at] else 0
        match draw.randrange(9):
            case 0 | 1 | 2 if rows[at]:
                rows[at][k] = draw.choice((*NASTY, *SCORED))
            case 3 if rows[at] and k < min(map(len, rows)):
                word = draw.choice(SCORED)
                for row in rows[1:]:
                    row[k] = word
            case 4 if k < min(map(len, rows)):
                for row in rows:
                    del row[k]
            case 5:
                rows.insert(draw.randrange(len(rows) + 1), list(rows[at]))
            case 6:
                rows[at] = rows[at][:k] if draw.random() < 0.5 else [*rows[at], "more"]
            case 7:
                del rows[draw.randrange(len(rows)) :]
            case _ if rows[at]:
                rows[at][k] = rows[at][draw.randrange(len(rows[at]))]
        if not rows:
            break
    new = text(rows, draw.choice((",",) * 6 + (";", "\t", "|")))
    match draw.randrange(12):
        case 0:
            return new.decode("utf-8", "replace").encode("utf-16")
        case 1:
            return new.decode("utf-8", "replace").encode("cp1252", "replace")
        case 2:
            return b"\xef\xbb\xbf" + new.replace(b"\n", b"\r\n")
        case 3:
            return new.replace(b"\n", b"\r")
        case 4 | 5:
            return spoil(new, draw)
    return new


def as_parquet(data: bytes, path: Path) -> None:
    """Write the table as Parquet, if polars can read it."""
    try:
        pl.read_csv(io.BytesIO(data), infer_schema_length=2).write_parquet(path)
    except Exception:
        path.unlink(missing_ok=True)
