from pathlib import Path

import matplotlib
import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from radgaze.reporting import curves
from radgaze.reporting.style import save
from tests.reporting.fakes import CLASSES, FakeRun
from tests.reporting.lines import in_legend, x_of, y_of


@pytest.fixture
def run(tmp_path: Path) -> FakeRun:
    return FakeRun(tmp_path / "run")


def test_the_area_under_each_drawn_roc_curve_is_scikit_learns(run: FakeRun) -> None:
    test = run.test()
    axis = curves.roc(test, CLASSES, {}).axes[0]
    for name in CLASSES:
        drawn = next(line for line in axis.lines if line.get_label() == name)
        expected = roc_auc_score(test[f"label_{name}"], test[f"probability_{name}"])
        assert np.trapezoid(y_of(drawn), x_of(drawn)) == pytest.approx(expected)


def test_the_operating_point_lies_on_its_curve(run: FakeRun) -> None:
    axis = curves.roc(run.test(), CLASSES, {}).axes[0]
    dots = [line for line in axis.lines if line.get_marker() == "o"]
    assert len(dots) == len(CLASSES)
    for name, dot in zip(CLASSES, dots, strict=True):
        drawn = next(line for line in axis.lines if line.get_label() == name)
        x, y = np.array(x_of(drawn)), np.array(y_of(drawn))
        assert y_of(dot) == pytest.approx([y[x <= 0.1 + 1e-9].max()])


def test_a_class_that_no_case_has_is_named_as_undefined(run: FakeRun) -> None:
    test = run.test().filter(pl.col("label_CHF") == 0)
    for figure in (curves.roc(test, CLASSES, {}), curves.precision_recall(test, CLASSES, {})):
        assert "CHF: undefined, one class only" in in_legend(figure)


def test_the_legend_holds_the_value_and_interval_of_metrics(run: FakeRun) -> None:
    auc = {"CHF": {"value": 0.914, "low": 0.861, "high": 0.959}}
    figure = curves.roc(run.test(), CLASSES, auc)
    assert "CHF 0.91 [0.86, 0.96]" in in_legend(figure)


def test_training_marks_the_epoch_with_the_best_validation_auc(run: FakeRun) -> None:
    history = run.history()
    figure = curves.training(history)
    best = history.sort("validate/auc", descending=True)["epoch"][0] + 1
    assert len(figure.axes) == 3  # classification, maps, AUC
    assert f"best: epoch {best}," in figure.axes[-1].get_title(loc="right")


def test_training_without_maps_or_scores_still_draws() -> None:
    history = pl.DataFrame({"epoch": [0, 1], "train/loss": [1.0, 0.5]})
    assert len(curves.training(history).axes) == 1


def test_a_figure_repeats_to_the_byte_and_leaves_matplotlib_as_it_was(run: FakeRun, tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    first, second = (
        save(curves.calibration(run.test(), CLASSES, {}), tmp_path / f"{name}.png").read_bytes()
        for name in "ab"
    )
    assert first == second
    assert b"Software" not in first
    assert dict(matplotlib.rcParams) == before
