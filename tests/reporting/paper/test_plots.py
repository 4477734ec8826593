from pathlib import Path

import numpy as np
import polars as pl
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score

from radgaze import experiments
from radgaze.evaluation.across_runs import SeedMean
from radgaze.reporting.paper import plots
from tests.reporting.fakes import CLASSES, FakeRun
from tests.reporting.lines import x_of, y_of
from tests.reporting.paper.grids import made, mean

NAMES = ("no_decoder", "baseline", "set1_guided", "set3_guided")


def auc(table: pl.DataFrame, name: str) -> float:
    return float(roc_auc_score(table[f"label_{name}"], table[f"probability_{name}"]))


def curves(figure: Figure, label: str) -> list[float]:
    """The area under each drawn curve of that label."""
    lines = [line for axis in figure.axes for line in axis.lines if str(line.get_label()).startswith(label)]
    return [float(np.trapezoid(y_of(line), x_of(line))) for line in lines]


def test_the_area_under_a_drawn_curve_is_scikit_learns_and_of_seeds_their_mean(tmp_path: Path) -> None:
    tables = [FakeRun(tmp_path / str(i), seed=i, cases=i).test() for i in range(3)]
    figures = made({"baseline": 0.8, "set3_guided": 0.9}).auc
    figure = plots.roc({"baseline": tables[:1], "set3_guided": tables}, "CHF", figures)
    assert curves(figure, "Set 3, guided") == [
        pytest.approx(np.mean([auc(t, "CHF") for t in tables]), abs=2e-3)
    ]
    assert curves(figure, "Baseline") == [pytest.approx(auc(tables[0], "CHF"))]


def test_the_baselines_curve_is_in_every_panel_and_a_failed_experiment_in_none(tmp_path: Path) -> None:
    table = FakeRun(tmp_path / "run").test()
    figures = made(dict.fromkeys(NAMES, 0.8)).auc
    figure = plots.roc({name: [table] for name in NAMES}, "CHF", figures)
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["Baselines", "Set 1", "Set 3"]
    assert len(curves(figure, "Baseline U-Net")) == 3
    assert len(curves(figure, "Set 2")) == 0


def test_a_baseline_alone_still_has_its_curve(tmp_path: Path) -> None:
    table = FakeRun(tmp_path / "run").test()
    figure = plots.roc({"baseline": [table]}, "CHF", made({"baseline": 0.8}).auc)
    assert len(curves(figure, "Baseline U-Net")) == 1


def marks(axis: Axes, *, hollow: bool) -> list[float]:
    lines = [line for line in axis.lines if line.get_marker() != "None" and x_of(line)]
    return [x_of(x)[0] for x in lines if (x.get_markerfacecolor() == "white") == hollow]


def test_the_forest_has_every_auc_filled_and_every_published_one_hollow() -> None:
    values = {"temporal": 0.7, "no_decoder": 0.75, "baseline": 0.8, "set3_guided": 0.9}
    macro, normal, *_ = plots.forest(made(values)).axes
    assert marks(macro, hollow=False) == list(values.values())
    assert marks(macro, hollow=True) == [0.807, 0.872, 0.913]
    assert marks(normal, hollow=True) == [0.894, 0.923]
    dotted = [x_of(line)[0] for line in macro.lines if line.get_linestyle() == ":"]
    assert dotted == [0.8]


def test_the_forest_has_a_mark_of_its_own_for_each_family() -> None:
    of_families = {each.family: each.name for each in reversed(experiments.catalogue())}
    figure = plots.forest(made(dict.fromkeys(of_families.values(), 0.8), classes=("No finding", "pneumonia")))
    drawn = [line for line in figure.axes[0].lines if line.get_marker() != "None"]
    assert len({line.get_marker() for line in drawn}) == len(of_families)


def test_the_forest_of_other_classes_shows_nothing_published() -> None:
    figure = plots.forest(made({"baseline": 0.8}, classes=("No finding", "pneumonia")))
    assert all(marks(axis, hollow=True) == [] for axis in figure.axes)
    assert len(figure.axes) == 3


def test_agreement_draws_maps_and_floors_and_is_left_out_where_none_was_measured() -> None:
    estimates = made({"baseline": 0.8, "set3_guided": 0.9})
    entries = {"heatmap": {"nss": mean(1.1)}, "mask": {"nss": mean(2.0)}, "mean_gaze": {"nss": mean(0.7)}}
    object.__setattr__(estimates, "agreement", {"baseline": entries, "set3_guided": entries})
    figure = plots.agreement(estimates)
    assert figure is not None
    first = figure.axes[0]
    assert sorted(marks(first, hollow=False)) == [1.1, 1.1, 2.0, 2.0]
    upright = [x_of(x)[0] for x in first.lines if len(x_of(x)) == 2 and len({*x_of(x)}) == 1]
    assert upright == [0.7]
    object.__setattr__(estimates, "agreement", {"baseline": {}, "set3_guided": {}})
    assert plots.agreement(estimates) is None


def test_more_experiments_than_colours_can_still_be_told_apart(tmp_path: Path) -> None:
    table = FakeRun(tmp_path / "run").test()
    names = ["baseline", *(f"ours_{i}" for i in range(9))]
    figure = plots.roc({name: [table] for name in names}, CLASSES[0], made(dict.fromkeys(names, 0.8)).auc)
    ours = [(line.get_color(), str(line._unscaled_dash_pattern)) for line in figure.axes[-1].lines[1:]]  # type: ignore[attr-defined]
    assert len(ours) == len(set(ours)) == 10


def test_two_seeds_have_no_bar_and_the_figure_says_why() -> None:
    estimates = made({"baseline": 0.8, "set3_guided": 0.9})
    assert "too few runs" not in plots.forest(estimates).get_supxlabel()
    two = SeedMean(0.9, seeds=2)
    estimates.auc["set3_guided"].update(dict.fromkeys(estimates.auc["set3_guided"], two))
    figure = plots.forest(estimates)
    assert figure.get_supxlabel().endswith("without a bar: too few runs; hollow: published")
    estimates.agreement["baseline"]["heatmap"]["nss"] = two
    of_maps = plots.agreement(estimates)
    assert of_maps is not None
    assert of_maps.get_suptitle() == "Without a bar: too few runs"
