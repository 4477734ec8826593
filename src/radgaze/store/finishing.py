"""The last step of a preparation: tables, rejections and the manifest beside the images."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

import polars as pl

from radgaze.console import progress
from radgaze.files import clear_leftovers, write_text
from radgaze.sources.cohort import Cohort
from radgaze.sources.contents import REASONS
from radgaze.sources.external_sort import ROWS, height, slices, spooled
from radgaze.store.digest import file_digest
from radgaze.store.identity import Identity
from radgaze.store.journal import Done
from radgaze.store.letterboxing import letterbox
from radgaze.store.manifest import Counts, Manifest, Parameters, seal
from radgaze.store.opening import FORMAT, MANIFEST
from radgaze.store.partial import Partial
from radgaze.store.regions import SCHEMA, TABLE
from radgaze.store.regions import SHARD as SHARD_OF_REGIONS
from radgaze.store.store import MENTIONS, REJECTIONS, SHARD, TWINS
from radgaze.tables import write_csv, write_parquet
from radgaze.version import __version__

GEOMETRY = {
    "coordinates": "(x, y) in pixels of the original image from its top left corner, pixel centres at +0.5",
    "on_the_square": "x_store = x * scale + pad_x, y_store = y * scale + pad_y, with the case's columns",
}


class Rare(TypedDict, total=False):
    """The entries of a manifest that most stores do not have, see `Manifest`."""

    burned_in_annotation: list[str]
    pseudo: dict[str, object]
    pasted: dict[str, object]


def without(cohort: Cohort, unreadable: Mapping[int, str]) -> Cohort:
    """Remove the cases and twins whose image cannot be read, and add a rejection for each.

    The readings, fixations, boxes, regions, mentions, off-image rejections and twins of such cases are
    removed too.

    Args:
        cohort: The cohort.
        unreadable: Reasons by row of `cohort.images`; a reason that is not one of `REASONS` is recorded as
            "unreadable_image", with the reason as its detail.
    """
    if not unreadable:
        return cohort
    ids = pl.concat([cohort.cases["case_id"], cohort.twins["case_id"]])
    gone = ids[sorted(unreadable)].to_list()
    cases_gone = cohort.cases.filter(pl.col("case_id").is_in(gone))["case_id"].to_list()
    lost = cohort.twins.filter(pl.col("twin_of").is_in(cases_gone) & ~pl.col("case_id").is_in(gone))
    readings_gone = cohort.readings.filter(pl.col("case_id").is_in(gone))["reading_id"].to_list()
    of_gone = pl.col("case_id").is_in(gone).fill_null(False) | pl.col("reading_id").is_in(
        readings_gone
    ).fill_null(False)
    other = cohort.rejections.filter(~((pl.col("reason") == "off_image_fixation") & of_gone))
    rejected = pl.DataFrame(
        {
            "reason": [
                unreadable[i] if unreadable[i] in REASONS else "unreadable_image" for i in sorted(unreadable)
            ],
            "case_id": gone,
            "reading_id": [None] * len(gone),
            "detail": [unreadable[i] for i in sorted(unreadable)],
        },
        schema=other.schema,
    )
    return replace(
        cohort,
        cases=cohort.cases.filter(~pl.col("case_id").is_in(gone)),
        readings=cohort.readings.filter(~pl.col("case_id").is_in(gone)),
        fixations=spooled(
            part.filter(~pl.col("reading_id").is_in(readings_gone)) for part in slices(cohort.fixations)
        ),
        boxes=cohort.boxes.filter(~pl.col("case_id").is_in(gone)),
        regions=cohort.regions.filter(~pl.col("case_id").is_in(gone)),
        mentions=cohort.mentions.filter(~pl.col("reading_id").is_in(readings_gone)),
        rejections=pl.concat([other, rejected, _of_no_case(lost)]),
        twins=cohort.twins.filter(~pl.col("case_id").is_in(gone) & ~pl.col("twin_of").is_in(cases_gone)),
    )


def _of_no_case(twins: pl.DataFrame) -> pl.DataFrame:
    """Rejections of twins whose original is no case."""
    return twins.select(
        pl.lit("twin_without_case").alias("reason"),
        "case_id",
        pl.lit(None, pl.String).alias("reading_id"),
        pl.format("the twin of {}", "twin_of").alias("detail"),
    )


def finish(
    cohort: Cohort, done: Mapping[int, Done], aside: Partial, parameters: Parameters, identity: Identity
) -> None:
    """Write tables, rejections and manifest into the folder that holds the images.

    Args:
        cohort: Cohort without the cases and twins whose image could not be read.
        done: Completed images of the cohort's cases, and then of its twins, by their row in the whole cohort.
        aside: Unfinished store that holds the images.
        parameters: Parameters of the preparation.
        identity: Identity of the preparation.
    """
    folder = aside.store
    rows = sorted(done)
    of_cases, of_twins = rows[: len(cohort.cases)], rows[len(cohort.cases) :]
    (folder / MANIFEST).unlink(missing_ok=True)  # left by a call that was interrupted just after writing it
    clear_leftovers(folder)
    tables = {
        "cases": _located(cohort.cases, of_cases, done, aside.size),
        "readings": cohort.readings,
        "boxes": cohort.boxes,
    }
    for name, table in tables.items():
        write_parquet(table, folder / f"{name}.parquet")
    write_parquet(cohort.fixations, folder / "fixations.parquet", rows=ROWS)
    if len(cohort.mentions):
        write_parquet(cohort.mentions, folder / MENTIONS)
    if len(cohort.twins):
        write_parquet(_located(cohort.twins, of_twins, done, aside.size), folder / TWINS)
    regions, unread = _regions(cohort, of_cases, done, aside)
    if len(cohort.regions):
        write_parquet(regions, folder / TABLE)
    rejections = pl.concat([cohort.rejections, unread])
    write_csv(rejections, folder / REJECTIONS)
    rejected = dict(rejections["reason"].value_counts().iter_rows())
    counts = Counts(
        cases=len(cohort.cases), readings=len(cohort.readings), fixations=height(cohort.fixations)
    )
    if len(cohort.regions):
        counts["regions"] = len(regions)
    if len(cohort.mentions):
        counts["mentions"] = len(cohort.mentions)
    if len(cohort.twins):
        counts["twins"] = len(cohort.twins)
    counts["rejections"] = {reason: rejected.get(reason, 0) for reason in REASONS}
    manifest = Manifest(
        format=FORMAT,
        source=cohort.source,
        classes=list(cohort.classes),
        exclusive=cohort.exclusive,
        counts=counts,
        parameters=parameters,
        geometry=GEOMETRY,
        software=__version__,
        identity=identity.recorded(),
        **_burned_in(cohort, done),
        hashes={},
    )
    write_manifest(manifest, folder)


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Take the hashes of all files in a store's folder, and write its manifest with them, sealed."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    manifest = {**manifest, "hashes": _hashes(folder, files)}
    write_text(json.dumps(seal(manifest), indent=2, ensure_ascii=False) + "\n", folder / MANIFEST)
    for path in (*files, folder / MANIFEST):
        _flush(path)


def _regions(
    cohort: Cohort, cases: Sequence[int], done: Mapping[int, Done], aside: Partial
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Make the table of the regions that were read, and the rejections of the others."""
    rows, labels = [], cohort.regions["label"].to_list()
    lies = [
        (place, case_id, why, area)
        for i, case_id in zip(cases, cohort.cases["case_id"], strict=True)
        if i in aside.places
        for place, why, area in zip(aside.places[i], done[i].unread, done[i].areas, strict=True)
    ]
    rejected = []
    for label, (place, case_id, why, area) in zip(labels, sorted(lies), strict=True):
        if why:
            reason = why.partition(":")[0]
            reason = reason if reason == "size_mismatch" else "unreadable_mask"
            rejected.append((reason, case_id, None, f"{label}: {why}"))
        else:
            rows.append((case_id, label, place // SHARD_OF_REGIONS, place % SHARD_OF_REGIONS, area))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row"), pl.DataFrame(
        rejected, schema=cohort.rejections.schema, orient="row"
    )


def _hashes(folder: Path, files: Sequence[Path]) -> dict[str, str]:
    """Compute the hash of each file, by its path in the folder, which takes minutes for a large store."""
    hashes = {}
    with progress("Taking hashes", total=len(files), of="files") as bar:
        for path in files:
            hashes[path.relative_to(folder).as_posix()] = file_digest(path)
            bar.advance()
    return hashes


def _burned_in(cohort: Cohort, done: Mapping[int, Done]) -> Rare:
    """List the cases whose files state that text is burnt into the image; empty where there is none."""
    all_ids = pl.concat([cohort.cases["case_id"], cohort.twins["case_id"]])
    ids = [case_id for case_id, i in zip(all_ids, sorted(done), strict=True) if done[i].burned_in]
    return {"burned_in_annotation": ids} if ids else {}


def _located(table: pl.DataFrame, places: Sequence[int], done: Mapping[int, Done], size: int) -> pl.DataFrame:
    """Complete a table of cases or twins by original size, position and geometry of each image.

    Args:
        table: The table; the path of the image is left out of the result.
        places: Row of each image in the whole cohort.
        done: Completed images, by their row in the whole cohort.
        size: Side of the squares, in pixels.
    """
    parts = (places[first : first + ROWS] for first in range(0, len(places), ROWS))
    images = pl.concat([_images(part, [done[i] for i in part], size) for part in parts])
    return pl.concat([table.drop("image"), images], how="horizontal")


def _images(places: Sequence[int], done: Sequence[Done], size: int) -> pl.DataFrame:
    boxes = [letterbox(one.rows, one.columns, size) for one in done]
    return pl.DataFrame(
        {
            "rows": [one.rows for one in done],
            "columns": [one.columns for one in done],
            "shard": [i // SHARD for i in places],
            "index": [i % SHARD for i in places],
            "scale": [box.scale for box in boxes],
            "pad_x": [box.pad_x for box in boxes],
            "pad_y": [box.pad_y for box in boxes],
            "sha256": [one.sha256 for one in done],
        },
        schema_overrides=dict.fromkeys(("rows", "columns", "shard", "index", "pad_x", "pad_y"), pl.Int32),
    )


def _flush(path: Path) -> None:
    """Wait until a file is on the disk, before the store gets its final name."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
