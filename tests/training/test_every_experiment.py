"""Every experiment on several classes at once and partial gaze: in two processes as in one, and in bf16."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from radgaze import experiments
from radgaze.runs.run import Run
from radgaze.store.marks import EXPLAINED_BEFORE
from radgaze.store.store import Store
from tests.store.cohorts import CLASSES, make_cohort
from tests.stores import prepare
from tests.training.test_distributed import SPLIT, TOLERANCE, TWO, finished

ONE_DEVICE = ("temporal",)
"""Models of frames train on one device; several are refused (test_distributed)."""

NAMES = [each.name for each in experiments.catalogue()]

FURTHER = {
    # On the 2 × 2 map of 64 pixels the highest fifth is one of several equal values, up to rounding.
    "adversarial_erasing": ("--input.size", "160"),
    # Drawn by each process for itself, like drop-out, which `command` switches off.
    "three_stage_classifier": ("--model.drop_block", "0"),
}
"""Settings without which processes need not agree, by experiment."""

COARSE = {"train/consistency": 0.5}
"""Relative tolerance of losses in bfloat16, whose numbers are 0.4% apart; the divergence of nearly equal
predictions is the small difference of large numbers."""


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """51 cases of none to three classes; three of four have gaze, two of three lungs and boxes of a class."""
    folder = tmp_path_factory.mktemp("mixed")
    cohort = make_cohort(folder / "images", cases=51, shape=(64, 64))
    draw = np.random.default_rng(3)
    names = [f"label_{name}" for name in CLASSES]
    labels = draw.integers(0, 2, (cohort.cases.height, len(names)))
    labels[:2] = [[1], [0]]  # all classes, and none
    cases = cohort.cases.with_columns(pl.Series(name, labels[:, k], pl.Int8) for k, name in enumerate(names))
    boxes, regions = cohort.boxes.to_dicts(), cohort.regions.to_dicts()
    for i, case_id in enumerate(cases["case_id"]):
        if i % 3:
            place = {"x1": 8.0, "y1": 16.0, "x2": 24.0, "y2": 40.0}
            boxes.append({"case_id": case_id, "label": CLASSES[i % 3], **place})
            file = folder / f"explained-{i}.png"
            Image.fromarray(draw.random((32, 32)) > 0.7).save(file)
            regions.append({"case_id": case_id, "label": EXPLAINED_BEFORE, "file": str(file)})
    marked = replace(
        cohort,
        cases=cases,
        exclusive=False,
        boxes=pl.DataFrame(boxes),
        regions=pl.DataFrame(regions, schema=cohort.regions.schema),
    )
    return prepare(marked, folder / "store", size=64, workers=1)


def losses(run: Run) -> pl.DataFrame:
    return run.history().drop("seconds")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", NAMES)
def test_it_trains_in_two_processes_as_in_one_and_in_half_precision(
    name: str, mixed: Store, tmp_path: Path
) -> None:
    assert not mixed.exclusive
    eight = ("--optimisation.batch_size", "8")
    four_each = eight if name in ONE_DEVICE else ("--optimisation.batch_size", "4", *TWO)
    shared: tuple[str, ...] = (*SPLIT, "--optimisation.last_batch", "drop", "--evaluate", "false")
    shared += ("--trainer.max_epochs", "1", *FURTHER.get(name, ()))
    if "--input.size" not in shared:
        shared += ("--input.size", "64")
    one, _ = finished(mixed, tmp_path / "one", *shared, *eight, experiment=name)
    kind = one.config.objective.classification
    assert kind in ("auto", "sigmoid")
    expected = losses(one)
    counted = [column for column in expected.columns if expected[column].dtype.is_float()]
    assert "train/loss" in counted
    assert all(expected[column].is_finite().all() for column in counted)

    if name not in ONE_DEVICE:
        two, _ = finished(mixed, tmp_path / "two", *shared, *four_each, experiment=name)
        found = losses(two)
        assert found.columns == expected.columns
        for column in counted:
            wanted = pytest.approx(expected[column].to_list(), abs=TOLERANCE, rel=TOLERANCE)
            assert found[column].to_list() == wanted, column

    half = ("--trainer.precision", "bf16-mixed")
    coarse, _ = finished(mixed, tmp_path / "half", *shared, *four_each, *half, experiment=name)
    found = losses(coarse)
    assert (found["learning_rate"] == expected["learning_rate"]).all()
    for column in counted:
        tolerance = COARSE.get(column, 0.06)
        assert found[column].is_finite().all(), column
        if not column.endswith("/auc"):  # of a dozen cases, that a change of rank moves by 0.1
            assert found[column].to_list() == pytest.approx(expected[column].to_list(), rel=tolerance), column
