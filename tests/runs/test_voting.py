"""The vote of several runs: its formulas, what is refused, and that it is used like a run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.metrics import roc_auc_score, roc_curve

from radgaze import files, models
from radgaze.attribution.registry import PRESETS
from radgaze.cli import main
from radgaze.errors import UserError
from radgaze.evaluation.maps import case_maps
from radgaze.evaluation.results import read_results
from radgaze.runs import origin, vote
from radgaze.runs.config import Config
from radgaze.runs.run import Run
from radgaze.runs.vote import Rule, VoteOptions
from radgaze.runs.voting import check_leaks, make_vote
from radgaze.store.store import Store
from radgaze.training.train import train
from tests.store.cohorts import make_cohort
from tests.stores import prepare

Make = Callable[..., Config]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("voting")


@pytest.fixture(scope="module")
def runs(folder: Path, config_of_module: Make) -> list[Run]:
    """Three seeds of one experiment, of an epoch each."""
    return [
        train(config_of_module("baseline", seed=seed, trainer={"max_epochs": 1}), folder / f"seed{seed}")
        for seed in (1, 2, 3)
    ]


@pytest.fixture(scope="module")
def config_of_module(store: Store) -> Make:
    from radgaze import experiments
    from radgaze.runs import settings
    from tests.training.conftest import TINY

    def make(experiment: str, **overrides: Any) -> Config:
        own: dict[str, Any] = experiments.merge(TINY, overrides)
        return settings.resolve(experiment, data=str(store.path), **own)

    return make


def probabilities(run: Run) -> np.ndarray:
    return run.predictions().select(f"probability_{name}" for name in run.classes).to_numpy()


def test_majority_is_the_share_above_the_threshold_and_a_tie_is_one_half() -> None:
    values = np.array([[[0.9, 0.5]], [[0.6, 0.2]], [[0.1, 0.51]], [[0.4, 0.7]]])
    # 0.9 and 0.6 of four exceed 0.5: a tie. 0.5 itself does not exceed it.
    np.testing.assert_array_equal(vote.combined("majority", values), [[0.5, 0.5]])
    np.testing.assert_array_equal(vote.combined("majority", values[:3]), [[2 / 3, 1 / 3]])
    np.testing.assert_array_equal(vote.combined("mean", values), values.mean(0))


def test_the_order_of_runs_does_not_change_a_bit() -> None:
    values = np.random.default_rng(0).random((7, 50, 3))
    whole = vote.mean(values)
    for seed in range(5):
        assert (vote.mean(np.random.default_rng(seed).permutation(values)) == whole).all()
    np.testing.assert_array_equal(vote.mean(values[:1]), values[0])


def test_the_validation_threshold_is_that_of_the_roc_curve() -> None:
    draw = np.random.default_rng(3)
    for _ in range(20):
        labels, scores = draw.integers(0, 2, 30), draw.random(30).round(1)
        threshold = vote.best_threshold(labels, scores)
        fpr, tpr, _thresholds = roc_curve(labels, scores)
        above = scores > threshold
        reached = above[labels == 1].mean() - above[labels == 0].mean()
        inner = (fpr > 0) | (tpr > 0)
        inner &= (fpr < 1) | (tpr < 1)  # all or none above is no threshold between scores
        assert reached == pytest.approx((tpr - fpr)[inner].max())
        assert threshold not in scores
    assert vote.best_threshold([1, 1], [0.2, 0.9]) == 0.5
    assert vote.best_threshold([0, 1], [0.3, 0.3]) == 0.5


def test_the_validation_threshold_is_the_first_of_the_best_of_all() -> None:
    draw = np.random.default_rng(4)
    for digits in (1, 2, 17):
        labels, scores = draw.integers(0, 2, 60), draw.random(60).round(digits)
        values = np.unique(scores)
        middles = (values[1:] + values[:-1]) / 2
        gains = [np.subtract(*((scores > t)[labels == k].mean() for k in (1, 0))) for t in middles]
        best = next(t for t, gain in zip(middles, gains, strict=True) if gain > max(gains) - 1e-9)
        assert vote.best_threshold(labels, scores) == best


def test_the_validation_threshold_of_many_cases_is_found() -> None:
    """The table of 200,000 cases by as many thresholds would have 37 GiB."""
    scores = np.random.default_rng(5).random(200_000)
    assert vote.best_threshold(scores > 0.625, scores) == pytest.approx(0.625, abs=1e-4)


@pytest.mark.parametrize("rule", ["mean", pytest.param("majority", marks=pytest.mark.slow)])
def test_a_vote_is_evaluated_explained_and_compared_like_a_run(
    rule: str, runs: list[Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "vote"
    words = [str(run.path) for run in runs]
    assert (
        main(["vote", *words, "--out", str(out), "--rule", rule, "--resamples", "50", "--device", "cpu"]) == 0
    )
    made, values = Run.open(out), np.stack([probabilities(run) for run in runs])
    expected = values.mean(0) if rule == "mean" else (values > 0.5).mean(0)
    np.testing.assert_allclose(probabilities(made), expected, rtol=1e-15)
    table = made.predictions()
    for k, name in enumerate(made.classes):
        np.testing.assert_allclose(table[f"mean_{name}"], values.mean(0)[:, k], rtol=1e-15)
        np.testing.assert_array_equal(table[f"share_{name}"], (values > 0.5).mean(0)[:, k])
    test = table.filter(pl.col("split") == "test")
    results = read_results(out)
    for name in made.classes:
        truth = roc_auc_score(test[f"label_{name}"], test[f"probability_{name}"])
        assert results.test.auc[name].value == pytest.approx(truth)
    assert results.experiment == f"{rule}_of_3_baseline"
    assert results.votes is not None
    own = runs[1].predictions().filter(pl.col("split") == "test")
    for name in made.classes:
        for of, scores in (
            ("baseline, seed 2 (2)", own[f"probability_{name}"]),
            ("mean", test[f"mean_{name}"]),
            ("majority", test[f"share_{name}"]),
        ):
            truth = roc_auc_score(test[f"label_{name}"], scores)
            assert results.votes.auc[of][name].value == pytest.approx(truth)
    voted = (values > 0.5)[:, (table["split"] == "test").to_numpy()]
    assert results.votes.unanimous == int((voted == voted[0]).all((0, 2)).sum())
    assert results.test.agreement["heatmap"] is not None
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "The runs that vote" in page
    assert "seed1 (baseline, seed 1), seed2 (baseline, seed 2) and seed3 (baseline, seed 3)" in page
    assert str(tmp_path) not in page


@pytest.mark.slow
def test_a_vote_is_compared_with_a_run(runs: list[Run], tmp_path: Path) -> None:
    out, words = tmp_path / "vote", [str(run.path) for run in runs]
    assert main(["vote", *words, "--out", str(out), "--resamples", "50", "--device", "cpu"]) == 0
    main(["evaluate", words[0], "--resamples", "50", "--device", "cpu"])
    assert (
        main(["compare", words[0], str(out), "--out", str(tmp_path / "compared"), "--resamples", "50"]) == 0
    )
    assert f"\n{out.name},auc," in (tmp_path / "compared" / "compare.csv").read_text()  # by its folder


def test_maps_of_a_vote_are_the_mean_of_the_runs_maps_of_the_voted_class(
    runs: list[Run], tmp_path: Path
) -> None:
    made = make_vote(runs, VoteOptions(tmp_path / "vote"))
    ids = made.predictions().filter(pl.col("split") == "test")["case_id"].to_list()
    maps = case_maps(made, ids, generator="grad_cam")
    predicted = torch.from_numpy(maps.probabilities.argmax(1))
    images = torch.from_numpy(maps.image)[:, None]
    own, masks = [], []
    for run in runs:
        model = run.model()
        own.append(run.generator(model, "grad_cam")(images, predicted)[:, 0].numpy())
        with torch.no_grad():
            masks.append(model(images).mask.sigmoid()[:, 0].numpy())
    np.testing.assert_allclose(maps.heatmap, np.mean(own, 0), atol=1e-6)
    assert maps.mask is not None
    np.testing.assert_allclose(maps.mask, np.mean(masks, 0), atol=1e-6)
    majority = make_vote(runs, VoteOptions(tmp_path / "majority", rule="majority"))
    voted = case_maps(majority, ids, generator="grad_cam", target="true").mask
    assert voted is not None
    np.testing.assert_allclose(voted, (np.stack(masks) > 0.5).mean(0), atol=1e-6)


@pytest.mark.parametrize("rule", ["mean", "majority"])
def test_explain_makes_the_mean_of_the_runs_maps(rule: Rule, runs: list[Run], tmp_path: Path) -> None:
    made = make_vote(runs, VoteOptions(tmp_path / "vote", rule=rule))
    case = made.store.cases["case_id"][0]
    out = tmp_path / "maps"
    words = ["explain", str(made.path), case, "--methods", "grad_cam,backprop", "--out", str(out)]
    assert main([*words, "--device", "cpu"]) == 0
    with np.load(out / case / "maps.npz") as found:
        arrays = dict(found)
    told = json.loads((out / case / "explanation.json").read_text())
    image, k = torch.from_numpy(arrays["image"])[None, None], made.classes.index(told["predicted"])
    for method in ("grad_cam", "backprop"):
        maps = [PRESETS[method].create(models.scoring(run.model()))(image, k)[0, 0].numpy() for run in runs]
        np.testing.assert_allclose(arrays[f"{method}/{told['predicted']}"], np.mean(maps, 0), atol=1e-5)
    with torch.no_grad():
        masks = np.stack([run.model()(image).mask.sigmoid()[0, 0].numpy() for run in runs])
        logits = np.stack([run.model()(image).logits.softmax(1)[0].numpy() for run in runs])
    mask = masks.mean(0) if rule == "mean" else (masks > 0.5).mean(0)
    np.testing.assert_allclose(arrays["mask"], mask, atol=1e-5)
    scores = logits.mean(0) if rule == "mean" else (logits > 0.5).mean(0)
    np.testing.assert_allclose(list(told["probabilities"].values()), scores, atol=1e-5)


def test_a_run_that_trained_on_a_tested_patient_does_not_vote(
    runs: list[Run], config_of_module: Make, folder: Path
) -> None:
    """Two folds: each was trained on patients that the other one tests."""
    folds = [
        train(
            config_of_module(
                "baseline",
                seed=fold,
                split={"kind": "folds", "folds": 3, "fold": fold, "seed": 0},
                trainer={"max_epochs": 1},
            ),
            folder / f"fold{fold}",
        )
        for fold in (0, 1)
    ]
    tested = set(folds[0].store.cases.filter(split="test")["patient"])
    leaked = tested & set(folds[1].store.cases.filter(split="train")["patient"])
    assert leaked
    with pytest.raises(UserError, match=f"trained on {len(leaked)} patients? that .*fold0 tests") as error:
        check_leaks(folds)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="trained on"):
        make_vote(folds, VoteOptions(folder / "leaky"))
    assert not (folder / "leaky").exists()
    check_leaks(runs)


def test_runs_that_do_not_fit_together_are_refused_in_a_line(
    runs: list[Run], config_of_module: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(runs[0].path, tmp_path / "copy")
    other = prepare(make_cohort(tmp_path / "images", cases=36), tmp_path / "other", size=64, workers=1)
    wanted = config_of_module("baseline", trainer={"max_epochs": 1})
    elsewhere = train(replace(wanted, data=str(other.path)), tmp_path / "elsewhere")
    larger = config_of_module("baseline", seed=5, input={"size": 64}, trainer={"max_epochs": 1})
    large = train(larger, tmp_path / "large")
    one = str(runs[0].path)
    for others, said in (
        ([], "at least two runs"),
        ([one], "have the same weights"),
        ([str(tmp_path / "copy")], "have the same weights"),
        ([str(elsewhere.path)], "are of different stores, "),
        ([str(large.path)], "differ in `input.size`, 32 against 64"),
    ):
        assert main(["vote", one, *others, "--out", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert said in " ".join(error.split()), error
        assert not (tmp_path / "out").exists()


def test_a_run_that_was_trained_again_no_longer_votes(runs: list[Run], tmp_path: Path) -> None:
    for run in runs[:2]:
        shutil.copytree(run.path, tmp_path / run.path.name)
    members = [Run.open(tmp_path / run.path.name) for run in runs[:2]]
    made = make_vote(members, VoteOptions(tmp_path / "vote"))
    assert [voter.path for voter in made.voters] == [
        tmp_path / "vote" / ".." / run.path.name for run in runs[:2]
    ]
    shutil.copy(runs[2].weights, members[0].weights)
    with pytest.raises(UserError, match="other weights than when it voted"):
        _ = Run.open(made.path).voters


def test_runs_of_different_kinds_of_probabilities_do_not_vote(runs: list[Run], tmp_path: Path) -> None:
    for run in runs[:2]:
        shutil.copytree(run.path, tmp_path / run.path.name)
    members = [Run.open(tmp_path / run.path.name) for run in runs[:2]]
    made = make_vote(members, VoteOptions(tmp_path / "vote"))
    path = members[1].path / "config.yaml"
    text = path.read_text(encoding="utf-8")
    assert "classification: softmax" in text
    path.write_text(text.replace("classification: softmax", "classification: sigmoid"), encoding="utf-8")
    said = "differ in `objective.classification`, s[a-z]+ against s[a-z]+, so that"
    with pytest.raises(UserError, match=said):
        make_vote([members[0], Run.open(members[1].path)], VoteOptions(tmp_path / "other"))
    with pytest.raises(UserError, match=said):
        _ = Run.open(made.path).voters


def test_a_folder_with_something_else_is_kept_and_the_same_vote_goes_on(
    runs: list[Run], tmp_path: Path
) -> None:
    made = make_vote(runs, VoteOptions(tmp_path / "vote"))
    before = made.predictions()
    assert make_vote(runs, VoteOptions(tmp_path / "vote")).predictions().equals(before)
    assert make_vote(runs[::-1], VoteOptions(tmp_path / "vote")).predictions().equals(before)
    with pytest.raises(UserError, match="holds something else"):
        make_vote(runs[:2], VoteOptions(tmp_path / "vote"))
    with pytest.raises(UserError, match="holds something else"):
        make_vote(runs, VoteOptions(runs[0].path))
    with pytest.raises(UserError, match="is a vote itself"):
        make_vote([made, runs[0]], VoteOptions(tmp_path / "nested"))
    with pytest.raises(UserError, match="has no model of its own"):
        made.model()


@pytest.mark.parametrize("reached", ["config.yaml", "store.json", "predictions.parquet", "vote.json"])
def test_an_interrupted_vote_is_finished_by_the_same_command(
    reached: str, runs: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, replaced = tmp_path / "vote", Path.replace

    def killed(aside: Path, path: Path) -> Path:
        if path.name == reached:
            shutil.copy(aside, aside.with_name(f".{reached}.0badc0de{files.SUFFIX}"))
            raise KeyboardInterrupt
        return replaced(aside, path)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            make_vote(runs, VoteOptions(out))
    if (out / "config.yaml").is_file():
        with pytest.raises(UserError, match="the command that made the vote"):
            Run.open(out).predictions()
    np.testing.assert_array_equal(
        probabilities(make_vote(runs, VoteOptions(out))),
        probabilities(make_vote(runs, VoteOptions(tmp_path / "whole"))),
    )
    assert not list(out.glob(".*"))


def test_a_folder_that_another_vote_began_is_kept(
    runs: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(origin, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            make_vote(runs, VoteOptions(tmp_path / "vote"))
    with pytest.raises(UserError, match="holds something else"):
        make_vote(runs[:2], VoteOptions(tmp_path / "vote"))


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "change",
    [
        {"voters": []},
        {"rule": "oracle"},
        {"voters": [{"path": "..", "experiment": "a", "seed": 1, "weights": "0", "thresholds": [0.5]}] * 2},
        {"voters": [{"path": ".", "experiment": "a", "seed": 1, "weights": "0", "thresholds": [0.5]}] * 2},
    ],
)
def test_a_damaged_vote_is_told_in_a_line(
    change: dict[str, object], runs: list[Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = make_vote(runs, VoteOptions(tmp_path / "vote")).path
    content = json.loads((out / vote.FILE).read_text())
    (out / vote.FILE).write_text(json.dumps({**content, **change}))
    for verb in (["evaluate", str(out)], ["explain", str(out), "case-00", "--out", str(tmp_path / "maps")]):
        assert main([*verb, "--device", "cpu"]) == 2
        error = capsys.readouterr().err.strip().splitlines()
        assert len(error) == 1
        assert str(out) in error[0] or str(tmp_path) in error[0]


def test_what_needs_a_single_model_refuses_a_vote(
    runs: list[Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(make_vote(runs, VoteOptions(tmp_path / "vote")).path)
    for verb in (["evaluate", out, "--reject"], ["audit", out, "--out", str(tmp_path / "audit")]):
        assert main([*verb, "--device", "cpu"]) == 2
        assert "has no model of its own" in " ".join(capsys.readouterr().err.split())
