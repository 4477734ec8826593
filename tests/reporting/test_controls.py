"""Comparisons of runs with their controls of gaze: the pairs, and the words on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from radgaze.evaluation.comparison import Comparison, compare
from radgaze.evaluation.comparison_options import CompareOptions
from radgaze.evaluation.controls import ControlPair, Controls, controls_among
from radgaze.reporting.comparison_page import comparison
from radgaze.reporting.comparison_tables import comparison_markdown
from radgaze.reporting.control_words import control_sentences
from radgaze.reporting.description import StoreFacts, facts, summary
from radgaze.reporting.sections.limits import NO_CONTROL
from tests.reporting.fakes import FakeRun, draw, evaluated
from tests.reporting.pages import Page


def controlled(folder: Path, control: str, *, seed: int = 0, skill: float = 1.0) -> FakeRun:
    run = FakeRun(folder / f"{control}-{seed}", seed=seed, skill=skill)
    run.config.gaze = replace(run.config.gaze, control=control)  # type: ignore[arg-type]
    return run


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    folder = tmp_path_factory.mktemp("controls")
    runs = [
        controlled(folder, "none", skill=2.4),
        controlled(folder, "shuffled", seed=3, skill=1.0),
        controlled(folder, "lungs", seed=4, skill=2.4),
    ]
    return compare(runs, CompareOptions(resamples=400))


def test_runs_that_differ_in_their_control_alone_are_pairs(tmp_path: Path) -> None:
    runs = [
        controlled(tmp_path, "none"),
        controlled(tmp_path, "shuffled"),
        FakeRun(tmp_path / "other", experiment="set1_guided"),
        FakeRun(tmp_path / "without", experiment="no_decoder"),
        controlled(tmp_path, "mean"),
    ]
    runs[4].config.seed = 5
    runs[4].config.trainer.workers = 3
    found = controls_among(runs, ["own", "shuffled", "other", "without", "mean"])
    assert found.pairs == (
        ControlPair("own", "shuffled", "shuffled"),
        ControlPair("own", "mean", "mean"),
    )
    assert found.without == ("other",)
    runs[1].config.gaze.sigma = 0.1  # another method
    assert [pair.control for pair in controls_among(runs, list("abcde")).pairs] == ["e"]


def test_a_comparison_says_from_which_controls_the_gaze_is_distinguishable(compared: Comparison) -> None:
    assert compared.names == ("none-0", "shuffled-3", "lungs-4")
    shuffled, lungs = control_sentences(compared)
    assert "is distinguishable from the gaze on a case of another patient (shuffled-3)" in shuffled
    assert "macro AUC is higher with it" in shuffled
    assert "after Holm's correction" in shuffled
    assert "not distinguishable from the shape of the lungs" in lungs
    row = compared.differences(run="shuffled-3", metric="auc", group="macro")[0]
    assert row.difference is not None
    assert f"+{-row.difference:.3f}" in shuffled  # the run with the gaze of each case minus its control
    assert "## Controls of gaze" in comparison_markdown(compared)


def test_the_same_is_said_where_the_control_is_the_reference(tmp_path: Path) -> None:
    own, control = controlled(tmp_path, "none", skill=2.4), controlled(tmp_path, "mean", seed=3)
    options = CompareOptions(resamples=400)
    first, second = (control_sentences(compare(runs, options)) for runs in ([own, control], [control, own]))
    assert first == second
    assert "macro AUC is higher with it" in first[0]


def test_holms_p_and_the_interval_decide_together(compared: Comparison) -> None:
    paired = compared.paired.with_columns(p_bootstrap_holm=pl.lit(0.06))
    sentence = control_sentences(replace(compared, paired=paired))[0]
    assert "is not distinguishable from the gaze on a case of another patient" in sentence
    assert "no proof that they are equal" in sentence


def test_without_a_control_the_comparison_says_so(compared: Comparison) -> None:
    (sentence,) = control_sentences(replace(compared, controls=Controls((), ("set3_guided",))))
    assert sentence.startswith("No control of set3_guided is compared")
    pair = ControlPair("a", "b", "mean")
    (apart,) = control_sentences(replace(compared, controls=Controls((pair,))))
    assert "name a first to compare the two" in apart
    assert control_sentences(replace(compared, controls=Controls())) == []


def test_page_and_report_name_the_control(tmp_path: Path) -> None:
    runs = [controlled(tmp_path, "none"), controlled(tmp_path, "shuffled", seed=3)]
    results = [evaluated(run) for run in runs]
    page = comparison(runs, tmp_path / "out", compare(runs, CompareOptions(resamples=50)), draw=draw)
    text = Page(page.read_text(encoding="utf-8")).text
    words = "It is a control: in training, the gaze on a case of another patient stood in"
    assert words in text
    assert words in summary(runs[1], StoreFacts())
    assert "control" not in summary(runs[0], StoreFacts())
    assert ("Gaze in training", "control shuffled") in facts(runs[1], results[1], StoreFacts())
    assert "Gaze in training" not in dict(facts(runs[0], results[0], StoreFacts()))
    assert "set3_guided+shuffled" in text
    assert NO_CONTROL.startswith("It used gaze")
