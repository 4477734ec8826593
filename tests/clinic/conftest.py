"""A run of one epoch on made cases, with a rule for the reject option, and its maker of DICOM objects."""

from __future__ import annotations

from pathlib import Path

import pytest

from radgaze.clinic.objects import Maker, ObjectOptions
from radgaze.runs.run import Run
from tests.predicting.conftest import trained
from tests.store.cohorts import make_cohort
from tests.stores import prepare


@pytest.fixture(scope="package")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    pytest.importorskip("highdicom", reason="the extra clinic is not installed")
    folder = tmp_path_factory.mktemp("clinic")
    store = prepare(make_cohort(folder / "images", cases=24), folder / "store", size=64, workers=1)
    return trained(store, folder / "run")


@pytest.fixture(scope="package")
def maker(run: Run) -> Maker:
    return Maker.of(run, ObjectOptions(device="cpu"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path
