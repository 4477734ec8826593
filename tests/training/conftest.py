"""A small store of made cases, and the settings of runs that take a second an epoch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl
import pytest

from radgaze.runs import settings
from radgaze.runs.config import Config
from radgaze.store.store import Store
from tests.store.cohorts import CLASSES, make_cohort, write_dicom
from tests.stores import prepare

TINY: dict[str, Any] = {
    "model": {"encoder": "tu-test_efficientnet", "weights": "none", "decoder_channels": [16, 8, 8, 4, 4]},
    "input": {"size": 32},
    "optimisation": {"batch_size": 8},
    "trainer": {"max_epochs": 2, "patience": 0, "accelerator": "cpu", "logger": "none"},
}


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """36 cases; a band of light tells the class, and there the reader looked."""
    folder = tmp_path_factory.mktemp("training")
    cohort = make_cohort(folder / "images", cases=36, shape=(64, 64))
    kind = pl.sum_horizontal(k * pl.col(f"label_{name}") for k, name in enumerate(CLASSES))
    bands = cohort.readings.join(cohort.cases, on="case_id").select("reading_id", band=16.0 * kind + 8)
    looked = cohort.fixations.join(bands.lazy(), on="reading_id", maintain_order="left")
    looked = looked.with_columns(y=pl.col("band") + 12 * pl.col("y") / 64).drop("band")
    cohort = replace(cohort, fixations=looked)
    draw = np.random.default_rng(1)
    for case in cohort.cases.iter_rows(named=True):
        pixels = 0.4 * draw.random((64, 64))
        label = next(k for k, name in enumerate(CLASSES) if case[f"label_{name}"])
        pixels[16 * label + 8 : 16 * label + 20] += 0.3
        write_dicom(Path(case["image"]), pixels)
    return prepare(cohort, folder / "store", size=64, workers=1)


class Configure(Protocol):
    """The fixture `config`: settings of a tiny run on the store."""

    def __call__(
        self, experiment: str = "set3_guided", protocol: str = "honest", /, **overrides: object
    ) -> Config: ...


@pytest.fixture
def config(store: Store) -> Configure:
    """`config("baseline", trainer={"max_epochs": 1})`: a tiny run on the store."""

    def make(experiment: str = "set3_guided", protocol: str = "honest", /, **overrides: object) -> Config:
        from radgaze import experiments

        own = experiments.merge({**TINY, "data": str(store.path)}, overrides)
        return settings.resolve(experiment, protocol=protocol, **own)

    return make
