"""The last step of a preparation: tables, rejections and the manifest beside the images."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from radgaze import __version__
from radgaze.console import progress, say
from radgaze.sources.cohort import REASONS, Cohort
from radgaze.store.digest import file_digest
from radgaze.store.identity import Identity
from radgaze.store.letterbox import letterbox
from radgaze.store.partial import Done, Partial
from radgaze.store.regions import SCHEMA, TABLE
from radgaze.store.regions import SHARD as SHARD_OF_REGIONS
from radgaze.store.store import FORMAT, MANIFEST, REJECTIONS, SHARD, TABLES

GEOMETRY = {
    "coordinates": "(x, y) in pixels of the original image from its top left corner, pixel centres at +0.5",
    "on_the_square": "x_store = x * scale + pad_x, y_store = y * scale + pad_y, with the case's columns",
}


def without(cohort: Cohort, unreadable: Mapping[int, str]) -> Cohort:
    """The cohort less the cases (by row) whose image cannot be read; they become rejections.

    Their readings, fixations, boxes, regions and off-image rejections go with them.
    """
    if not unreadable:
        return cohort
    gone = cohort.cases[sorted(unreadable)]["case_id"].to_list()
    readings_gone = cohort.readings.filter(pl.col("case_id").is_in(gone))["reading_id"].to_list()
    of_gone = pl.col("case_id").is_in(gone).fill_null(False) | pl.col("reading_id").is_in(
        readings_gone
    ).fill_null(False)
    kept = cohort.rejections.filter(~((pl.col("reason") == "off_image_fixation") & of_gone))
    rejected = pl.DataFrame(
        {
            "reason": [
                unreadable[i] if unreadable[i] in REASONS else "unreadable_image" for i in sorted(unreadable)
            ],
            "case_id": gone,
            "reading_id": [None] * len(gone),
            "detail": [unreadable[i] for i in sorted(unreadable)],
        },
        schema=kept.schema,
    )
    return replace(
        cohort,
        cases=cohort.cases.filter(~pl.col("case_id").is_in(gone)),
        readings=cohort.readings.filter(~pl.col("case_id").is_in(gone)),
        fixations=cohort.fixations.filter(~pl.col("reading_id").is_in(readings_gone)),
        boxes=cohort.boxes.filter(~pl.col("case_id").is_in(gone)),
        regions=cohort.regions.filter(~pl.col("case_id").is_in(gone)),
        rejections=pl.concat([kept, rejected]),
    )


def finish(
    cohort: Cohort, done: Mapping[int, Done], aside: Partial, parameters: dict[str, Any], identity: Identity
) -> None:
    """Write tables, rejections and manifest into the folder that holds the images.

    Args:
        cohort: What the store holds: only cases whose image is done.
        done: Every image that is, by its place.
        aside: Where they are.
    """
    folder = aside.store
    (folder / MANIFEST).unlink(missing_ok=True)  # of a call that was cut off just after it
    tables = {name: getattr(cohort, name) for name in TABLES} | {
        "cases": _cases(cohort, done, parameters["size"])
    }
    for name, table in tables.items():
        table.write_parquet(folder / f"{name}.parquet")
    regions, unread = _regions(cohort, done, aside)
    if len(cohort.regions):
        regions.write_parquet(folder / TABLE)
    rejections = pl.concat([cohort.rejections, unread])
    rejections.write_csv(folder / REJECTIONS)
    rejected = dict(rejections["reason"].value_counts().iter_rows())
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    manifest = {
        "format": FORMAT,
        "source": cohort.source,
        "classes": list(cohort.classes),
        "exclusive": cohort.exclusive,
        "counts": {
            "cases": len(cohort.cases),
            "readings": len(cohort.readings),
            "fixations": len(cohort.fixations),
            **({"regions": len(regions)} if len(cohort.regions) else {}),
            "rejections": {reason: rejected.get(reason, 0) for reason in REASONS},
        },
        "parameters": parameters,
        "geometry": GEOMETRY,
        "software": __version__,
        "identity": identity.kept(),
        **_burned_in(cohort, done),
        "hashes": _hashes(folder, files),
    }
    (folder / MANIFEST).write_text(
        json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    for path in (*files, folder / MANIFEST):
        _flush(path)


def _regions(cohort: Cohort, done: Mapping[int, Done], aside: Partial) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The regions that were read, with their places, and the rejections of the others."""
    rows, labels = [], cohort.regions["label"].to_list()
    lies = [
        (place, case_id, why, area)
        for i, case_id in zip(sorted(done), cohort.cases["case_id"], strict=True)
        for place, why, area in zip(aside.places.get(i, ()), done[i].unread, done[i].areas, strict=True)
    ]
    rejected = []
    for label, (place, case_id, why, area) in zip(labels, sorted(lies), strict=True):
        if why:
            reason = why.partition(":")[0]
            kept = reason if reason == "size_mismatch" else "unreadable_mask"
            rejected.append((kept, case_id, None, f"{label}: {why}"))
        else:
            rows.append((case_id, label, place // SHARD_OF_REGIONS, place % SHARD_OF_REGIONS, area))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row"), pl.DataFrame(
        rejected, schema=cohort.rejections.schema, orient="row"
    )


def _hashes(folder: Path, files: Sequence[Path]) -> dict[str, str]:
    """Every file's hash, by its name from the folder: minutes, where a store is large."""
    hashes = {}
    with progress("Taking hashes", total=len(files), of="files") as bar:
        for path in files:
            hashes[path.relative_to(folder).as_posix()] = file_digest(path)
            bar.advance()
    return hashes


def _burned_in(cohort: Cohort, done: Mapping[int, Done]) -> dict[str, list[str]]:
    """The cases whose files say that words are burnt into the image, where there are any."""
    ids = [
        case_id for case_id, i in zip(cohort.cases["case_id"], sorted(done), strict=True) if done[i].burned_in
    ]
    if ids:
        say(
            f"{len(ids)} images have burnt-in annotation, as their files say; {MANIFEST} names them under "
            "burned_in_annotation: look at them before you show any"
        )
    return {"burned_in_annotation": ids} if ids else {}


def _cases(cohort: Cohort, done: Mapping[int, Done], size: int) -> pl.DataFrame:
    """The cohort's cases with original size, place and geometry of each image, and without its path."""
    places = sorted(done)
    boxes = [letterbox(done[i].rows, done[i].columns, size) for i in places]
    found = pl.DataFrame(
        {
            "rows": [done[i].rows for i in places],
            "columns": [done[i].columns for i in places],
            "shard": [i // SHARD for i in places],
            "index": [i % SHARD for i in places],
            "scale": [box.scale for box in boxes],
            "pad_x": [box.pad_x for box in boxes],
            "pad_y": [box.pad_y for box in boxes],
            "sha256": [done[i].sha256 for i in places],
        },
        schema_overrides=dict.fromkeys(("rows", "columns", "shard", "index", "pad_x", "pad_y"), pl.Int32),
    )
    return pl.concat([cohort.cases.drop("image"), found], how="horizontal")


def _flush(path: Path) -> None:
    """Make sure that the file is on the disk before the store is given its name."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
