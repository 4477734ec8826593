"""Heatmaps of each class against the gaze of this class: which are compared, with what, and what is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from radgaze.cli import main
from radgaze.evaluation import EvaluationOptions, evaluate
from radgaze.evaluation.agreement_tables import comparable_agreement
from radgaze.evaluation.results import CLASS_AGREEMENT, read_results
from radgaze.reporting.run_page import report
from radgaze.runs import settings
from radgaze.runs.run import Run
from radgaze.store.store import Store
from radgaze.training.train import train
from tests.reporting.pages import Page
from tests.store.cohorts import CLASSES, make_cohort, with_mentions
from tests.stores import prepare
from tests.training.conftest import TINY, store

__all__ = ["store"]

OPTIONS = EvaluationOptions(device="cpu", resamples=20, batch_size=5, generator="backprop")


@pytest.fixture(scope="module")
def mentioned(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("mentioned")
    cohort = with_mentions(make_cohort(folder / "images", cases=36, shape=(64, 64)))
    return prepare(cohort, folder / "store", size=64, workers=1)


@pytest.fixture(scope="module")
def run(mentioned: Store, tmp_path_factory: pytest.TempPathFactory) -> Run:
    once = {**TINY, "trainer": {**TINY["trainer"], "max_epochs": 1}}
    config = settings.resolve("no_decoder", data=str(mentioned.path), gaze={"per": "class"}, **once)
    return train(config, tmp_path_factory.mktemp("runs") / "run")


def by_hand(run: Run) -> dict[tuple[str, str], float]:
    """NSS of the raw heatmap of each class at the fixations of this class, from the store's tables."""
    store, side = run.store, run.config.input.size
    rows = store.mentions.filter(pl.col("share") > 0).join(store.fixations, on=["reading_id", "index"])
    rows = rows.join(store.readings.select("reading_id", "case_id"), on="reading_id")
    tested = store.cases.filter(split="test")["case_id"].to_list()
    model, values = run.model(), {}
    for (case_id, label), part in rows.group_by("case_id", "label"):
        if case_id not in tested:
            continue
        (batch,) = run.batches("test", 1, [str(case_id)])
        k = run.classes.index(str(label))
        heat = run.generator(model, "backprop")(batch.image, torch.tensor([k]))[0, 0].numpy().astype(float)
        scaled = (heat - heat.mean()) / heat.std()
        at = (part.select("y", "x").to_numpy() * side / 64).astype(int).clip(0, side - 1)
        values[str(case_id), str(label)] = float(np.mean([scaled[y, x] for y, x in at]))
    return values


def test_each_mentioned_class_is_compared_with_its_own_fixations(run: Run) -> None:
    results = evaluate(run, OPTIONS)
    table = pl.read_parquet(run.path / CLASS_AGREEMENT).filter(map="heatmap_raw")
    expected = by_hand(run)
    found = {(case, label): nss for case, label, nss in table.select("case_id", "class", "nss").iter_rows()}
    assert found == pytest.approx(expected, abs=1e-5)
    assert any(sum(case == other for other, _ in found) > 1 for case, _ in found)
    of_cases: dict[str, list[float]] = {}
    for (case, _), value in expected.items():
        of_cases.setdefault(case, []).append(value)
    measured = results.test.class_agreement
    assert measured is not None
    assert measured.cases == len(of_cases)
    whole = measured.all["heatmap_raw"]
    assert whole is not None
    assert whole["nss"].value == pytest.approx(
        np.mean([np.mean(each) for each in of_cases.values()]), abs=1e-5
    )
    for name in CLASSES:
        of_class = [value for (_, label), value in expected.items() if label == name]
        assert measured.cases_of_class[name] == len(of_class)
        maps = measured.by_class[name]["heatmap_raw"]
        assert maps is not None
        assert maps["nss"].value == pytest.approx(np.mean(of_class), abs=1e-5)


def test_the_gaze_of_cases_is_compared_as_before_and_the_file_says_both(run: Run) -> None:
    with_classes = evaluate(run, OPTIONS)
    content = json.loads((run.path / "metrics.json").read_text(encoding="utf-8"))
    assert content["schema"] == 1
    assert content["settings"]["class_gaze"].startswith("maps of each class that the report mentions")
    assert read_results(run.path) == with_classes
    alone = evaluate(run, replace(OPTIONS, per="case"))
    assert alone.test.agreement == with_classes.test.agreement
    assert (alone.test.class_agreement, alone.settings.class_gaze) == (None, "")
    assert not (run.path / CLASS_AGREEMENT).exists()
    page = Page(report(run).read_text(encoding="utf-8"))
    assert "Whether it looks where each finding was seen" not in page.text


@pytest.mark.slow
def test_the_page_says_how_many_cases_have_gaze_of_a_class(run: Run) -> None:
    results = evaluate(run, OPTIONS)
    measured = results.test.class_agreement
    assert measured is not None
    page = Page(report(run).read_text(encoding="utf-8"))
    assert f"in {measured.cases} test cases" in page.text
    for name, cases in measured.cases_of_class.items():
        assert f"{name} {cases} cases" in page.text


def test_runs_with_gaze_of_the_case_and_of_the_class_are_compared_by_the_gaze_of_the_case(
    run: Run, tmp_path: Path
) -> None:
    """`gaze.per` does not change the gaze of a whole case."""
    evaluate(run, OPTIONS)
    once = {**TINY, "seed": 3, "trainer": {**TINY["trainer"], "max_epochs": 1}}
    other = train(settings.resolve("no_decoder", data=run.config.data, **once), tmp_path / "other")
    evaluate(other, OPTIONS)
    test = run.predictions().filter(split="test")
    tables, reason = comparable_agreement([run, other], ["one", "other"], test)
    assert (len(tables), reason) == (2, "")


def test_a_store_without_a_record_of_classes_is_told(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    once = {**TINY, "trainer": {**TINY["trainer"], "max_epochs": 1}}
    train(settings.resolve("no_decoder", data=str(store.path), **once), tmp_path / "run")
    assert main(["evaluate", str(tmp_path / "run"), "--per", "class", "--resamples", "20"]) == 2
    assert "does not record which fixations belong to a class" in " ".join(capsys.readouterr().err.split())
