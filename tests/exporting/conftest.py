"""Runs of a second, and their exports."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from radgaze import experiments
from radgaze.evaluation.referral.selective import Referral, ReferralValidation
from radgaze.runs import settings
from radgaze.runs.run import Run
from radgaze.store.store import Store
from radgaze.training.train import train
from tests.store.cohorts import make_cohort
from tests.stores import prepare
from tests.training.conftest import TINY


@pytest.fixture(scope="package")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exporting")


@pytest.fixture(scope="package")
def store(archive: Path) -> Store:
    return prepare(make_cohort(archive / "images", cases=24), archive / "store", size=64, workers=1)


def trained(store: Store, out: Path, experiment: str = "set3_guided", **given: Any) -> Run:
    """A run of one epoch."""
    one = {"trainer": {**TINY["trainer"], "max_epochs": 1}}
    wanted: dict[str, Any] = experiments.merge(experiments.merge(TINY, one), given)
    return train(settings.resolve(experiment, data=str(store.path), **wanted), out)


@pytest.fixture(scope="package")
def run(archive: Path, store: Store) -> Run:
    """Set 3 with a reject rule that accepts about half of the cases."""
    made = trained(store, archive / "run")
    rule = Referral(
        classes=made.classes,
        kind="softmax",
        score="alpha",
        temperature=1.0,
        magnitude=0.0,
        threshold=1.9,
        goal="coverage",
        value=0.5,
        calibration=1.5,
        validation=ReferralValidation(6, 3, 0.5, 0.5, 0.5),
    )
    p = made.predictions().select("^probability_.*$").to_numpy()
    scores = sorted(rule.scores(p))
    replace(rule, threshold=float(scores[len(scores) // 2]) + 1e-5).write(made.path)
    return made
