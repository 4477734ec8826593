"""Several readers of a case: each one's gaze against that of all the others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor, nn

from radgaze.models.output import Output
from radgaze.runs import settings
from radgaze.runs.prediction import predict
from radgaze.runs.run import Run
from radgaze.store.batch import Batch
from radgaze.store.dataset import GazeDataset
from tests.store.cohorts import make_cohort
from tests.stores import prepare

# case, reader, and where all of the reading's fixations lie
READ = (
    ("case-00", "a", 10.0),
    ("case-00", "b", 20.0),
    ("case-01", "a", 30.0),
    ("case-02", None, 12.0),
    ("case-02", None, 22.0),
    ("case-02", "b", 32.0),
    ("case-03", "a", 16.0),
    ("case-03", "b", None),  # all of which lie off the image
    ("case-04", "a", 14.0),
    ("case-04", "a", 24.0),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("readers")
    cohort = make_cohort(folder / "source", 5, shape=(64, 64))
    cohort = replace(
        cohort,
        cases=cohort.cases.with_columns(split=pl.lit("test")),
        readings=pl.DataFrame(
            [
                {"reading_id": f"r{k}", "case_id": case, "reader": reader, "recorded": 2, "duration": 1.0}
                for k, (case, reader, _) in enumerate(READ)
            ],
            schema=cohort.readings.schema,
        ),
        fixations=pl.LazyFrame(
            [
                {"reading_id": f"r{k}", "index": i, "x": place, "y": 32.0, "onset": 0.3 * i, "duration": 0.2}
                for k, (_, _, place) in enumerate(READ)
                if place is not None
                for i in range(2)
            ],
            schema=cohort.fixations.collect_schema(),
        ),
        rejections=cohort.rejections.clear(),
    )
    store = prepare(cohort, folder / "store", size=64, workers=1)
    config = settings.resolve("baseline", data=str(store.path), input={"size": 64}, model={"weights": "none"})
    return Run(Path(folder / "run"), config)


def test_each_reader_of_a_case_stands_once_against_all_its_others(run: Run) -> None:
    ids = ["case-02", "case-01", "case-00", "case-03", "case-04"]
    found = {
        (case_id, *map(_places, (one, rest), (k, k)))
        for one, rest in run.readers("test", ids, batch_size=1)
        for k, case_id in enumerate(one.case_id)
        if one.case_id == rest.case_id
    }
    assert found == {
        ("case-00", (10.0,), (20.0,)),
        ("case-00", (20.0,), (10.0,)),
        ("case-02", (12.0,), (22.0, 32.0)),
        ("case-02", (22.0,), (12.0, 32.0)),
        ("case-02", (32.0,), (12.0, 22.0)),
    }


def test_the_cases_come_in_the_order_asked_for(run: Run) -> None:
    one, rest = next(run.readers("test", ["case-02", "case-00"]))
    assert one.case_id == rest.case_id == ["case-02", "case-00"]


def test_where_every_case_has_one_reader_there_is_nothing_to_compare(run: Run) -> None:
    assert list(run.readers("test", ["case-01", "case-03", "case-04"])) == []


def test_only_the_images_of_the_cases_asked_for_are_resized(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    resized = counted(monkeypatch)
    pairs = list(run.readers("test", ["case-00"]))
    assert len(pairs) == 2
    assert len(resized) == 4


def test_a_prediction_resizes_the_images_of_a_batch_when_it_comes(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    resized, seen = counted(monkeypatch), list[int]()

    class Counting(nn.Module):
        def forward(self, images: Tensor) -> Output:
            seen.append(len(resized))
            return Output(torch.zeros(len(images), 3), None)

    config = replace(run.config, optimisation=replace(run.config.optimisation, batch_size=2))
    predict(Counting(), run.store, config, ["test"])
    assert seen == [2, 4, 5]


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows by each image that a data set resizes."""
    resized, resize = list[int](), GazeDataset._resized

    def counting(cases: GazeDataset, i: int) -> np.ndarray:
        resized.append(i)
        return resize(cases, i)

    monkeypatch.setattr(GazeDataset, "_resized", counting)
    return resized


def _places(batch: Batch, k: int) -> tuple[float, ...]:
    there = batch.weights[k] > 0
    return tuple(np.unique(batch.points[k, there, 0].numpy()).tolist())
