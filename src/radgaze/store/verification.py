"""Verification that the files of a store are unchanged and its tables consistent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl

from radgaze.errors import UserError
from radgaze.sources.cohort import unmatched_mentions
from radgaze.sources.external_sort import height, slices
from radgaze.store.digest import file_digest
from radgaze.store.manifest import is_sealed
from radgaze.store.opening import MANIFEST
from radgaze.store.store import Store
from radgaze.store.twins import as_cases


def verify(store: Store, *, advance: Callable[[], None] = lambda: None) -> list[str]:
    """List the faults of a store, as sentences; empty if it is intact.

    The SHA-256 of each file is compared with that in the manifest. If all tables are unchanged, they are also
    compared with each other, with the images and with the counts in the manifest.

    Args:
        store: Opened store, so that all files exist.
        advance: Function that is called after each file of the manifest.
    """
    wrong = [] if is_sealed(store.manifest) else [f"{MANIFEST} is not the file that was written"]
    hashes = store.manifest["hashes"]
    for name, digest in hashes.items():
        path = store.path / name
        try:
            if file_digest(path) != digest:
                wrong.append(f"{name} is not the file that was written")
        except OSError as error:
            wrong.append(f"{name} cannot be read: {error.strerror}")
        advance()
    extra = sorted(
        path.relative_to(store.path).as_posix()
        for path in store.path.rglob("*")
        if path.is_file() and path.relative_to(store.path).as_posix() not in (*hashes, MANIFEST)
    )
    wrong += [f"{name} is there, and not in the manifest" for name in extra]
    damaged = any(not name.startswith("images/") for name in hashes if any(w.startswith(name) for w in wrong))
    if damaged:
        return wrong
    try:
        return wrong + _tables(store)
    except (UserError, pl.exceptions.PolarsError) as error:
        return [*wrong, str(error).partition(": the store is damaged")[0]]


def _tables(store: Store) -> list[str]:
    cases, readings, fixations = store.cases, store.readings, store.scan_fixations()
    marked, boxes, mentions, twins = store.regions.table, store.boxes, store.mentions, store.twins
    wrong = []
    for what, rows in (
        ("cases", cases.height),
        ("readings", readings.height),
        ("fixations", height(fixations)),
        ("regions", marked.height),
        ("mentions", mentions.height),
        ("twins", twins.height),
    ):
        said = store.manifest["counts"].get(what, 0)
        if rows != said:
            wrong.append(f"there are {rows} {what}, the manifest says {said}")
    ids = pl.concat([cases["case_id"], twins["case_id"]])
    if ids.n_unique() != len(ids):
        wrong.append("two cases have one id")
    for what, table, owners, key in (
        ("readings", readings.lazy(), cases, "case_id"),
        ("fixations", fixations, readings, "reading_id"),
        ("boxes", boxes.lazy(), cases, "case_id"),
        ("regions", marked.lazy(), cases, "case_id"),
        ("twins", twins.select(case_id="twin_of").lazy(), cases, "case_id"),
    ):
        orphans = sum(part.join(owners, on=key, how="anti").height for part in slices(table))
        if orphans:
            wrong.append(f"{orphans} {what} belong to nothing that is here")
    if strange := unmatched_mentions(mentions, fixations):
        wrong.append(f"{strange} mentions belong to no fixation")
    if strange := mentions.filter(~pl.col("label").is_in(store.classes)).height:
        wrong.append(f"{strange} mentions are of no class")
    splits = cases.group_by("patient").agg(pl.col("split").n_unique()).filter(pl.col("split") > 1).height
    if splits:
        wrong.append(f"{splits} patients stand in several splits")
    return wrong + _images(store)


def _images(store: Store) -> list[str]:
    wrong = []
    tables = [store.cases, *([store.twins] if store.twins.height else [])]
    places = pl.concat(table.select("shard", "index") for table in tables)
    if places.is_duplicated().any():
        wrong.append("two cases have one image")
    try:
        _ = store.images
        _ = as_cases(store).images
    except UserError as error:
        wrong.append(str(error).partition(": the store is damaged")[0].removeprefix(f"{store.path}/"))
    return wrong


def advice(path: Path) -> str:
    """State how a damaged store is repaired."""
    return f"prepare {path} again, from the same source, with `prepare(..., overwrite=True)`"
