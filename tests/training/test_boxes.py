"""Boxes as the target of an edge: what they are drawn as, which cases count, and the experiment conaf."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch

from radgaze.cli import main
from radgaze.errors import UserError
from radgaze.objectives.config import ObjectiveConfig, TermConfig
from radgaze.objectives.distances import kl
from radgaze.objectives.step import MissingError
from radgaze.objectives.terms import further
from radgaze.objectives.triangle import Maps, Shares, objective, terms
from radgaze.options import FieldError
from radgaze.runs.data import batches, dataset
from radgaze.store.store import Store
from radgaze.training.train import train
from tests.store.cohorts import CLASSES, make_cohort
from tests.stores import prepare
from tests.training.conftest import Configure

BOX = {"x1": 8.0, "y1": 16.0, "x2": 24.0, "y2": 40.0}


@pytest.fixture(scope="module")
def boxed(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """24 cases, most with gaze; every second has a box of its class, and all have one of another class."""
    folder = tmp_path_factory.mktemp("boxed")
    cohort = make_cohort(folder / "images", cases=24, shape=(64, 64))
    rows = []
    for i, case in enumerate(cohort.cases["case_id"]):
        rows.append(
            {"case_id": case, "label": CLASSES[(i + 1) % 3], **dict.fromkeys(BOX, 0.0), "x2": 9.0, "y2": 9.0}
        )
        if i % 2 == 0:
            rows.append({"case_id": case, "label": CLASSES[i % 3], **BOX})
    return prepare(replace(cohort, boxes=pl.DataFrame(rows)), folder / "store", size=64, workers=1)


def edge(**options: str) -> ObjectiveConfig:
    named = {"first": "mask", "second": "boxes", "distance": "kl", **options}
    return ObjectiveConfig(
        gamma=0.0, classification="softmax", terms={"own": TermConfig(kind="edge", options=dict(named))}
    )


def test_a_map_of_boxes_is_bright_in_those_of_the_class_alone(boxed: Store, config: Configure) -> None:
    wanted = config("conaf", data=str(boxed.path), input={"size": 64}, gaze={"sigma": 0.02})
    batch = next(batches(dataset(boxed, wanted, "train"), 99))
    maps, present = batch.box_maps(batch.label.argmax(1))
    even = torch.tensor([int(case.removeprefix("case-")) % 2 == 0 for case in batch.case_id])
    assert torch.equal(present, even)
    assert not maps[~present].any()
    inside = maps[present][:, 0, 20:36, 12:20]
    outside = maps[present][:, 0, 50:, 40:]
    assert inside.min() > 0.9
    assert outside.max() < 0.01
    assert maps[present][:, 0, :6, :6].max() < 0.01  # the box of another class
    other, theirs = batch.box_maps((batch.label.argmax(1) + 1) % 3)
    assert theirs.all()
    assert other[:, 0, 3:6, 3:6].min() > 0.5


def test_the_loss_is_the_distance_to_boxes_over_the_cases_that_have_any() -> None:
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 3, generator=draw)
    mask = torch.randn(4, 1, 8, 8, generator=draw, requires_grad=True)
    boxes, gaze = (torch.rand(4, 1, 8, 8, generator=draw) for _ in range(2))
    has_boxes = torch.tensor([True, False, True, False])
    labels = torch.eye(3)[[0, 1, 2, 0]]

    def maps(gaze: torch.Tensor, has_gaze: bool) -> Maps:
        return Maps(
            gaze, torch.full((4,), has_gaze), torch.ones(4, 2), mask, boxes=boxes, has_boxes=has_boxes
        )

    loss = objective(logits, labels, maps(gaze, True), edge())["loss"]
    torch.testing.assert_close(loss, kl(mask.sigmoid(), boxes)[has_boxes].mean())
    assert torch.equal(loss, objective(logits, labels, maps(1 - gaze, False), edge())["loss"])
    torch.autograd.backward(loss)
    assert mask.grad is not None
    assert torch.equal(mask.grad.abs().amax((1, 2, 3)) > 0, has_boxes)
    shared = terms(logits, labels, maps(gaze, True), edge(), Shares(9.0, 7.0, 0.5))["own"]
    torch.testing.assert_close(shared, 0.5 * loss)


def test_boxes_that_are_missing_and_ends_that_do_not_learn_are_refused() -> None:
    maps = Maps(
        torch.zeros(1, 1, 4, 4), torch.ones(1, dtype=torch.bool), torch.ones(1, 2), torch.zeros(1, 1, 4, 4)
    )
    with pytest.raises(MissingError, match="the term own: the boxes are missing"):
        objective(torch.zeros(1, 3), torch.eye(3)[:1], maps, edge())
    with pytest.raises(FieldError, match="a map that learns, not boxes"):
        assert further(edge(first="boxes", second="gaze"))
    with pytest.raises(FieldError, match="both gaze and boxes"):
        assert further(edge(within="gaze", distance="overlap"))


@pytest.mark.slow
def test_conaf_learns_boxes_and_no_gaze_and_is_evaluated(
    boxed: Store, config: Configure, tmp_path: Path
) -> None:
    own: dict[str, object] = {"data": str(boxed.path), "input": {"size": 64}}
    run = train(config("conaf", **own), tmp_path / "run")
    assert run.history()["train/localisation"].is_finite().all()
    assert main(["evaluate", str(run.path), "--generator", "pylon", "--resamples", "20"]) == 0
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert "its mask was compared with the map of boxes" in page


def test_a_store_without_boxes_of_findings_is_refused(config: Configure, tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "images", cases=12, shape=(64, 64))  # with masks of lungs
    store = prepare(replace(cohort, boxes=cohort.boxes.clear()), tmp_path / "store", size=32, workers=1)
    with pytest.raises(
        UserError, match="no boxes or masks of findings, and the term localisation learns from"
    ):
        train(config("conaf", data=str(store.path)), tmp_path / "run")
