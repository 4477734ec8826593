"""Merging of the gaze, boxes and masks of several stores."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce

import polars as pl

from radgaze.console import note
from radgaze.errors import UserError, shortened
from radgaze.sources.contents import NO_FIXATIONS, NO_MENTIONS, NO_REGIONS, VIEWS
from radgaze.sources.external_sort import height, slices, spooled
from radgaze.store.names import plain
from radgaze.store.pixels import region_reference
from radgaze.store.regions import shard_name
from radgaze.store.store import Store


def merged_gaze(
    stores: Sequence[Store],
    names: Sequence[str],
    first: pl.DataFrame,
    case_ids: set[str],
    renamed: Mapping[str, str],
) -> tuple[pl.DataFrame, pl.LazyFrame, pl.DataFrame]:
    """Merge readings, fixations and boxes, with unique ids.

    Args:
        stores: Stores to merge.
        names: Names of the stores.
        first: Table of store (its index), own_id (of a case in it) and case_id (in the merged store).
        case_ids: Ids of the cases that the merged store has.
        renamed: New names of classes; "" for a class that is left out, with the boxes named after it.

    Returns:
        Readings, with the index of their store as `store`; fixations; and boxes.

    Raises:
        UserError: Two readings would have one id.
    """
    clash = _clashing(stores)
    shaped = any("shape" in store.boxes.columns for store in stores)
    parts: dict[str, list[pl.DataFrame]] = {"readings": [], "boxes": []}
    new_ids = []
    for place, (store, name) in enumerate(zip(stores, names, strict=True)):
        cases = _cases_of(first, place, case_ids)
        ids = {r: f"{r}@{name}" if clash[r] > 1 else r for r in store.readings["reading_id"]}
        new_id = pl.col("reading_id").replace_strict(ids, default=None, return_dtype=pl.String)
        readings = store.readings.join(cases, on="case_id", maintain_order="left")
        reader = pl.when(pl.col("reader").is_not_null()).then(pl.format("{}:{}", pl.lit(name), "reader"))
        parts["readings"].append(
            readings.with_columns(case_id="new", reading_id=new_id, reader=reader, store=pl.lit(place)).drop(
                "new"
            )
        )
        new_ids.append(readings.select("reading_id", new=new_id))
        boxes = store.boxes.join(cases, on="case_id", maintain_order="left")
        boxes = boxes.with_columns(case_id="new").drop("new")
        boxes = boxes.with_columns(label=pl.Series(_called(boxes["label"], renamed), dtype=pl.String))
        boxes = boxes.filter(pl.col("label") != "")
        if shaped and "shape" not in boxes.columns:
            boxes = boxes.with_columns(shape=pl.lit("box"))
        parts["boxes"].append(boxes)
    boxes = _stacked(parts["boxes"]).unique(maintain_order=True)
    readings = _stacked(parts["readings"])
    check_ids(readings["reading_id"], "readings")
    return readings, spooled(_fixations(stores, new_ids)), boxes


def _fixations(stores: Sequence[Store], new_ids: Sequence[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Yield the fixations of all stores in parts, with the new ids of their readings."""
    tables = [store.scan_fixations() for store in stores]
    both = list(zip(tables, new_ids, strict=True))
    # The columns of a table without rows are ignored.
    both = [(table, ids) for table, ids in both if height(table)] or both[:1]
    viewed = all(set(VIEWS) <= set(table.collect_schema()) for table, _ in both)
    if not viewed and any(set(VIEWS) & set(table.collect_schema()) for table in tables):
        note("Not all stores hold the resolution of their fixations: the merged one holds none")
    for table, ids in both:
        for part in slices(table):
            merged = part.join(ids, on="reading_id", maintain_order="left").with_columns(reading_id="new")
            yield merged.select(*NO_FIXATIONS, *(VIEWS if viewed else ()))


def merged_mentions(
    stores: Sequence[Store],
    names: Sequence[str],
    readings: pl.DataFrame,
    renamed: Mapping[str, str],
    echoes: pl.DataFrame,
) -> pl.DataFrame:
    """Merge the mentions of classes; those of a repeated reading are of the one that it equals.

    Of several classes that are one in the merged store, or of several mentions of a class, a fixation has
    the largest share.

    Args:
        stores: Stores to merge.
        names: Names of the stores.
        readings: Readings that the merged store has.
        renamed: Names of classes in the merged store; "" for one that is left out, with its mentions.
        echoes: The repeated readings, from `each_once`.
    """
    equal_to = dict(echoes.select("reading_id", "of").iter_rows())
    clash = _clashing(stores)
    parts = [pl.DataFrame(schema=NO_MENTIONS)]
    for store, name in zip(stores, names, strict=True):
        ids = {r: f"{r}@{name}" if clash[r] > 1 else r for r in store.readings["reading_id"]}
        mentions = store.mentions.with_columns(
            reading_id=pl.col("reading_id").replace_strict(ids, default=None, return_dtype=pl.String),
            label=pl.col("label").replace(dict(renamed)),
        )
        parts.append(mentions.filter(pl.col("label") != "").select(*NO_MENTIONS))
    merged = pl.concat(parts).with_columns(pl.col("reading_id").replace(equal_to))
    merged = merged.join(readings, on="reading_id", how="semi", maintain_order="left")
    return merged.group_by("reading_id", "index", "label", maintain_order=True).agg(pl.col("share").max())


def check_ids(ids: pl.Series, things: str) -> None:
    """Check that ids of a merged store are unique.

    Raises:
        UserError: An id of one store equals an id of another one with the suffix that tells both apart.
    """
    repeated = ids.filter(ids.is_duplicated())
    if len(repeated):
        raise UserError(
            f"two {things} of the merged store would have the id {shortened(repeated[0], 80)}; rename the "
            "folder of the store whose name it ends with"
        )


def _clashing(stores: Sequence[Store]) -> Counter[str]:
    """Count the stores that have each id of a reading."""
    return Counter(reading for store in stores for reading in store.readings["reading_id"])


def merged_regions(
    stores: Sequence[Store], first: pl.DataFrame, case_ids: set[str], renamed: Mapping[str, str]
) -> pl.DataFrame:
    """Merge the regions of several stores; equal regions of a case are kept once.

    Args:
        stores, first, case_ids, renamed: Arguments of `merged_gaze`.

    Returns:
        Table of case_id, label and file, a `pixels.region_reference`.
    """
    seen, rows = set[tuple[str, str, bytes]](), list[tuple[str, str, str]]()
    for place, store in enumerate(stores):
        new = dict(_cases_of(first, place, case_ids).iter_rows())
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


def _cases_of(first: pl.DataFrame, place: int, case_ids: set[str]) -> pl.DataFrame:
    """Ids of a store's cases, in the store (`case_id`) and in the merged store (`new`)."""
    cases = first.filter((pl.col("store") == place) & pl.col("case_id").is_in(list(case_ids)))
    return cases.select(pl.col("own_id").alias("case_id"), pl.col("case_id").alias("new"))


def each_once(readings: pl.DataFrame, fixations: pl.LazyFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Separate the readings that equal one of an earlier store in all fixations.

    Args:
        readings: Readings of all stores, with the index of their store as `store`.
        fixations: Fixations of all stores.

    Returns:
        The other readings, without `store`; and a table of the repeated ones: case_id, reading_id, and `of`,
        the id of the reading that each equals.
    """
    # Kept twice, a reading would count as a second reader in perfect agreement with the first.
    shared = readings.filter(pl.col("store").n_unique().over("case_id") > 1)
    paths = (
        fixations.join(shared.lazy(), on="reading_id", how="semi")
        .sort("reading_id", "index")
        .select("reading_id", "index", "x", "y", "onset", "duration")
        .collect()
        .rows_by_key("reading_id")
    )
    seen: dict[tuple[object, ...], tuple[int, str]] = {}
    echoes = []
    for store, reading_id, case_id, recorded, duration in shared.select(
        "store", "reading_id", "case_id", "recorded", "duration"
    ).iter_rows():
        same = (case_id, recorded, duration, tuple(paths.get(reading_id, ())))
        earlier, first_id = seen.setdefault(same, (store, reading_id))
        if earlier < store:
            echoes.append((case_id, reading_id, first_id))
    repeated = pl.DataFrame(
        echoes, schema=dict.fromkeys(("case_id", "reading_id", "of"), pl.String), orient="row"
    )
    return readings.join(repeated, on="reading_id", how="anti", maintain_order="left").drop("store"), repeated


def _called(labels: pl.Series, renamed: Mapping[str, str]) -> list[str]:
    """Rename labels of boxes and masks that are names of classes; "" where the class is left out."""
    new = {plain(old): name for old, name in renamed.items()}
    return [new.get(plain(label), label) for label in labels]


def _stacked(tables: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Concatenate tables; the columns of tables without rows are ignored."""
    filled = [table for table in tables if table.height] or list(tables[:1])
    return reduce(lambda a, b: pl.concat([a, b.select(a.columns)]), filled)
