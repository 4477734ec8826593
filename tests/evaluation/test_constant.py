"""Predictions that are the same for every case are called so."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from radgaze.evaluation import EvaluationOptions, evaluate
from radgaze.evaluation.constant import is_constant
from tests.evaluation.fakes import FakeRun, cases

CLASSES = ("a", "b")


def table(spread: float) -> pl.DataFrame:
    p = 0.4 + spread * np.linspace(0, 1, 9)
    return pl.DataFrame({"probability_a": p, "probability_b": 1 - p})


@pytest.mark.parametrize(("spread", "constant"), [(0.0, True), (0.009, True), (0.02, False), (0.5, False)])
def test_probabilities_within_a_hundredth_are_constant(spread: float, constant: bool) -> None:
    assert is_constant(table(spread), CLASSES) is constant


def test_one_case_is_not_called_constant() -> None:
    assert not is_constant(table(0.0).head(1), CLASSES)


def test_evaluation_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = FakeRun(tmp_path / "run", cases(), "run", decoder=False)
    run.path.mkdir()
    with caplog.at_level(logging.WARNING, logger="radgaze"):
        evaluate(run, EvaluationOptions(device="cpu", resamples=20))
        assert "nearly the same probabilities" not in caplog.text
        monkeypatch.setattr("radgaze.evaluation.constant.SPREAD", 1.1)
        evaluate(run, EvaluationOptions(device="cpu", resamples=20))
        assert "run: The network gives every test case nearly the same probabilities" in caplog.text
