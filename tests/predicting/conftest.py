"""A store of made cases with their DICOM files, and a run of a second on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from radgaze.runs import settings
from radgaze.runs.run import Run
from radgaze.store.store import Store
from radgaze.training.train import train
from tests.store.cohorts import make_cohort
from tests.stores import prepare
from tests.training.conftest import TINY


def trained(store: Store, out: Path, seed: int = 42) -> Run:
    """A run of one epoch."""
    wanted = {**TINY, "trainer": {**TINY["trainer"], "max_epochs": 1}, "seed": seed}
    return train(settings.resolve("set3_guided", data=str(store.path), **wanted), out)


@pytest.fixture(scope="package")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("predicting")


@pytest.fixture(scope="package")
def store(archive: Path) -> Store:
    """Cases case-00 and so on, whose files are `file_of`."""
    return prepare(make_cohort(archive / "images", cases=24), archive / "store", size=64, workers=1)


@pytest.fixture(scope="package")
def run(archive: Path, store: Store) -> Run:
    return trained(store, archive / "run")


def file_of(archive: Path, case_id: str) -> Path:
    """The DICOM file of a case."""
    i = int(case_id.removeprefix("case-"))
    return archive / "images" / f"p1000{i}-s5000{i}.dcm"
