"""Batches that hold cases with gaze, however few there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from radgaze.errors import Stopped, UserError
from radgaze.evaluation import EvaluationOptions, evaluate
from radgaze.reporting.run_page import report
from radgaze.runs.config import Config
from radgaze.store.batch import Batch
from radgaze.store.dataset import GazeDataset
from radgaze.store.store import Store
from radgaze.training.loading import StoreData
from radgaze.training.module import GazeGuided
from radgaze.training.sampling import GazeShuffle, SeededShuffle
from radgaze.training.train import train
from tests.store.cohorts import make_cohort
from tests.stores import prepare
from tests.training.conftest import Configure

Place = TypeVar("Place", covariant=True)


class Shuffle(Protocol[Place]):
    """A sampler that knows its length."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Place]: ...


class Cases(GazeDataset):
    """As many cases as there are, of which `seen` have gaze: every fifth, until there are enough."""

    def __init__(self, count: int, seen: int = 0) -> None:
        order = [*range(0, count, 5), *(k for k in range(count) if k % 5)]
        self.attended = np.isin(np.arange(count), order[:seen])
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.attended)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch


def batches_of(shuffle: Shuffle[Place], size: int) -> list[list[Place]]:
    order = list(shuffle)
    assert len(order) == len(shuffle)
    return [order[k : k + size] for k in range(0, len(order), size)]


@pytest.mark.parametrize(("fraction", "with_gaze"), [(0.25, 4), (0.1, 2), (0.01, 1), (0.99, 15), (0.5, 8)])
def test_each_batch_has_its_share_and_each_case_without_gaze_comes_once(
    fraction: float, with_gaze: int
) -> None:
    per_epoch = 3 * (16 - with_gaze)
    cases = Cases(per_epoch + 12, 12)
    shuffle = GazeShuffle(cases, fraction, 0, 16)
    batches = batches_of(shuffle, 16)
    assert [len(batch) for batch in batches] == [16] * 3
    assert [sum(cases.attended[i] for i, _ in batch) for batch in batches] == [with_gaze] * 3
    turns = Counter(i for batch in batches for i, _ in batch)
    assert all(turns[i] == 1 for i in np.flatnonzero(~cases.attended).tolist())
    of_gaze = [turns[i] for i in np.flatnonzero(cases.attended).tolist()]
    assert sum(of_gaze) == 3 * with_gaze
    assert max(of_gaze) - min(of_gaze) <= 1
    assert shuffle.turns == pytest.approx(np.mean(of_gaze))
    # Each of a case's turns is another one, for the augmentation.
    assert len({place for batch in batches for place in batch}) == 16 * 3


def test_what_fills_no_batch_is_left_out_and_is_another_in_the_next_epoch() -> None:
    cases = Cases(110, 10)
    shuffle = GazeShuffle(cases, 0.25, 0, 16)  # 12 of 100 to a batch: 4 are left
    left = []
    for epoch in range(3):
        shuffle.set_epoch(epoch)
        assert cases.epoch == epoch
        order = [i for i, _ in shuffle]
        assert len(order) == 8 * 16
        unseen = Counter(i for i in order if not cases.attended[i])
        assert set(unseen.values()) == {1}
        left.append(frozenset(set(np.flatnonzero(~cases.attended)) - unseen.keys()))
        assert len(left[-1]) == 4
    assert len(set(left)) == 3


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.4])
@pytest.mark.parametrize("processes", [2, 3])
def test_processes_share_the_batches_that_one_would_have(fraction: float, processes: int) -> None:
    cases = Cases(150, 9)
    one = GazeShuffle(cases, fraction, 7, 5 * processes)
    parts = [GazeShuffle(cases, fraction, 7, 5, rank, processes) for rank in range(processes)]
    whole = batches_of(one, 5 * processes)
    dealt = [batches_of(part, 5) for part in parts]
    for k, batch in enumerate(whole):
        own = [of_process[k] for of_process in dealt]
        assert sorted(place for part in own for place in part) == sorted(batch)
        shares = [sum(cases.attended[i] for i, _ in part) for part in own]
        assert max(shares) - min(shares) <= 1


def test_a_set_smaller_than_a_batch_is_one_batch() -> None:
    shuffle = GazeShuffle(Cases(14, 4), 0.25, 0, 64)
    (batch,) = batches_of(shuffle, 64)
    assert len(batch) == 13  # 10 without, 3 with
    parts = [list(GazeShuffle(Cases(14, 4), 0.25, 0, 32, rank, 2)) for rank in range(2)]
    assert [len(part) for part in parts] == [6, 6]


@pytest.mark.parametrize(
    ("cases", "fraction", "batch_size", "message"),
    [
        (Cases(20, 5), 0.0, 8, "above 0 and below 1"),
        (Cases(20, 5), 1.0, 8, "above 0 and below 1"),
        (Cases(20, 20), 0.5, 8, "all of the training cases have gaze"),
        (Cases(20, 0), 0.5, 8, "none of the training cases have gaze"),
        (Cases(20, 5), 0.5, 1, "batches of two cases or more"),
    ],
)
def test_a_fraction_that_cannot_be_is_told(
    cases: Cases, fraction: float, batch_size: int, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        GazeShuffle(cases, fraction, 0, batch_size)


@pytest.fixture(scope="module")
def partial(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """40 cases of which 4 have gaze: 2 to train on, one to validate, one to test."""
    folder = tmp_path_factory.mktemp("partial")
    cohort = make_cohort(folder / "images", cases=40, shape=(64, 64))
    own = cohort.cases.join(cohort.readings, on="case_id", how="semi", maintain_order="left")
    kept = [
        *own.filter(split="train")["case_id"][:2],
        *(own.filter(split=s)["case_id"][0] for s in ("validate", "test")),
    ]
    readings = cohort.readings.filter(pl.col("case_id").is_in(kept))
    cohort = replace(
        cohort,
        readings=readings,
        fixations=cohort.fixations.join(readings.lazy(), on="reading_id", how="semi"),
        rejections=cohort.rejections.clear(),
    )
    return prepare(cohort, folder / "store", size=64, workers=1)


def partly(config: Configure, partial: Store, **overrides: object) -> Config:
    wanted = config("set3_guided", optimisation={"gaze_fraction": 0.25}, **overrides)
    wanted.data = str(partial.path)
    return wanted


@pytest.mark.slow
def test_a_run_with_gaze_for_a_tenth_trains_evaluates_and_reports(
    config: Configure, partial: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(partly(config, partial), tmp_path / "run")
    said = " ".join(capsys.readouterr().err.split())
    assert "20 training cases, 2 of them with gaze" in said
    assert "those with gaze 3.0 times on average" in said
    history = run.history()
    assert (history["train/heatmap_gaze"] > 0).all()
    metrics = evaluate(run, EvaluationOptions(resamples=20))
    assert metrics.test.agreement_cases.compared == 1
    assert metrics.test.agreement_cases.without_gaze == 9
    assert "9 without gaze left out" in report(run).read_text()
    plain = partly(config, partial)
    plain.optimisation.gaze_fraction = None
    assert (train(plain, tmp_path / "plain").history()["train/loss"] != history["train/loss"]).all()


@pytest.mark.slow
def test_a_run_stopped_midway_resumes_to_the_same_bytes(
    config: Configure, partial: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = partly(config, partial, input={"augment": True})
    whole = train(wanted, tmp_path / "whole")
    step, calls = GazeGuided.training_step, [0]

    def interrupted(self: GazeGuided, batch: Batch, index: int) -> Tensor:
        calls[0] += 1
        if calls[0] == 5:  # in the second epoch of three steps each
            raise KeyboardInterrupt
        return step(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(GazeGuided, "training_step", interrupted)
        with pytest.raises(Stopped, match="resume="):
            train(wanted, tmp_path / "stopped")
    resumed = train(wanted, tmp_path / "stopped", resume=True)
    assert resumed.predictions().equals(whole.predictions())


@pytest.mark.parametrize("workers", [pytest.param(2, marks=pytest.mark.slow)])
def test_workers_load_the_same_batches(config: Configure, partial: Store, workers: int) -> None:
    def loaded(count: int) -> list[Batch]:
        data = StoreData(
            partial, partly(config, partial, input={"augment": True}, trainer={"workers": count})
        )
        loader = data.train_dataloader()
        assert isinstance(loader.sampler, GazeShuffle)
        loader.sampler.set_epoch(3)
        return list(loader)

    for alone, shared in zip(loaded(0), loaded(workers), strict=True):
        assert alone.case_id == shared.case_id
        assert torch.equal(alone.image, shared.image)
        assert int(alone.has_gaze.sum()) == 2


def test_a_case_that_returns_in_an_epoch_is_augmented_anew(config: Configure, partial: Store) -> None:
    cases = StoreData(partial, partly(config, partial, input={"augment": True})).train_cases
    first, second = cases[0, 0], cases[0, 1]
    assert torch.equal(cases[0].image, first.image)
    assert not torch.equal(first.image, second.image)
    assert torch.equal(second.image, cases[0, 1].image)


@pytest.mark.parametrize(("count", "last"), [(35, 3), (34, 2), (33, 0), (32, 0), (5, 0), (63, 15)])
def test_what_is_left_over_makes_a_last_batch_where_that_is_asked_for(count: int, last: int) -> None:
    shuffle = SeededShuffle(Cases(count), 0, 16, keep_last=True)
    batches = batches_of(shuffle, 16)
    whole = batches_of(SeededShuffle(Cases(count), 0, 16), 16)
    assert batches[: len(whole)] == whole
    assert [len(batch) for batch in batches[len(whole) :]] == ([last] if last else [])
    assert len({case for batch in batches for case in batch}) == sum(map(len, batches))


@pytest.mark.parametrize("processes", [2, 3])
@pytest.mark.parametrize("count", range(36, 45))
def test_processes_share_the_last_batch_and_have_as_many(count: int, processes: int) -> None:
    one = SeededShuffle(Cases(count), 3, 4 * processes, keep_last=True)
    own = [SeededShuffle(Cases(count), 3, 4, rank, processes, keep_last=True) for rank in range(processes)]
    dealt = [batches_of(shuffle, 4) for shuffle in own]
    assert len({len(batches) for batches in dealt}) == 1
    assert all(len(batch) >= 2 for batches in dealt for batch in batches)
    together = [[case for part in parts for case in part] for parts in zip(*dealt, strict=True)]
    # A last batch that is too small for all of them is none of one process either, but for that it has two.
    whole = batches_of(one, 4 * processes)
    assert together == whole[: len(together)]
    assert all(len(batch) < 2 * processes for batch in whole[len(together) :])


def test_a_run_trains_on_its_last_batch_and_counts_it_as_its_cases(
    store: Store, config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not all training cases fill batches of 8; the epoch's loss is the mean over cases, not over batches."""
    sizes: list[int] = []
    losses: list[float] = []
    step = GazeGuided.training_step

    def watched(self: GazeGuided, batch: Batch, number: int) -> Tensor:
        loss = step(self, batch, number)
        sizes.append(len(batch.case_id))
        losses.append(float(loss))
        return loss

    monkeypatch.setattr(GazeGuided, "training_step", watched)
    cases = int((store.cases["split"] == "train").sum())
    wanted: dict[str, object] = {
        "optimisation": {"last_batch": "keep", "batch_size": 8},
        "trainer": {"max_epochs": 1},
    }
    run = train(config("baseline", **wanted), tmp_path / "run")
    assert cases % 8 >= 2
    assert sizes == [8] * (cases // 8) + [cases % 8]
    told = pl.read_csv(run.path / "history.csv")["train/loss"][0]
    assert told == pytest.approx(np.average(losses, weights=sizes), rel=1e-5)
    assert told != pytest.approx(np.mean(losses), rel=1e-5)


def test_without_a_fraction_all_cases_are_shuffled_alike(config: Configure, partial: Store) -> None:
    shuffle = StoreData(partial, replace(config(), data=str(partial.path))).train_dataloader().sampler
    assert isinstance(shuffle, SeededShuffle)
