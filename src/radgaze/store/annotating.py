"""A copy of a store in which masks take the place of the gaze and the marks of some cases."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from radgaze import __version__
from radgaze.console import progress
from radgaze.errors import UserError
from radgaze.sources.external_sort import ROWS, height, slices, spooled
from radgaze.store.boxes import ANATOMY
from radgaze.store.finishing import write_manifest
from radgaze.store.manifest import Counts, Manifest
from radgaze.store.masks import packed
from radgaze.store.names import plain
from radgaze.store.partial import partial_of
from radgaze.store.regions import SCHEMA, SHARD, TABLE, shard_name
from radgaze.store.store import MANIFEST, REJECTIONS, TABLES, TWINS, Store
from radgaze.tables import write_parquet


@dataclass(frozen=True)
class Mark:
    """A mask of a case.

    Attributes:
        case_id: The case.
        label: Name of what is marked, such as a class.
        inside: Whether a pixel of the store's square is inside, of shape (size, size).
    """

    case_id: str
    label: str
    inside: NDArray[np.bool_]


@dataclass(frozen=True)
class Annotation:
    """Changes to a store.

    Attributes:
        case_ids: Ids of the cases that get new marks.
        provenance: What made the masks, for the manifest, as values of JSON without a path.
        keep_gaze: Whether the gaze of these cases stays; else the masks take its place.
        keep_marks: Whether their boxes and masks of findings stay; those of organs always do.
    """

    case_ids: Collection[str]
    provenance: Mapping[str, object]
    keep_gaze: bool = False
    keep_marks: bool = False


def identity_with(store: Store, annotation: Annotation) -> dict[str, str]:
    """The identity of the copy: it follows from the store's own and from what made the masks."""
    digest = hashlib.sha256()
    splits = store.cases.select("case_id", "split").write_csv()
    for part in (
        store.manifest.get("identity"),
        store.manifest["hashes"],
        dict(annotation.provenance),
        splits,
    ):
        digest.update(json.dumps(part, sort_keys=True).encode() + b"\n")
    changes = (annotation.keep_gaze, annotation.keep_marks, sorted(annotation.case_ids))
    digest.update(json.dumps(changes).encode())
    return {**store.manifest.get("identity", {}), "content": digest.hexdigest()}


def annotated_before(store: Store, annotation: Annotation, out: Path) -> Store | None:
    """Find the finished copy in a folder; None where the folder is empty or missing.

    Raises:
        UserError: Something else is in the folder.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    if not (out / MANIFEST).is_file():
        raise UserError(f"{out} exists and is not a store; choose another `out`")
    copy = Store.open(out)
    if copy.manifest.get("identity") != identity_with(store, annotation):
        raise UserError(f"{out} holds another store; choose another `out`")
    return copy


def annotate(store: Store, marks: Iterator[Mark], annotation: Annotation, out: Path) -> Store:
    """Write a copy of a store with masks, which become its regions.

    The split of the copy is the one that the store was opened with. Images and rejections are the same. The
    copy is written beside its place and renamed when it is complete.

    Args:
        store: The store.
        marks: The masks, of cases of the annotation; those without a pixel are left out.
        annotation: What changes.
        out: Folder of the copy, new or empty.

    Raises:
        UserError: The folder cannot be written, or no mask has a pixel.
    """
    out = Path(os.path.abspath(out))  # noqa: PTH100  resolve() would follow a link
    aside = partial_of(out, store.cases.height, store.size)
    with aside.locked():
        shutil.rmtree(aside.store, ignore_errors=True)
        aside.store.mkdir(parents=True)
        try:
            _write(store, marks, annotation, aside.store)
        except BaseException:
            aside.remove()  # the maps are made again: nothing of it can be used
            raise
        aside.become(out)
    return Store.open(out)


def _write(store: Store, marks: Iterator[Mark], annotation: Annotation, folder: Path) -> None:
    regions = _write_regions(store, marks, annotation, folder)
    names = [name for name in store.manifest["hashes"] if name.startswith("images/") or name == REJECTIONS]
    with progress("Copying the store", total=len(names), of="files") as bar:
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(store.path / name, folder / name)
            bar.advance()
    counts = _write_tables(store, annotation, folder)
    counts["regions"] = regions
    write_manifest(_manifest(store, annotation, counts), folder)


def _write_regions(store: Store, marks: Iterator[Mark], annotation: Annotation, folder: Path) -> int:
    """Write the regions that stay and the new ones; return their number."""
    rows = list[tuple[str, str, int, int, int]]()
    waiting = list[NDArray[np.uint8]]()

    def write() -> None:
        path = folder / shard_name((len(rows) - 1) // SHARD)
        path.parent.mkdir(exist_ok=True)
        np.save(path, np.stack(waiting))
        waiting.clear()

    def add(case_id: str, label: str, bits: NDArray[np.uint8]) -> None:
        place = len(rows)
        rows.append((case_id, label, place // SHARD, place % SHARD, int(np.bitwise_count(bits).sum())))
        waiting.append(bits)
        if len(waiting) == SHARD:
            write()

    table = store.regions.table
    for row, (case_id, label) in enumerate(zip(table["case_id"], table["label"], strict=True)):
        if _stays(case_id, label, annotation):
            add(case_id, label, store.regions.bits(row))
    before = len(rows)
    for mark in marks:
        if mark.inside.any():
            add(mark.case_id, mark.label, packed(mark.inside))
    if len(rows) == before:
        raise UserError("no map of any case has a pixel from `threshold` on; lower it, or use another map")
    if waiting:
        write()
    write_parquet(pl.DataFrame(rows, schema=SCHEMA, orient="row"), folder / TABLE)
    return len(rows)


def _stays(case_id: str, label: str, annotation: Annotation) -> bool:
    return annotation.keep_marks or case_id not in annotation.case_ids or plain(label) in ANATOMY


def _write_tables(store: Store, annotation: Annotation, folder: Path) -> Counts:
    """Write cases, readings, fixations and boxes; return the store's counts with those of their rows."""
    whole = replace(store, reading_ids=None)
    marked = [] if annotation.keep_gaze else sorted(annotation.case_ids)
    readings = whole.readings.filter(~pl.col("case_id").is_in(marked))
    fixations = spooled(
        part.join(readings.select("reading_id"), on="reading_id", how="semi", maintain_order="left")
        for part in slices(whole.scan_fixations())
    )
    stay = [
        _stays(case_id, label, annotation)
        for case_id, label in store.boxes.select("case_id", "label").iter_rows()
    ]
    tables = {
        "cases": store.cases,
        "readings": readings,
        "boxes": store.boxes.filter(pl.Series(stay, dtype=pl.Boolean)),
    }
    assert {*tables, "fixations"} == set(TABLES)
    if store.twins.height:
        write_parquet(store.twins, folder / TWINS)
    for name, table in tables.items():
        write_parquet(table, folder / f"{name}.parquet")
    write_parquet(fixations, folder / "fixations.parquet", rows=ROWS)
    counts = store.manifest["counts"].copy()
    counts["readings"], counts["fixations"] = readings.height, height(fixations)
    return counts


def _manifest(store: Store, annotation: Annotation, counts: Counts) -> Manifest:
    """The manifest of the copy, without hashes."""
    parameters = {name: value for name, value in store.manifest["parameters"].items() if name != "split"}
    if store.splits is None and "split" in store.manifest["parameters"]:
        parameters["split"] = store.manifest["parameters"]["split"]
    manifest = store.manifest.copy()
    manifest["counts"] = counts
    manifest["parameters"] = parameters
    manifest["software"] = __version__
    manifest["identity"] = identity_with(store, annotation)
    manifest["pseudo"] = dict(annotation.provenance)
    return manifest
