"""Another explanation: masks of what a run used, which add up over runs, and a run that must do without."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray

from radgaze import experiments
from radgaze.cli import main
from radgaze.errors import UserError
from radgaze.objectives.attribution_priors import inside_squared
from radgaze.pseudo.making import pseudo
from radgaze.pseudo.options import PseudoOptions
from radgaze.runs import settings
from radgaze.runs.data import batches, dataset
from radgaze.runs.run import Run
from radgaze.store.boxes import finding_regions
from radgaze.store.marks import EXPLAINED_BEFORE
from radgaze.store.store import Store
from radgaze.store.verification import verify
from radgaze.training.module import GazeGuided
from radgaze.training.train import train
from tests.pseudo.toys import SIDE, drawn, two_rules
from tests.training.conftest import TINY


def gradient_of_log_p(run: Run, images: torch.Tensor) -> NDArray[np.floating]:
    """|∂ log max_k p_k / ∂x| (B, S, S), by autograd alone."""
    images = images.clone().requires_grad_()
    scores = run.model()(images).logits.log_softmax(1).amax(1).sum()
    (gradient,) = torch.autograd.grad(scores, images)
    return gradient[:, 0].abs().numpy()


def of_cases(store: Store) -> dict[str, list[NDArray[np.bool_]]]:
    """The masks of what earlier runs used, by case."""
    found: dict[str, list[NDArray[np.bool_]]] = {}
    table = store.regions.table.with_row_index("row").filter(label=EXPLAINED_BEFORE)
    for row, case_id in table.select("row", "case_id").iter_rows():
        found.setdefault(case_id, []).append(store.regions[row])
    return found


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A classifier of one epoch on a toy whose store has the size of the network's input."""
    folder = tmp_path_factory.mktemp("toy")
    return learned("no_decoder", two_rules(folder / "data", cases=36), folder / "run", epochs=1)


def learned(experiment: str, store: Store, out: Path, *, epochs: int) -> Run:
    own = experiments.merge(
        TINY, {"trainer": {"max_epochs": epochs}, "optimisation": {"batch_size": 16, "learning_rate": 3e-3}}
    )
    config = settings.resolve(experiment, data=str(store.path), **own)  # type: ignore[arg-type]
    return train(config, out)


def test_a_mask_is_where_the_gradient_exceeds_a_share_of_its_maximum(first: Run, tmp_path: Path) -> None:
    options = PseudoOptions(tmp_path / "out", marking="explained", device="cpu", batch_size=5)
    made = pseudo(first, options)
    assert verify(made) == []
    masks = of_cases(made)
    train_cases = first.store.cases.filter(split="train")["case_id"].to_list()
    assert sorted(masks) == sorted(train_cases)
    (batch,) = first.batches("train", 99)
    for case_id, gradient in zip(batch.case_id, gradient_of_log_p(first, batch.image), strict=True):
        (mask,) = masks[case_id]
        assert (mask != (gradient >= 0.67 * gradient.max())).sum() <= 1, case_id  # rounding at the threshold
        assert mask.any()
    assert made.manifest["pseudo"]["marking"] == "explained"
    assert made.manifest["pseudo"]["map"] == "backprop"
    assert made.manifest["pseudo"]["threshold"] == 0.67


def test_masks_of_runs_add_up_and_the_next_run_is_punished_in_any_of_them(first: Run, tmp_path: Path) -> None:
    once = pseudo(first, PseudoOptions(tmp_path / "once", marking="explained", device="cpu"))
    second = learned("rrr_another", once, tmp_path / "second", epochs=1)
    assert second.history()["train/explained_before"].is_finite().all()
    twice = pseudo(second, PseudoOptions(tmp_path / "twice", marking="explained", device="cpu"))
    masks, before = of_cases(twice), of_cases(once)
    assert {len(each) for each in masks.values()} == {2}
    config = settings.resolve("rrr_another", data=str(twice.path), **TINY)
    cases = dataset(twice, config, "train", parts=True)
    batch = next(batches(cases, 99))
    A, has = batch.part_maps("explained")
    assert bool(has.all())
    for case_id, marked in zip(batch.case_id, A[:, 0].numpy(), strict=True):
        np.testing.assert_array_equal(marked > 0.25, masks[case_id][0] | masks[case_id][1])
        assert any(np.array_equal(before[case_id][0], each) for each in masks[case_id])
    # The term is that of eq. 1, with the gradient of Σ log p by autograd alone.
    torch.manual_seed(0)
    config = replace(config, objective=replace(config.objective, classification="softmax"))
    module = GazeGuided(second.model().eval(), config, 2).eval()
    images = batch.image.clone().requires_grad_()
    scores = module.model(images).logits.log_softmax(1).sum()
    (gradient,) = torch.autograd.grad(scores, images)
    found = module.terms(batch)["explained_before"]
    torch.testing.assert_close(found.detach(), inside_squared(gradient, (A > 0.25).float()).mean())


def test_gaze_and_marks_stay_and_test_cases_have_no_mask(run: Run, tmp_path: Path) -> None:
    made = pseudo(run, PseudoOptions(tmp_path / "out", marking="explained", device="cpu"))
    assert made.readings.equals(run.store.readings)
    assert made.boxes.equals(run.store.boxes)
    marked = made.cases.filter(pl.col("case_id").is_in(list(of_cases(made))))
    assert set(marked["split"]) == {"train"}
    before = run.store.regions.table.filter(pl.col("area") > 0).height
    assert made.regions.table.filter(pl.col("label") != EXPLAINED_BEFORE).height == before
    # A mask of what a run used is no finding: it stands in for no gaze, and maps are not measured against it.
    config = settings.resolve("baseline", data=str(made.path), gaze={"boxes": "attention"}, **TINY)
    marked_before = dataset(
        run.store, config, "train"
    ).with_boxes_for_gaze  # its store has boxes named "heart"
    assert dataset(made, config, "train").with_boxes_for_gaze == marked_before
    assert len(finding_regions(made, made.cases)[0]) == len(finding_regions(run.store, run.store.cases)[0])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--methods", "mask"], "--methods must be a heatmap generator with --marking explained, got mask"),
        (["--refine", "irnet"], "--refine cannot be used with --marking explained"),
        (["--only-positive"], "--only-positive cannot be used with --marking explained"),
    ],
)
def test_what_makes_no_sense_is_told_in_a_line(
    arguments: list[str], said: str, first: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["pseudo", str(first.path), "--marking", "explained", *arguments, "--out", str(tmp_path / "out")]
    assert main(words) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_store_without_masks_of_an_earlier_run_is_refused_with_the_command(
    first: Run, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"holds no masks of what an earlier run used.*marking='explained'"):
        learned("rrr_another", first.store, tmp_path / "run", epochs=1)


def followed(run: Run, rule: str) -> float:
    """Share of images, whose rules disagree at random, in which the prediction is what a rule says."""
    draw = np.random.default_rng(5)
    says = {"first": draw.integers(0, 2, 400), "second": draw.integers(0, 2, 400)}
    images = torch.from_numpy(drawn(says["first"], says["second"], seed=98)).float()[:, None]
    assert images.shape[-1] == SIDE
    with torch.no_grad():
        predicted = run.model()(images).logits.argmax(1).numpy()
    return float((predicted == says[rule]).mean())


@pytest.mark.slow
def test_the_second_run_finds_the_other_rule(tmp_path: Path) -> None:
    """Each of two squares tells the class alone; the one that a run uses shows where they disagree."""
    store = two_rules(tmp_path / "data")
    run = learned("no_decoder", store, tmp_path / "run0", epochs=8)
    assert followed(run, "first") > 0.95
    assert followed(run, "second") < 0.6
    made = pseudo(run, PseudoOptions(tmp_path / "store1", marking="explained", device="cpu"))
    another = learned("rrr_another", made, tmp_path / "run1", epochs=8)
    test = another.predictions().filter(split="test")
    accuracy = ((test["probability_bright"] > 0.5) == (test["label_bright"] == 1)).mean()
    assert accuracy is not None
    assert float(str(accuracy)) > 0.9
    assert followed(another, "second") > 0.8
    assert followed(another, "first") < 0.7
