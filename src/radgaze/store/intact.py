"""Reading the files of a store without trust: one that is damaged or hostile is told in one line."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from radgaze.errors import UserError

LARGEST = 256 * 2**20
"""Bytes of a manifest at most."""

LARGEST_SIDE = 16_384
"""Pixels of an image's side at most."""

SEAL = "manifest_sha256"
"""The manifest's own hash: of all else in it."""

MARKS = ("format", "source", "classes", "counts")
"""What a manifest has had from its first format on, and begins with."""

SHA256 = re.compile(r"[0-9a-f]{64}")

TEXT, WHOLE, NUMBER = "text", "whole numbers", "numbers"

COLUMNS: dict[str, dict[str, str]] = {
    "cases": {
        **{"case_id": TEXT, "patient": WHOLE, "split": TEXT, "rows": WHOLE, "columns": WHOLE},
        **{"shard": WHOLE, "index": WHOLE, "scale": NUMBER, "pad_x": NUMBER, "pad_y": NUMBER},
    },
    "readings": {"reading_id": TEXT, "case_id": TEXT, "recorded": WHOLE, "duration": NUMBER},
    "fixations": {
        **{"reading_id": TEXT, "index": WHOLE, "x": NUMBER, "y": NUMBER},
        **{"onset": NUMBER, "duration": NUMBER},
    },
    "boxes": {"case_id": TEXT, "label": TEXT, **dict.fromkeys(("x1", "y1", "x2", "y2"), NUMBER)},
    "regions": {"case_id": TEXT, "label": TEXT, "shard": WHOLE, "index": WHOLE, "area": WHOLE},
}
"""Columns that a table of a store has, without blanks."""


def seal(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest with its own hash."""
    rest = {name: value for name, value in manifest.items() if name != SEAL}
    return {**rest, SEAL: _digest(rest)}


def is_sealed(manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest is as it was written; true as well of one without a hash of its own."""
    rest = {name: value for name, value in manifest.items() if name != SEAL}
    return bool(manifest.get(SEAL, _digest(rest)) == _digest(rest))


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a store, its values of the kinds that the software counts on.

    Raises:
        UserError: It is cut, or no store's manifest.
    """
    told = f"{path} is not a store's manifest"
    try:
        if path.stat().st_size > LARGEST:
            raise UserError(f"{told}: it has more than {LARGEST:,} bytes")
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{told}: it is no JSON, or cut; prepare the store anew") from error
    wrong = _wrong(manifest)
    if wrong:
        raise UserError(f"{told}: {wrong}; prepare the store anew")
    return dict(manifest)


def is_manifest(path: Path) -> bool:
    """Whether a file is a store's manifest, of whatever format, or what is left of one that was damaged."""
    with path.open("rb") as file:
        text = file.read(LARGEST).decode("utf-8", "replace")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return all(f'"{name}"' in text for name in MARKS)
    return isinstance(found, dict) and found.keys() >= set(MARKS)


def read_table(folder: Path, name: str, more: Mapping[str, str] | None = None) -> pl.DataFrame:
    """A table of a store.

    Args:
        folder: The store's.
        name: One of `COLUMNS`.
        more: Further columns and their kinds.

    Raises:
        UserError: It is cut, or lacks a column.
    """
    path = folder / f"{name}.parquet"
    try:
        table = pl.read_parquet(path, glob=False)
    except (pl.exceptions.PolarsError, OSError, pl.exceptions.PanicException) as error:
        raise _damaged(path, "is cut or no Parquet file", folder) from error
    check_columns(path, table.schema, {**COLUMNS[name], **(more or {})})
    blank = [column for column in (*COLUMNS[name], *(more or {})) if table[column].null_count()]
    if blank:
        raise _damaged(path, f"has blanks in the column {blank[0]}", folder)
    return table


def scan_table(folder: Path, name: str) -> pl.LazyFrame:
    """The same, to be read in parts.

    Raises:
        UserError: It is cut, or lacks a column.
    """
    path = folder / f"{name}.parquet"
    try:
        table = pl.scan_parquet(path, glob=False)
        schema = table.collect_schema()
    except (pl.exceptions.PolarsError, OSError, pl.exceptions.PanicException) as error:
        raise _damaged(path, "is cut or no Parquet file", folder) from error
    check_columns(path, schema, COLUMNS[name])
    return table


def check_columns(path: Path, schema: Mapping[str, pl.DataType], columns: Mapping[str, str]) -> None:
    """Raise UserError where a table lacks a column, or one is of another kind."""
    for column, kind in columns.items():
        if column not in schema:
            raise _damaged(path, f"has no column {column}", path.parent)
        found = schema[column]
        fits = {TEXT: found == pl.String, WHOLE: found.is_integer(), NUMBER: found.is_numeric()}[kind]
        if not fits:
            raise _damaged(path, f"has no {kind} in its column {column}", path.parent)


def check_shards(
    folder: Path, names: Mapping[int, str], shard: NDArray[Any], index: NDArray[Any], shape: tuple[int, int]
) -> None:
    """Check the headers of the files that pixels lie in.

    Args:
        folder: The store's.
        names: File of each shard, from the folder.
        shard, index: (N,) where the images are.
        shape: Of each.

    Raises:
        UserError: A file is cut, is no array of bytes, or does not hold what it is said to.
    """
    for number, name in names.items():
        path, places = folder / name, index[shard == number]
        array = read_shard(path)
        if array.ndim != 3 or array.shape[1:] != shape or array.dtype != np.uint8:
            raise _damaged(path, f"does not hold images of {shape[0]} × {shape[1]} bytes", folder)
        if places.min() < 0 or places.max() >= len(array):
            raise _damaged(path, "does not hold the images that the table says", folder)


def read_shard(path: Path) -> NDArray[np.uint8]:
    """The images in a file, mapped and not read.

    Raises:
        UserError: It is cut, or holds something else.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(path, "is cut or no array", path.parent.parent) from error
    if not isinstance(array, np.ndarray):  # an archive of several
        array.close()
        raise _damaged(path, "is no array", path.parent.parent)
    return array


def _damaged(path: Path, how: str, store: Path) -> UserError:
    return UserError(f"{path} {how}: the store is damaged; `radgaze verify {store}` tells what else is")


def _digest(rest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _wrong(manifest: Any) -> str | None:
    """What of a manifest is not as it must be."""
    if not isinstance(manifest, dict):
        return "it is no object"
    kinds: dict[str, type] = {"format": int, "source": str, "classes": list, "hashes": dict, "counts": dict}
    kinds |= {"parameters": dict}
    for name, kind in kinds.items():
        if not isinstance(manifest.get(name), kind):
            return f"its {name!r} is missing or of another kind"
    for name, kind in (("exclusive", bool), ("identity", dict), ("burned_in_annotation", list)):
        if not isinstance(manifest.get(name, kind()), kind):
            return f"its {name!r} is of another kind"
    classes, size = manifest["classes"], manifest["parameters"].get("size")
    if not classes or not all(isinstance(c, str) and 0 < len(c) <= 1000 for c in classes):
        return "its 'classes' are no names"
    if len(set(classes)) < len(classes):
        return "two of its 'classes' have one name"
    if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= LARGEST_SIDE:
        return f"its size is not a number of pixels up to {LARGEST_SIDE}"
    if not all(isinstance(case, str) for case in manifest.get("burned_in_annotation", [])):
        return "its 'burned_in_annotation' is of another kind"
    rejections = manifest["counts"].get("rejections", {})
    if not isinstance(rejections, dict):
        return "its counts of rejections are of another kind"
    numbers = [*(v for k, v in manifest["counts"].items() if k != "rejections"), *rejections.values()]
    if not all(isinstance(n, int) and n >= 0 for n in numbers) or "cases" not in manifest["counts"]:
        return "its 'counts' are no numbers"
    for name, digest in manifest["hashes"].items():
        if not isinstance(digest, str) or not SHA256.fullmatch(digest):
            return "one of its 'hashes' is no SHA-256"
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\0" in name:
            return "one of its files lies outside of the store"
    return None
