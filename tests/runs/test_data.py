"""Images are kept in memory only where they fit, and loaded the same either way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch

from radgaze.runs import data
from radgaze.runs.data import batches, dataset
from radgaze.runs.run import Run
from radgaze.store.store import Store
from tests.store.cohorts import make_cohort
from tests.stores import prepare
from tests.training.conftest import Configure


@pytest.mark.parametrize(("workers", "devices"), [(0, 1), (3, 1), (0, 2)])
def test_images_are_kept_where_all_copies_take_less_than_a_quarter_of_the_free_memory(
    workers: int, devices: int, store: Store, config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = config(trainer={"workers": workers, "devices": devices})
    needed = int((store.cases["split"] == "train").sum()) * 32**2 * devices * (1 + workers)
    for free, kept in ((4 * needed, False), (4 * needed + 4, True)):
        monkeypatch.setattr(data, "available_memory", lambda free=free: free)
        assert (dataset(store, wanted, "train")._cache is not None) == kept


def test_what_is_asked_for_is_done_whatever_is_free(
    store: Store, config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "available_memory", lambda: 0)
    found = []
    for cache in (True, False):
        cases = dataset(store, config(input={"cache": cache}), "train")
        assert (cases._cache is not None) == cache
        found.append(torch.cat([batch.image for batch in batches(cases, 8)]))
    assert torch.equal(*found)


@pytest.mark.parametrize("split", ["train", "test"])
def test_cases_with_evidence_are_those_whose_samples_have_gaze_boxes_or_regions(
    split: str, config: Configure, tmp_path: Path
) -> None:
    cohort = make_cohort(tmp_path / "images", cases=36, shape=(64, 64))
    some = cohort.readings.filter(pl.col("case_id").str.tail(1).is_in(["3", "6"]))
    cohort = replace(
        cohort,
        readings=some,
        fixations=cohort.fixations.join(some.lazy(), on="reading_id", how="semi"),
        boxes=cohort.boxes.filter(pl.col("case_id").str.ends_with("1")),
    )
    store = prepare(cohort, tmp_path / "store", size=64, workers=1)
    run = Run(Path(), config(data=str(store.path)))
    expected = [
        case_id
        for batch in run.batches(split, 5)
        for case_id, *given in zip(
            batch.case_id,
            batch.has_gaze.bool(),
            (batch.own_boxes() > 0).flatten(1).any(1),
            (batch.own_regions() > 0).flatten(1).any(1),
            strict=True,
        )
        if any(given)
    ]
    assert run.with_evidence(split) == expected
    assert 0 < len(expected) < (store.cases["split"] == split).sum()


def test_data_set_of_a_run_reads_no_image_before_it_is_asked_for(config: Configure) -> None:
    """Evaluation needs the few images with gaze or boxes, of collections of any size."""
    assert Run(Path(), config(input={"cache": True})).dataset("train")._cache is None
