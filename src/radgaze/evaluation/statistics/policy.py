"""Resampling of the cases of a split, a run or several seeds: one policy for all intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import polars as pl

from radgaze.evaluation.metrics import multilabel
from radgaze.evaluation.statistics.resampling import (
    RESAMPLES,
    PaperResamples,
    Part,
    PatientBootstrap,
    Resampling,
)


class ResamplingSettings(Protocol):
    """Settings of a resampling, see `EvaluationOptions`."""

    @property
    def interval(self) -> str | None:
        """Kind of the intervals: "paper" for the paper's resamples, see `PaperResamples`."""
        ...

    @property
    def resamples(self) -> int:
        """Number of resamples."""
        ...

    @property
    def seed(self) -> int:
        """Random seed."""
        ...


def bootstrap(
    cases: pl.DataFrame, strata: Sequence[str] = (), *, resamples: int, seed: int
) -> PatientBootstrap:
    """Bootstrap patients, stratified by class where classes are given and each case has exactly one.

    Strata are for figures that compare the cases of a class with the others, such as the AUC: every resample
    has cases of both. A mean over cases, a predictive value or a share also depends on how many cases each
    class has, which other patients would not repeat: with strata its interval would be too narrow.

    Args:
        cases: One row per case: `patient` and `label_<class>` of the strata.
        strata: Names of the classes; none for no strata.
        resamples: Number of resamples.
        seed: Random seed.
    """
    # Combinations of classes are not strata: a combination that a single patient has would be drawn exactly
    # once in every resample.
    place = np.zeros(cases.height, dtype=np.int64)
    if strata and cases.height and multilabel.exclusive(cases, strata):
        place = cases.select([f"label_{name}" for name in strata]).to_numpy().argmax(1)
    return PatientBootstrap(cases["patient"].cast(pl.Int64).to_numpy(), place, resamples, seed)


def resampling_of(
    cases: pl.DataFrame,
    settings: ResamplingSettings | Mapping[str, object],
    strata: Sequence[str] = (),
) -> Resampling:
    """Create the resampling that the settings of an evaluation state, for all intervals and verdicts.

    Args:
        cases: One row per case: `patient` and `label_<class>` of the strata.
        settings: The settings; those that a mapping lacks have their defaults.
        strata: Names of the classes that are strata, see `bootstrap`.

    Raises:
        TypeError: `resamples` or `seed` is not an integer.
    """
    if isinstance(settings, Mapping):
        interval, resamples, seed = (
            settings.get(name, default)
            for name, default in (("interval", None), ("resamples", RESAMPLES), ("seed", 0))
        )
    else:
        interval, resamples, seed = settings.interval, settings.resamples, settings.seed
    if not (isinstance(resamples, int) and isinstance(seed, int)):
        raise TypeError("`resamples` and `seed` must be whole numbers")
    if interval == "paper":
        return PaperResamples(cases.height, seed=seed)
    return bootstrap(cases, strata, resamples=resamples, seed=seed)


def bootstraps(
    tables: Sequence[pl.DataFrame], strata: Sequence[str] = (), *, resamples: int, seed: int
) -> list[Part]:
    """Bootstrap the cases of several seeds so that a patient counts equally often in resample r of all seeds.

    The patients of all tables are drawn jointly. Random splits of different seeds share some test patients,
    and repeated cross-validation tests each patient once per repetition; if each table were resampled
    separately, such a patient would count as a new one each time, and intervals would become narrower the
    more often the same patients are tested. Where all tables hold the same cases, these are the resamples of
    `bootstrap`.

    Args:
        tables: One table for each seed: `case_id`, `patient` and `label_<class>` of the strata.
        strata: Names of the classes that are strata, see `bootstrap`.
        resamples: Number of resamples.
        seed: Random seed.
    """
    columns = ["case_id", "patient", *(f"label_{name}" for name in strata)]
    every = pl.concat([table.select(columns) for table in tables]).unique("case_id", maintain_order=True)
    resampling = bootstrap(every, strata, resamples=resamples, seed=seed)
    place = dict(zip(every["case_id"], range(every.height), strict=True))
    places = [np.array([place[c] for c in table["case_id"]], dtype=np.int64) for table in tables]
    return [Part(resampling, of_table) for of_table in places]
