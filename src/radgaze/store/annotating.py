"""A copy of a store in which masks take the place of the gaze and the marks of some cases."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from radgaze.console import progress
from radgaze.errors import UserError, shortened
from radgaze.sources.external_sort import ROWS, height, slices, spooled
from radgaze.store.finishing import write_manifest
from radgaze.store.manifest import Counts, Manifest
from radgaze.store.marks import is_finding
from radgaze.store.masks import packed
from radgaze.store.opening import MANIFEST
from radgaze.store.partial import new_store
from radgaze.store.regions import SCHEMA, SHARD, TABLE, shard_name
from radgaze.store.store import MENTIONS, REJECTIONS, TABLES, TWINS, Store
from radgaze.tables import write_parquet
from radgaze.version import __version__


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
    """Changes to a store. A case none of whose masks has a pixel is not marked, and stays as it is.

    Attributes:
        case_ids: Ids of the cases that are to be marked.
        provenance: What made the masks, for the manifest, as values of JSON without a path.
        keep_gaze: Whether the gaze of marked cases stays; else the masks take its place.
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
        UserError: Something else is in the folder, such as a copy that was made with other settings.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    if not (out / MANIFEST).is_file():
        raise UserError(f"{out} exists and is not a store; choose another `out`")
    copy = Store.open(out)
    if copy.manifest.get("identity") != identity_with(store, annotation):
        raise UserError(f"{out} {_held(copy, annotation)}; choose another `out`")
    return copy


def _held(copy: Store, annotation: Annotation) -> str:
    """Describe a store that is not the copy asked for, as the end of a sentence."""
    before = copy.manifest.get("pseudo")
    if before is None:
        return "holds another store"
    now = json.loads(json.dumps(dict(annotation.provenance)))
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if not names:
        return "holds masks of another store or split"
    if "runs" in names:
        return "holds masks of another run, or of the same run before it was trained again"
    differences = [f"{name} {shortened(str(before.get(name)))} and not {now.get(name)}" for name in names]
    return f"holds masks that were made with other settings ({'; '.join(differences)})"


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
    with new_store(out, store.cases.height, store.size) as folder:
        _write(store, marks, annotation, folder)
    return Store.open(out)


def _write(store: Store, marks: Iterator[Mark], annotation: Annotation, folder: Path) -> None:
    regions, marked = _write_regions(store, marks, annotation, folder)
    names = [name for name in store.manifest["hashes"] if name.startswith("images/") or name == REJECTIONS]
    with progress("Copying the store", total=len(names), of="files") as bar:
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(store.path / name, folder / name)
            bar.advance()
    counts = _write_tables(store, replace(annotation, case_ids=marked), folder)
    counts["regions"] = regions
    write_manifest(_manifest(store, annotation, counts), folder)


def _write_regions(
    store: Store, marks: Iterator[Mark], annotation: Annotation, folder: Path
) -> tuple[int, frozenset[str]]:
    """Write the new regions and those that stay; return their number, and the ids of the marked cases."""
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

    for mark in marks:
        if mark.inside.any():
            add(mark.case_id, mark.label, packed(mark.inside))
    marked = frozenset(case_id for case_id, *_ in rows)
    if not marked:
        raise UserError("no map of any case has a pixel from `threshold` on; lower it, or use another map")
    annotation, table = replace(annotation, case_ids=marked), store.regions.table
    for row, (case_id, label) in enumerate(zip(table["case_id"], table["label"], strict=True)):
        if _stays(case_id, label, annotation):
            add(case_id, label, store.regions.bits(row))
    if waiting:
        write()
    write_parquet(pl.DataFrame(rows, schema=SCHEMA, orient="row"), folder / TABLE)
    return len(rows), marked


def _stays(case_id: str, label: str, annotation: Annotation) -> bool:
    return annotation.keep_marks or case_id not in annotation.case_ids or not is_finding(label)


def _write_tables(store: Store, annotation: Annotation, folder: Path) -> Counts:
    """Write all tables but that of the regions; return the store's counts with those of their rows."""
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
    mentions = whole.mentions.filter(pl.col("reading_id").is_in(readings["reading_id"].implode()))
    for name, table in ((TWINS, store.twins), (MENTIONS, mentions)):
        if table.height:
            write_parquet(table, folder / name)
    for name, table in tables.items():
        write_parquet(table, folder / f"{name}.parquet")
    write_parquet(fixations, folder / "fixations.parquet", rows=ROWS)
    counts = store.manifest["counts"].copy()
    counts["readings"], counts["fixations"] = readings.height, height(fixations)
    if "mentions" in counts:
        counts["mentions"] = mentions.height
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
