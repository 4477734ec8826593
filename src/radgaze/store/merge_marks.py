"""What is known of the cases of several stores beside their images: gaze, boxes and masks, put together."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import reduce

import polars as pl

from radgaze.console import say
from radgaze.sources.cohort import NO_REGIONS, VIEWS
from radgaze.store.boxes import plain
from radgaze.store.pixels import region_reference
from radgaze.store.regions import shard_name
from radgaze.store.store import Store


def merged_gaze(
    stores: Sequence[Store],
    names: Sequence[str],
    first: pl.DataFrame,
    kept: set[str],
    renamed: Mapping[str, str],
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Readings, with the place of their store, fixations and boxes of all stores; no two share an id.

    Args:
        stores: The stores.
        names: What they are called.
        first: store (its place), own_id, case_id (in the merged store).
        kept: Which of these are kept.
        renamed: What a class is called in the merged store, "" for one that is left out, and its boxes too.
    """
    clash = Counter(reading for store in stores for reading in store.readings["reading_id"])
    viewed = all(set(VIEWS) <= set(store.fixations.columns) for store in stores if store.fixations.height)
    some = any(set(VIEWS) & set(store.fixations.columns) for store in stores)
    if some and not viewed:
        say("Not all stores hold the resolution of their fixations: the merged one holds none")
    shaped = any("shape" in store.boxes.columns for store in stores)
    parts: dict[str, list[pl.DataFrame]] = {"readings": [], "fixations": [], "boxes": []}
    for place, (store, name) in enumerate(zip(stores, names, strict=True)):
        own = _own_cases(first, place, kept)
        ids = {r: f"{r}@{name}" if clash[r] > 1 else r for r in store.readings["reading_id"]}
        new_id = pl.col("reading_id").replace_strict(ids, default=None, return_dtype=pl.String)
        readings = store.readings.join(own, on="case_id", maintain_order="left")
        reader = pl.when(pl.col("reader").is_not_null()).then(pl.format("{}:{}", pl.lit(name), "reader"))
        parts["readings"].append(
            readings.with_columns(case_id="new", reading_id=new_id, reader=reader, store=pl.lit(place)).drop(
                "new"
            )
        )
        fixations = store.fixations.join(readings, on="reading_id", how="semi", maintain_order="left")
        drop = [] if viewed else [column for column in VIEWS if column in fixations.columns]
        parts["fixations"].append(fixations.with_columns(reading_id=new_id).drop(drop))
        boxes = store.boxes.join(own, on="case_id", maintain_order="left")
        boxes = boxes.with_columns(case_id="new").drop("new")
        boxes = boxes.with_columns(label=pl.Series(_called(boxes["label"], renamed), dtype=pl.String))
        boxes = boxes.filter(pl.col("label") != "")
        if shaped and "shape" not in boxes.columns:
            boxes = boxes.with_columns(shape=pl.lit("box"))
        parts["boxes"].append(boxes)
    joined: list[pl.DataFrame] = [_stacked(of) for of in parts.values()]
    return joined[0], joined[1], joined[2].unique(maintain_order=True)


def merged_regions(
    stores: Sequence[Store], first: pl.DataFrame, kept: set[str], renamed: Mapping[str, str]
) -> pl.DataFrame:
    """The regions of all stores, each once: case_id, label and, as file, where it lies. See `merged_gaze`."""
    seen, rows = set[tuple[str, str, bytes]](), list[tuple[str, str, str]]()
    for place, store in enumerate(stores):
        new = dict(_own_cases(first, place, kept).iter_rows())
        table = store.regions.table
        for row, (label, (case_id, shard, index)) in enumerate(
            zip(
                _called(table["label"], renamed),
                table.select("case_id", "shard", "index").iter_rows(),
                strict=True,
            )
        ):
            if case_id not in new or not label:
                continue
            key = (new[case_id], label, hashlib.sha256(store.regions.bits(row).tobytes()).digest())
            if key not in seen:
                seen.add(key)
                rows.append((*key[:2], region_reference(store.path / shard_name(shard), index)))
    return pl.DataFrame(rows, schema=NO_REGIONS, orient="row")


def _own_cases(first: pl.DataFrame, place: int, kept: set[str]) -> pl.DataFrame:
    """Of the cases of a store what they are called there, case_id, and here, `new`."""
    own = first.filter((pl.col("store") == place) & pl.col("case_id").is_in(list(kept)))
    return own.select(pl.col("own_id").alias("case_id"), pl.col("case_id").alias("new"))


def each_once(readings: pl.DataFrame, fixations: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Readings less those that repeat one of an earlier store; and these, as case_id, reading_id and of."""
    # Kept twice, a reading would be another reader's, who agrees with the first in everything.
    shared = readings.filter(pl.col("store").n_unique().over("case_id") > 1)
    paths = (
        fixations.join(shared, on="reading_id", how="semi")
        .sort("reading_id", "index")
        .select("reading_id", "index", "x", "y", "onset", "duration")
        .rows_by_key("reading_id")
    )
    seen: dict[tuple[object, ...], tuple[int, str]] = {}
    echoes = []
    for store, reading_id, case_id, recorded, duration in shared.select(
        "store", "reading_id", "case_id", "recorded", "duration"
    ).iter_rows():
        same = (case_id, recorded, duration, tuple(paths.get(reading_id, ())))
        earlier, of = seen.setdefault(same, (store, reading_id))
        if earlier < store:
            echoes.append((case_id, reading_id, of))
    found = pl.DataFrame(
        echoes, schema=dict.fromkeys(("case_id", "reading_id", "of"), pl.String), orient="row"
    )
    return readings.join(found, on="reading_id", how="anti", maintain_order="left").drop("store"), found


def _called(labels: pl.Series, renamed: Mapping[str, str]) -> list[str]:
    """What boxes and masks that are named after classes are called, "" where the class is left out."""
    new = {plain(old): name for old, name in renamed.items()}
    return [new.get(plain(label), label) for label in labels]


def _stacked(tables: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Tables below each other; of those without a row the columns do not matter."""
    filled = [table for table in tables if table.height] or list(tables[:1])
    return reduce(lambda a, b: pl.concat([a, b.select(a.columns)]), filled)
