"""What can be hoped for: maps that know more of a case than a model does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from radgaze.evaluation.audit.aspects import agreement
from radgaze.evaluation.audit.cache import SCHEMA, rows
from radgaze.evaluation.audit.sampling import Gaze, Subjects
from radgaze.runs.run import Run


@dataclass(frozen=True)
class Ceiling:
    """What can be hoped for.

    Attributes:
        title: Name in a figure's legend.
        measure: Of a run, the split and the cases to rows of `SCHEMA`.
    """

    title: str
    measure: Callable[[Run, str, Subjects], pl.DataFrame]

    @property
    def label(self) -> str:
        """Name of its rows in tables."""
        return f"{self.title} (ceiling)"


def other_reader(run: Run, split: str, subjects: Subjects) -> pl.DataFrame:
    """One reader's gaze map against the gaze of all the others of the case; the mean over the readers."""
    ids = [case_id for lot in subjects.lots for case_id in lot.case_ids]
    tables = [pl.DataFrame(schema=SCHEMA)]
    for one, rest in run.readers(split, ids):
        own, theirs = Gaze.of(one), Gaze.of(rest)
        figures = agreement.of_gaze(own.maps, theirs, subjects, besides=own)
        tables.append(rows("other_reader", agreement.Agreement.name, one.case_id, figures))
    keys = [name for name in SCHEMA if name != "value"]
    table = pl.concat(tables).group_by(keys, maintain_order=True).agg(pl.col("value").mean())
    return table.select(list(SCHEMA))


CEILINGS = {"other_reader": Ceiling("another reader", other_reader)}
"""In the order in which they are shown."""
