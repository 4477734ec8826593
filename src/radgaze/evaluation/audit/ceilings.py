"""Ceilings: figures of maps that are made from information that a model does not have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from radgaze.evaluation.audit.aspects.agreement import Agreement, agreement_with_gaze
from radgaze.evaluation.audit.cache import SCHEMA, rows
from radgaze.evaluation.audit.sampling import AuditCases, CaseGaze
from radgaze.runs.run import Run


@dataclass(frozen=True)
class Ceiling:
    """A ceiling.

    Attributes:
        title: Name in a figure's legend.
        measure: Function of the run, the split and its cases that measures the ceiling, and returns rows of
            `SCHEMA`.
    """

    title: str
    measure: Callable[[Run, str, AuditCases], pl.DataFrame]

    @property
    def label(self) -> str:
        """Name of its rows in tables."""
        return f"{self.title} (ceiling)"


def other_reader(run: Run, split: str, cases: AuditCases) -> pl.DataFrame:
    """Compare each reader's gaze map with the gaze of all other readers of the case; mean over readers."""
    case_ids = [case_id for batch in cases.batches for case_id in batch.case_ids]
    tables = [pl.DataFrame(schema=SCHEMA)]
    for reader, other_readers in run.readers(split, case_ids):
        gaze, other_gaze = CaseGaze.of(reader), CaseGaze.of(other_readers)
        figures = agreement_with_gaze(gaze.maps, other_gaze, cases, same_cases=gaze)
        tables.append(rows("other_reader", Agreement.name, reader.case_id, figures))
    keys = [name for name in SCHEMA if name != "value"]
    table = pl.concat(tables).group_by(keys, maintain_order=True).agg(pl.col("value").mean())
    return table.select(list(SCHEMA))


CEILINGS = {"other_reader": Ceiling("another reader", other_reader)}
"""The ceilings, in the order in which they are shown."""
