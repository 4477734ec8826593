"""Several readers of a case: the gaze of each of them beside that of all the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import polars as pl

from radgaze.store.batch import Batch
from radgaze.store.store import Store

Load = Callable[[Store, Sequence[str]], Iterator[Batch]]
"""From a store and ids of its cases to these cases in that order, as batches."""


def each_against_others(store: Store, case_ids: Sequence[str], load: Load) -> Iterator[tuple[Batch, Batch]]:
    """The gaze of one reader and that of all the others, for cases that several read.

    Each reader of a case is the one once, in batches of their own. Readings by someone of no name count as
    readers of their own.

    Args:
        store: The store.
        case_ids: Which cases; those that one or nobody read are left out.
        load: How cases become batches; called for both sides with the same ids.
    """
    readings = store.readings.filter(
        pl.col("case_id").is_in(list(case_ids)) & (pl.col("recorded") > 0)
    ).with_columns(reader=pl.coalesce("reader", "reading_id"))
    readings = readings.with_columns(
        turn=pl.col("reader").rank("dense").over("case_id") - 1,
        readers=pl.col("reader").n_unique().over("case_id"),
    ).filter(pl.col("readers") > 1)
    for turn in range(readings.select(pl.col("readers").max()).item() or 0):
        there = readings.filter(pl.col("readers") > turn)
        own = there["turn"] == turn
        known = set(there["case_id"])
        ids = [case_id for case_id in case_ids if case_id in known]
        one, others = (load(store.of_readings(there.filter(side)["reading_id"]), ids) for side in (own, ~own))
        yield from zip(one, others, strict=True)
