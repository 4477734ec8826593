"""The worker beside a real PACS, Orthanc: after kills at random moments each study has its objects once."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from radgaze.runs.run import Run
from tests.clinic import orthanc
from tests.predicting.conftest import trained
from tests.store.cohorts import make_cohort
from tests.stores import prepare

pytestmark = pytest.mark.clinic


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    reason = orthanc.missing()
    if reason is not None:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("orthanc")
    store = prepare(make_cohort(folder / "images", cases=24), folder / "store", size=64, workers=1)
    return trained(store, folder / "run")


def after_kills(
    run: Run | None, folder: Path, *, studies: int, kills: int, seed: int, timeout: float = 280
) -> Any:
    place = "-" if run is None else str(run.path)
    words = [sys.executable, "-m", "tests.clinic.kills", place, str(folder)]
    words += map(str, (studies, kills, seed))
    done = orthanc.within(folder / "orthanc", *words, timeout=timeout)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def check(report: Any, studies: int) -> None:
    each = json.dumps({"DX": 1, "OT": 1, "SEG": 1, "SR": 1}, sort_keys=True)
    assert report["studies"] == {each: studies}
    assert report["code"] == 0
    assert report["left"] == ["journal.sqlite", "journal.sqlite.lock"]
    assert report["processes"] == []


def test_two_kills_over_a_dozen_studies(run: Run, tmp_path: Path) -> None:
    check(after_kills(run, tmp_path, studies=12, kills=2, seed=1), 12)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_kills_over_more_studies_than_a_page_without_a_model(tmp_path: Path) -> None:
    reason = orthanc.missing()
    if reason is not None:
        pytest.skip(reason)
    report = after_kills(None, tmp_path, studies=200, kills=10, seed=0, timeout=800)
    check(report, 200)
    assert sum(each["ran"] for each in report["kills"]) >= 5  # a fast machine may be done before a kill


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_kills_over_two_hundred_studies(run: Run, tmp_path: Path) -> None:
    report = after_kills(run, tmp_path, studies=200, kills=10, seed=0, timeout=3500)
    check(report, 200)
    assert sum(each["ran"] for each in report["kills"]) >= 5  # a fast machine may be done before a kill
