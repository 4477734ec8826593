"""Boxes in the data set: whose they are, where they lie, and when they stand in for gaze."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from radgaze.gaze import GazeMaps, box_maps
from radgaze.store.augmentation import Augmentation
from radgaze.store.batch import collate
from radgaze.store.boxes import corners, hull
from radgaze.store.dataset import GazeDataset
from radgaze.store.store import Store
from tests.store.cohorts import make_cohort, write_dicom
from tests.stores import prepare

ATTENTION = GazeMaps(sigma=5, boxes="attention")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Cases 3 and 7 have no gaze; boxes of findings, of a class (case 3 is Normal), of an organ."""
    folder = tmp_path_factory.mktemp("boxes")
    cohort = make_cohort(folder / "source", 9, shape=(100, 80))
    rows = [
        ("case-00", "opacity", 10, 20, 30, 50),
        ("case-03", "Opacity", 10, 20, 30, 50),
        ("case-03", "PNEUMONIA", 40, 20, 70, 50),
        ("case-03", "normal", 40, 60, 70, 90),
        ("case-03", "Left Lung", 0, 0, 80, 100),
        ("case-07", "pneumonia", 40, 20, 70, 50),
    ]
    names = ("case_id", "label", "x1", "y1", "x2", "y2")
    sides = dict.fromkeys(names[2:], pl.Float64)
    boxes = pl.DataFrame(rows, schema={"case_id": pl.String, "label": pl.String, **sides}, orient="row")
    return prepare(replace(cohort, boxes=boxes), folder / "store", size=100, workers=1)


def test_boxes_lie_on_the_image_and_know_their_class(store: Store) -> None:
    sample = GazeDataset(store, size=50, gaze=GazeMaps(), fit="stretch")[3]
    torch.testing.assert_close(
        sample.boxes, torch.tensor([[6.25, 10, 18.75, 25], [25, 10, 43.75, 25], [25, 30, 43.75, 45]])
    )
    assert sample.box_class.tolist() == [-1, 2, 0]
    padded = GazeDataset(store, size=50, gaze=GazeMaps(), fit="pad")[3]
    torch.testing.assert_close(padded.boxes[0], torch.tensor([10.0, 10, 20, 25]))


def test_boxes_stand_in_for_gaze_only_where_there_is_none_and_only_when_asked(store: Store) -> None:
    plain = collate(list(GazeDataset(store, size=50, gaze=GazeMaps(sigma=5))))
    batch = collate(list(GazeDataset(store, size=50, gaze=ATTENTION)))
    assert plain.has_gaze.tolist() == [i % 4 != 3 for i in range(9)]
    # Case 7 is CHF: a box of pneumonia is none of its own.
    assert batch.has_gaze.tolist() == [i != 7 for i in range(9)]
    for size in (None, 25, (20, 40)):
        maps, of_gaze = batch.gaze_maps(size), plain.gaze_maps(size)
        others = [i for i in range(9) if i != 3]
        torch.testing.assert_close(maps[others], of_gaze[others])
    own = torch.tensor([[[6.25, 10, 18.75, 25], [25, 30, 43.75, 45]]])
    torch.testing.assert_close(batch.gaze_maps()[3:4], box_maps(own, (50, 50), batch.sigma[3:4]))


def test_a_sample_has_the_map_that_the_batch_has(store: Store) -> None:
    samples = list(GazeDataset(store, size=50, gaze=ATTENTION, maps=True))
    torch.testing.assert_close(
        torch.stack([s.gaze for s in samples if s.gaze is not None]), collate(samples).gaze_maps()
    )


def test_cases_whose_boxes_stand_in_are_counted(store: Store) -> None:
    assert GazeDataset(store, gaze=ATTENTION).with_boxes_for_gaze == 1
    assert GazeDataset(store, gaze=GazeMaps()).with_boxes_for_gaze == 0


def test_an_augmented_box_is_the_upright_hull_of_the_moved_rectangle(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "source", 1, shape=(200, 200))
    picture = np.zeros((200, 200))
    picture[60:120, 80:110] = 1
    write_dicom(Path(cohort.cases["image"][0]), picture)
    boxes = pl.DataFrame(
        {"case_id": ["case-00"], "label": ["x"], "x1": 80.0, "y1": 60.0, "x2": 110.0, "y2": 120.0}
    )
    store = prepare(replace(cohort, boxes=boxes), tmp_path / "store", size=200, workers=1)
    augment = Augmentation(rotate=25, scale=(0.8, 1.2), translate=0.1, brightness=0, contrast=0, flip=0.5)
    cases = GazeDataset(store, size=200, gaze=ATTENTION, augment=augment)
    found = set()
    for epoch in range(6):
        cases.set_epoch(epoch)
        sample = cases[0]
        bright = (sample.image[0] > 0.5).nonzero()
        seen = torch.cat([bright.amin(0).flip(0), bright.amax(0).flip(0) + 1]).float()
        assert (sample.boxes[0] - seen).abs().max() < 2
        found.add(tuple(sample.boxes[0].tolist()))
    assert len(found) == 6


def test_the_hull_is_cut_to_the_image_and_empty_off_it() -> None:
    boxes = torch.tensor([[5.0, 5, 20, 9], [-9.0, 3, -2, 8]])
    torch.testing.assert_close(hull(corners(boxes), 12), torch.tensor([[5.0, 5, 12, 9], [0, 3, 0, 8]]))
    turned = torch.tensor([[0.0, 5], [5, 0], [10, 5], [5, 10]])
    torch.testing.assert_close(hull(turned, 12), torch.tensor([[0.0, 0, 10, 10]]))
