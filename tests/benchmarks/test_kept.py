"""Tests of the figures that long benchmarks keep, and of the table of all methods on the phantom."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.kept import Figures, kept
from benchmarks.phantom_methods import LEFT_OUT, PLAIN, configured, methods, row

from radgaze import experiments
from radgaze.errors import UserError
from radgaze.runs import settings


def test_figures_are_measured_once(tmp_path: Path) -> None:
    measured: list[int] = []

    def measure() -> Figures:
        measured.append(1)
        return {"auc": 0.75}

    path = tmp_path / "seed-1" / "rrr, λ = 0.1.json"
    assert kept(path, measure) == {"auc": 0.75}
    assert kept(path, measure) == {"auc": 0.75}
    assert len(measured) == 1


def test_figures_that_somebody_else_measures_are_left_to_them(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"

    def measure() -> Figures:
        assert kept(path, lambda: {"auc": 0.0}) is None
        return {"auc": 0.5}

    assert kept(path, measure) == {"auc": 0.5}


def test_what_fails_is_told_and_measured_anew(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"

    def fail() -> Figures:
        raise UserError("no such encoder")

    with pytest.raises(UserError, match="no such encoder"):
        kept(path, fail)
    assert kept(path, lambda: {"auc": 1.0}) == {"auc": 1.0}


def test_each_method_has_settings_on_the_phantom() -> None:
    rows = methods()
    family = {each.name for each in experiments.catalogue() if each.family == "Comparison"}
    assert family - rows.keys() == set(LEFT_OUT)
    for method in rows.values():
        config = configured(method, "store", seed=1)
        assert config.input.size == 96
        if not method.demo_gamma and not method.overrides:
            published = settings.resolve(method.experiment).objective.gamma
            assert config.objective.gamma == published


def test_a_row_compares_the_same_seeds_alone() -> None:
    plain: list[Figures] = [
        {"seed": 1, "AUC": 0.5, "seconds": 10.0},
        {"seed": 2, "AUC": 0.75, "seconds": 10.0},
    ]
    found: list[Figures] = [
        {"seed": 2, "AUC": 0.875, "seconds": 20.0},
        {"seed": 3, "AUC": 0.5, "seconds": 99.0},
    ]
    cells = row("gain", found, plain)
    assert cells["difference"] == "+0.125"
    assert cells["time"] == 2.0
    assert row(PLAIN, plain, plain)["difference"].startswith("+0.000")  # type: ignore[union-attr]
