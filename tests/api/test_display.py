"""Objects at the prompt and in a notebook: short, and what a user looks for in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

import radgaze as rg
from radgaze.display import text_facts, text_table
from radgaze.evaluation import baselines
from radgaze.runs import settings
from tests.training.conftest import TINY
from tests.training.own_networks import SmallUNet

SHORT = {**TINY, "trainer": {**TINY["trainer"], "max_epochs": 1}}


@pytest.fixture(scope="module")
def run(store: rg.Store, tmp_path_factory: pytest.TempPathFactory) -> rg.Run:
    out = tmp_path_factory.mktemp("run") / "guided"
    return rg.train(rg.config("set3_guided", data=store, seed=1, **SHORT), out)


def test_a_run_shows_its_best_epoch_and_its_test_auc_once_it_is_evaluated(run: rg.Run) -> None:
    (run.path / "metrics.json").unlink(missing_ok=True)
    assert "not evaluated yet" in repr(run)
    macro = rg.evaluate(run, resamples=20).test.auc["macro"]
    best = run.history()["validate/auc"].max()
    assert isinstance(best, float)
    for shown in (repr(run), run._repr_html_()):
        assert all(words in shown for words in ("guided", "set3_guided", run.path.name))
        assert f"{macro.value:.3f} [" in shown
        assert f"1, the best 1 (validate AUC {best:.3f})" in shown
        assert "not evaluated" not in shown
    assert len(repr(run).splitlines()) <= 6
    assert len(repr(run.history)) < 500


def test_a_run_whose_files_are_damaged_shows_itself(run: rg.Run, tmp_path: Path) -> None:
    damaged = rg.Run(tmp_path, run.config)
    for name in ("metrics.json", "history.csv"):
        (tmp_path / name).write_text("{", encoding="utf-8")
    assert "metrics.json" in repr(damaged)
    assert "history.csv" in repr(damaged)


def read(config: rg.Config) -> dict[str, object]:
    """The settings that a configuration shows."""
    shown = yaml.safe_load(repr(config).partition("\n")[2])
    assert isinstance(shown, dict)
    return shown


def test_a_configuration_shows_what_differs_from_the_defaults_and_no_more(store: rg.Store) -> None:
    changes: dict[str, Any] = {"seed": 7, "trainer": {"max_epochs": 3}, "gaze": {"sigma": 0.125}}
    made = rg.config("set3_guided", data=store, **changes)
    shown = read(made)
    usual = read(rg.config("set3_guided", data=store))
    assert shown == {**usual, **changes}
    assert len(repr(made).splitlines()) < 25
    # The settings that are shown, and the defaults, are the whole configuration.
    assert settings.from_dict({**shown, "data": str(store.path)}) == made


def test_a_configuration_names_the_class_of_a_network_that_was_given(store: rg.Store) -> None:
    shown = repr(rg.config("set3_guided", data=store, model=SmallUNet(3)))
    assert "factory: SmallUNet" in shown
    assert "given" not in shown


def test_an_audit_shows_its_verdict_on_each_method(run: rg.Run) -> None:
    made = rg.audit(run, methods=("grad_cam", "backprop"), cases=3, probed=1, resamples=20)
    assert len(repr(made)) < 1500
    rows = {line.split()[0]: line for line in repr(made).splitlines() if line}
    assert "3 test cases" in repr(made)
    for name in ("grad_cam", "backprop"):
        assert "too few patients" in rows[name]
        assert name in made._repr_html_()
    assert "<table" in made._repr_html_()


def test_columns_of_a_table_are_aligned_and_of_numbers_to_the_right() -> None:
    assert text_table(["a", "n", "why"], [["long", "5", "x"], ["b", "100", "no y"]]).splitlines() == [
        "a       n  why",
        "long    5  x",
        "b     100  no y",
    ]
    assert text_facts("T", {"a": "1", "empty": "", "long": "\x1b"}) == "T\n  a     1\n  long  \\x1b"


def test_results_begin_with_auc_and_the_own_maps_and_end_with_baselines(run: rg.Run) -> None:
    results = rg.evaluate(run, resamples=20)
    table = results.to_frame()
    of_test = table.filter(split="test")
    assert table.head(of_test.height).equals(of_test)
    aucs = of_test.filter(metric="auc")
    assert of_test.head(aucs.height).equals(aucs)
    assert aucs["of"].to_list() == ["macro", *run.classes]
    maps = of_test.filter(metric="nss")["of"].to_list()
    assert maps[:3] == ["heatmap", "mask", "grad_cam"]
    assert set(maps[-2:]) <= set(baselines.REGISTRY)
    own, others = of_test.filter(of="grad_cam"), of_test.filter(pl.col("of").is_in(list(baselines.REGISTRY)))
    assert of_test.tail(others.height).equals(others)
    assert own.height == others.filter(of="lung_shape").height
    # As many figures as before the order: none is lost, none is there twice.
    assert table.select("split", "metric", "of").is_duplicated().sum() == 0
    assert set(maps) == set(results.test.agreement)
    shown = repr(results).splitlines()
    assert len(shown) < 30
    assert f"of {table.height} figures" in shown[0]
    for name in ("auc", "heatmap", "mask"):
        assert name in repr(results)
        assert name in results._repr_html_()


def test_results_become_a_pandas_table_without_pyarrow(run: rg.Run) -> None:
    pandas = pytest.importorskip("pandas")
    table = rg.evaluate(run, resamples=20).to_frame()
    made = pandas.DataFrame(table.to_dict(as_series=False))
    assert list(made.columns) == table.columns
    assert made["value"].dtype == float
    np.testing.assert_array_equal(made["low"].to_numpy(), table["low"].to_numpy())
