"""How the cases of a split, of a run or of several seeds are drawn again: one policy for every interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from radgaze.evaluation.metrics import multilabel
from radgaze.evaluation.statistics.resampling import (
    RESAMPLES,
    Part,
    PatientBootstrap,
    Resampling,
    SeedResamples,
)


def bootstrap(cases: pl.DataFrame, classes: Sequence[str], *, resamples: int, seed: int) -> PatientBootstrap:
    """The patient bootstrap of a table of cases with `patient` and `label_<class>`.

    Classes that exclude each other are its strata; without them there are none.
    """
    labels = cases.select([f"label_{name}" for name in classes]).to_numpy()
    # Combinations of classes are no strata: one that a single patient has would be drawn once every time.
    of_class = np.zeros(len(labels), dtype=np.int64)
    if multilabel.exclusive(cases, classes) and len(labels):
        of_class = labels.argmax(1)
    return PatientBootstrap(cases["patient"].cast(pl.Int64).to_numpy(), of_class, resamples, seed)


def resampling_of(cases: pl.DataFrame, classes: Sequence[str], settings: Mapping[str, Any]) -> Resampling:
    """How a run's cases are drawn again, as its metrics.json says: for every interval and every verdict.

    Args:
        cases: Those that are drawn: `patient` and `label_<class>`.
        classes: The classes.
        settings: `interval` ("seed" for the paper's way, anything else for patients), `resamples` and `seed`.
    """
    seed = int(settings.get("seed", 0))
    if settings.get("interval") == "seed":
        return SeedResamples(cases.height, seed=seed)
    resamples = int(settings.get("resamples", RESAMPLES))
    return bootstrap(cases, classes, resamples=resamples, seed=seed)


def bootstraps(
    tables: Sequence[pl.DataFrame], classes: Sequence[str], *, resamples: int, seed: int
) -> list[Part]:
    """Draws of each seed's cases in which a patient counts equally often in all seeds' resample r.

    The patients of all tables are drawn together, once. Splits drawn anew share some test patients, and
    repeated cross-validation tests each patient once per repetition; drawn table by table, such a patient
    would be a new one each time, and an interval the narrower the more often the same patients are tested.
    Where all tables hold the same cases, these are the draws of `bootstrap`.

    Args:
        tables: One of each seed: `case_id`, `patient` and `label_<class>`.
        classes: The classes.
        resamples: How many.
        seed: Of the draws.
    """
    columns = ["case_id", "patient", *(f"label_{name}" for name in classes)]
    every = pl.concat([table.select(columns) for table in tables]).unique("case_id", maintain_order=True)
    draws = bootstrap(every, classes, resamples=resamples, seed=seed)
    place = dict(zip(every["case_id"], range(every.height), strict=True))
    return [Part(draws, np.array([place[c] for c in table["case_id"]], dtype=np.int64)) for table in tables]
