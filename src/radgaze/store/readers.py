"""Cases with several readers: the gaze of each reader paired with that of all other readers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import polars as pl

from radgaze.store.batch import Batch
from radgaze.store.store import Store

Load = Callable[[Store, Sequence[str]], Iterator[Batch]]
"""Function that loads the named cases of a store as batches, in the order of the given ids."""


def each_against_others(store: Store, case_ids: Sequence[str], load: Load) -> Iterator[tuple[Batch, Batch]]:
    """Pair the gaze of each reader with that of all other readers, for cases with several readers.

    Each reader of a case comes first in exactly one pair. A reading without a reader's name counts as a
    separate reader; readings without a fixation on the image are left out.

    Args:
        store: Prepared store.
        case_ids: Ids of cases; those with fewer than two readers are left out.
        load: Function that loads cases as batches, called with the same ids for both elements of a pair.

    Yields:
        Batches of the same cases: with the gaze of one reader, and with that of all the others.
    """
    readings = store.readings.filter(pl.col("case_id").is_in(list(case_ids)))
    of_cases = pl.col("reading_id").is_in(readings["reading_id"].implode())
    on_image = store.scan_fixations().filter(of_cases).select("reading_id").unique().collect()
    readings = readings.join(on_image, on="reading_id", how="semi", maintain_order="left").with_columns(
        reader=pl.coalesce("reader", "reading_id")
    )
    readings = readings.with_columns(
        turn=pl.col("reader").rank("dense").over("case_id") - 1,
        readers=pl.col("reader").n_unique().over("case_id"),
    ).filter(pl.col("readers") > 1)
    for turn in range(readings.select(pl.col("readers").max()).item() or 0):
        remaining = readings.filter(pl.col("readers") > turn)
        is_one = remaining["turn"] == turn
        in_turn = set(remaining["case_id"])
        ids = [case_id for case_id in case_ids if case_id in in_turn]
        one, others = (
            load(store.of_readings(remaining.filter(side)["reading_id"]), ids) for side in (is_one, ~is_one)
        )
        yield from zip(one, others, strict=True)
