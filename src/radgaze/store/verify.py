"""Whether a store is what it was when it was written, and whether its tables fit together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from radgaze.sources.spool import height, slices
from radgaze.store import regions
from radgaze.store.digest import file_digest
from radgaze.store.masks import packed_shape
from radgaze.store.store import MANIFEST, Store


def verify(store: Store, *, advance: Callable[[], None] = lambda: None) -> list[str]:
    """What is wrong with a store; nothing, if it is whole.

    Every file's SHA-256 is compared with the manifest's. Where all tables are as they were written, they are
    also compared with each other, with the images and with the manifest's counts.

    Args:
        store: The store, opened: its files are there.
        advance: Called after each file of the manifest.
    """
    wrong = []
    hashes: dict[str, str] = store.manifest["hashes"]
    for name, digest in hashes.items():
        path = store.path / name
        try:
            if file_digest(path) != digest:
                wrong.append(f"{name} is not the file that was written")
        except OSError as error:
            wrong.append(f"{name} cannot be read: {error.strerror}")
        advance()
    strangers = sorted(
        path.relative_to(store.path).as_posix()
        for path in store.path.rglob("*")
        if path.is_file() and path.relative_to(store.path).as_posix() not in (*hashes, MANIFEST)
    )
    wrong += [f"{name} is there, and not in the manifest" for name in strangers]
    damaged = any(not name.startswith("images/") for name in hashes if any(w.startswith(name) for w in wrong))
    return wrong if damaged else wrong + _tables(store)


def _tables(store: Store) -> list[str]:
    cases, readings, fixations = store.cases, store.readings, store.scan_fixations()
    wrong = []
    marked = store.regions.table
    for what, rows in (
        ("cases", cases.height),
        ("readings", readings.height),
        ("fixations", height(fixations)),
        ("regions", marked.height),
    ):
        said = store.manifest["counts"].get(what, 0)
        if rows != said:
            wrong.append(f"there are {rows} {what}, the manifest says {said}")
    if cases["case_id"].n_unique() != cases.height:
        wrong.append("two cases have one id")
    for what, table, owners, key in (
        ("readings", readings.lazy(), cases, "case_id"),
        ("fixations", fixations, readings, "reading_id"),
        ("boxes", store.boxes.lazy(), cases, "case_id"),
        ("regions", marked.lazy(), cases, "case_id"),
    ):
        orphans = sum(part.join(owners, on=key, how="anti").height for part in slices(table))
        if orphans:
            wrong.append(f"{orphans} {what} belong to nothing that is here")
    splits = cases.group_by("patient").agg(pl.col("split").n_unique()).filter(pl.col("split") > 1).height
    if splits:
        wrong.append(f"{splits} patients stand in several splits")
    return wrong + _images(store)


def _images(store: Store) -> list[str]:
    wrong = []
    places = store.cases.select("shard", "index")
    if places.is_duplicated().any():
        wrong.append("two cases have one image")
    for (shard,), own in places.group_by("shard", maintain_order=True):
        path = store.path / "images" / f"shard-{shard:05d}.npy"
        try:
            shape = np.load(path, mmap_mode="r").shape
        except (OSError, ValueError, EOFError):
            wrong.append(f"{path.relative_to(store.path)} is no array of images")
            continue
        side = store.size
        if len(shape) != 3 or shape[1:] != (side, side) or int(own["index"].max()) >= shape[0]:  # type: ignore[arg-type]
            wrong.append(f"{path.relative_to(store.path)} does not hold the images that the cases say")
    for (shard,), own in store.regions.table.group_by("shard", maintain_order=True):
        name = regions.shard_name(shard)
        try:
            shape = np.load(store.path / name, mmap_mode="r").shape
        except (OSError, ValueError, EOFError):
            wrong.append(f"{name} is no array of regions")
            continue
        if shape[1:] != packed_shape(store.size) or int(own["index"].max()) >= shape[0]:  # type: ignore[arg-type]
            wrong.append(f"{name} does not hold the regions that the table says")
    return wrong


def advice(path: Path) -> str:
    """What to do with a store that is damaged."""
    return f"prepare {path} anew, from the same source, with --overwrite"
