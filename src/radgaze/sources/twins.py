"""Twins of a source's cases: images that differ from a case's in one confounder."""

from __future__ import annotations

from pathlib import Path

import polars as pl


def found_twins(twins: pl.DataFrame, cases: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Divide twins into those of the cases whose image exists, and rejected ones.

    Args:
        twins: Table with the columns of `Cohort.twins`.
        cases: Table of the cases that are in the cohort, with case_id.

    Returns:
        The twins, and reason, case_id and detail of the others.
    """
    exists = pl.Series([Path(path).is_file() for path in twins["image"]], dtype=pl.Boolean)
    known = twins["twin_of"].is_in(cases["case_id"].implode())
    lost = twins.with_columns(
        reason=pl.when(~known).then(pl.lit("twin_without_case")).otherwise(pl.lit("missing_image")),
        detail=pl.when(~known)
        .then(pl.format("the twin of {}", "twin_of"))
        .otherwise(pl.lit("there is no file of this twin")),
    )
    return twins.filter(known & exists), lost.filter(~(known & exists)).select("reason", "case_id", "detail")
