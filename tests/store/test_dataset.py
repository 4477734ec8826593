"""The data set: image and fixations stay together; seed, epoch and place alone decide what is drawn."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from radgaze.errors import UserError
from radgaze.gaze import GazeMaps, static_maps
from radgaze.store.augmentation import Augmentation
from radgaze.store.batch import collate
from radgaze.store.dataset import GazeDataset
from radgaze.store.placement import Fit
from radgaze.store.store import Store
from tests.store.cohorts import make_cohort, write_dicom
from tests.stores import prepare


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("made")
    return prepare(make_cohort(folder / "source", 12), folder / "store", size=96, workers=1)


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Cases whose image is black but for a bright blob about their only fixation."""
    folder = tmp_path_factory.mktemp("blobs")
    cohort = make_cohort(folder / "source", 3)
    draw = np.random.default_rng(1)
    fixations = []
    for i, (rows, columns) in enumerate([(400, 300), (300, 420), (350, 350)]):
        x, y = draw.uniform(0.35, 0.65, 2) * (columns, rows)
        along, down = np.arange(columns) + 0.5, np.arange(rows) + 0.5
        blob = np.exp(-0.5 * ((down[:, None] - y) ** 2 + (along - x) ** 2) / 12**2)
        write_dicom(Path(cohort.cases["image"][i]), blob)
        fixations.append({"reading_id": f"r{i}", "index": 0, "x": x, "y": y, "onset": 0.0, "duration": 0.3})
    schema = cohort.fixations.collect_schema()
    cohort = replace(cohort, fixations=pl.LazyFrame(fixations, schema=schema))
    return prepare(cohort, folder / "store", size=200, workers=1)


def centre_of_light(image: torch.Tensor) -> torch.Tensor:
    light = image[0].double()
    light = (light - 0.02).clamp_min(0)
    grid = torch.arange(image.shape[-1]) + 0.5
    return torch.stack([(light.sum(0) * grid).sum(), (light.sum(1) * grid).sum()]) / light.sum()


@pytest.mark.parametrize("fit", ["stretch", "pad"])
@pytest.mark.parametrize("size", [80, 200, 224])
def test_fixations_lie_on_the_image_where_they_lay_on_the_original(blobs: Store, fit: Fit, size: int) -> None:
    for sample in GazeDataset(blobs, size=size, fit=fit, gaze=GazeMaps(sigma=12)):
        torch.testing.assert_close(
            sample.points[0].double(), centre_of_light(sample.image), atol=0.15, rtol=0
        )


@pytest.mark.parametrize(
    "augment", [Augmentation(rotate=20, scale=(0.7, 1.3), translate=0.1), Augmentation(flip=1.0)]
)
def test_augmentation_moves_image_and_fixations_together(blobs: Store, augment: Augmentation) -> None:
    cases = GazeDataset(blobs, size=160, gaze=GazeMaps(sigma=12), augment=augment, seed=3)
    moved = []
    for epoch in range(4):
        cases.set_epoch(epoch)
        for i, sample in enumerate(cases):
            torch.testing.assert_close(
                sample.points[0].double(), centre_of_light(sample.image), atol=0.2, rtol=0
            )
            moved.append((i, *sample.points[0].tolist()))
    assert len(set(moved)) == 12


def test_sigma_grows_with_the_zoom_of_augmentation(blobs: Store) -> None:
    """The gaze map of the moved fixation is as wide as the blob, which was drawn as wide as the gaze map."""
    zoom = Augmentation(rotate=0, scale=(1.5, 1.5), translate=0, brightness=0, contrast=0)
    for sample in GazeDataset(blobs, size=160, gaze=GazeMaps(sigma=12), augment=zoom, maps=True):
        assert sample.gaze is not None
        assert (sample.gaze - sample.image).abs().max() < 0.06


def test_gaze_map_of_a_sample_is_the_blob_at_its_fixation(blobs: Store) -> None:
    for sample in GazeDataset(blobs, size=160, gaze=GazeMaps(sigma=12), maps=True):
        assert sample.gaze is not None
        assert (sample.gaze - sample.image).abs().max() < 0.05


def test_flip_is_off_by_default_and_mirrors_when_asked(blobs: Store) -> None:
    still = Augmentation(rotate=0, scale=(1, 1), translate=0, brightness=0, contrast=0)
    plain = GazeDataset(blobs, size=64, gaze=GazeMaps())
    same = GazeDataset(blobs, size=64, gaze=GazeMaps(), augment=still)
    flipped = GazeDataset(blobs, size=64, gaze=GazeMaps(), augment=replace(still, flip=1.0))
    for a, b, c in zip(plain, same, flipped, strict=True):
        torch.testing.assert_close(a.image, b.image)
        torch.testing.assert_close(a.image.flip(-1), c.image)
        torch.testing.assert_close(a.points * torch.tensor([-1.0, 1.0]) + torch.tensor([64.0, 0.0]), c.points)


def test_fixations_that_augmentation_moves_off_the_image_count_nothing(store: Store) -> None:
    shifted = Augmentation(rotate=0, scale=(2.5, 2.5), translate=0.0)
    batch = collate(list(GazeDataset(store, size=64, gaze=GazeMaps(sigma=5), augment=shifted)))
    on = ((batch.points >= 0) & (batch.points <= 64)).all(-1)
    assert not batch.weights[~on].any()
    assert torch.equal(batch.has_gaze, (batch.weights > 0).any(1))
    assert torch.equal(batch.gaze_maps().amax((1, 2, 3)) > 0, batch.has_gaze)


def test_splits_are_filtered_and_unknown_ones_refused(store: Store) -> None:
    splits = dict(store.cases.select("case_id", "split").iter_rows())
    for wanted in ("train", "validate", "test", ["validate", "test"], None):
        found = GazeDataset(store, wanted, gaze=None).case_ids
        kept = [wanted] if isinstance(wanted, str) else wanted or ["train", "validate", "test"]
        assert found == [case_id for case_id, split in splits.items() if split in kept]
    with pytest.raises(UserError, match="no split 'trian'"):
        GazeDataset(store, "trian", gaze=None)


def test_a_subset_yields_the_same_cases_as_the_whole(store: Store) -> None:
    whole = {sample.case_id: sample for sample in GazeDataset(store, size=48, gaze=GazeMaps())}
    for sample in GazeDataset(store, "validate", size=48, gaze=GazeMaps()):
        other = whole[sample.case_id]
        assert sample.patient == other.patient
        for name in ("image", "label", "points", "weights", "sigma", "times", "order"):
            assert torch.equal(getattr(sample, name), getattr(other, name))


def test_labels_and_fixations_are_those_of_the_tables(store: Store) -> None:
    cases = GazeDataset(store, size=48, fit="pad", gaze=GazeMaps())
    for row, sample in zip(store.cases.iter_rows(named=True), cases, strict=True):
        assert sample.label.tolist() == [row[f"label_{name}"] for name in store.classes]
        mine = store.readings.filter(case_id=row["case_id"])["reading_id"]
        table = store.fixations.filter(pl.col("reading_id").is_in(mine.to_list()))
        zoom = 48 / store.size
        x = (table["x"].to_numpy() * row["scale"] + row["pad_x"]) * zoom
        y = (table["y"].to_numpy() * row["scale"] + row["pad_y"]) * zoom
        np.testing.assert_allclose(sample.points.numpy(), np.stack([x, y], 1).reshape(-1, 2), rtol=1e-5)
        np.testing.assert_allclose(sample.weights.numpy(), table["duration"].to_numpy(), rtol=1e-6)


def test_fixations_of_all_readings_of_a_case_are_its_fixations(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "source", 4)
    first = cohort.readings["case_id"][0]
    cohort = replace(cohort, readings=cohort.readings.with_columns(case_id=pl.lit(first)))
    store = prepare(cohort, tmp_path / "store", size=32, workers=1)
    counts = [len(sample.weights) for sample in GazeDataset(store, gaze=GazeMaps())]
    assert counts == [len(cohort.fixations.collect()), 0, 0, 0]


def test_resizing_is_antialiased(store: Store) -> None:
    cases = GazeDataset(store, size=24, fit="pad", gaze=None)
    for i, sample in enumerate(cases):
        oracle = Image.fromarray(np.array(store.image(i), np.float32)).resize(
            (24, 24), Image.Resampling.BILINEAR
        )
        assert np.abs(sample.image[0].numpy() * 255 - np.asarray(oracle)).max() < 1.5


@pytest.mark.parametrize("weight", ["duration", "count", "reference"])
def test_the_cases_with_gaze_are_those_whose_batch_has_it(
    weight: Literal["duration", "count", "reference"], tmp_path: Path
) -> None:
    """One case has fixations in the top row alone, which the reference mode loses; one none of a duration."""
    cohort = make_cohort(tmp_path / "source", 5)
    only = {name: pl.col("reading_id") == name for name in ("r0", "r1")}
    fixations = cohort.fixations.with_columns(
        y=pl.when(only["r0"]).then(0.5).otherwise("y"),
        duration=pl.when(only["r1"]).then(0.0).otherwise("duration"),
    )
    store = prepare(replace(cohort, fixations=fixations), tmp_path / "store", size=32, workers=1)
    cases = GazeDataset(store, None, size=32, gaze=GazeMaps(weight=weight))
    assert cases.gazed.tolist() == collate(list(cases)).has_gaze.tolist()
    assert cases.gazed.tolist() == [weight != "reference", weight != "duration", True, False, True]


def test_collate_pads_readings_and_knows_who_has_gaze(store: Store) -> None:
    samples = list(GazeDataset(store, size=48, gaze=GazeMaps(sigma=10)))
    batch = collate(samples)
    assert batch.image.shape == (12, 1, 48, 48)
    assert batch.has_gaze.tolist() == [i % 4 != 3 for i in range(12)]
    assert batch.case_id == store.cases["case_id"].to_list()
    maps = batch.gaze_maps()
    for sample, found in zip(samples, maps, strict=True):
        alone = static_maps(sample.points[None], sample.weights[None], (48, 48), sample.sigma[None])
        torch.testing.assert_close(found, alone[0])
    assert not maps[~batch.has_gaze].any()


def test_a_batch_without_any_gaze_has_zero_maps_and_one_made_for_no_gaze_refuses(store: Store) -> None:
    samples = list(GazeDataset(store, size=48, gaze=GazeMaps()))
    nobody = collate([samples[3], samples[7]])
    assert nobody.points.shape == (2, 0, 2)
    assert not nobody.gaze_maps().any()
    batch = collate(list(GazeDataset(store, size=48, gaze=None)))
    assert not batch.has_gaze.any()
    with pytest.raises(ValueError, match="no gaze"):
        batch.gaze_maps()


@pytest.mark.parametrize("sigma", [10, 90, 400])
def test_maps_of_another_size_are_those_of_a_data_set_of_that_size(store: Store, sigma: float) -> None:
    gaze = GazeMaps(sigma=sigma)
    small = collate(list(GazeDataset(store, size=56, gaze=gaze)))
    for size in (7, 14, 112):
        other = collate(list(GazeDataset(store, size=size, gaze=gaze)))
        torch.testing.assert_close(small.gaze_maps(size), other.gaze_maps(), atol=1e-4, rtol=1e-3)
    assert small.gaze_maps((7, 14)).shape == (12, 1, 7, 14)


def test_a_batch_moves_as_a_whole(store: Store) -> None:
    batch = collate(list(GazeDataset(store, size=48, gaze=GazeMaps())))
    moved = batch.to("meta")
    assert moved.image.device.type == moved.sigma.device.type == moved.has_gaze.device.type == "meta"
    assert (moved.case_id, moved.spec, moved.mirrors) == (batch.case_id, batch.spec, batch.mirrors)
    assert batch.image.device.type == "cpu"


def test_lightning_moves_a_batch(store: Store) -> None:
    from lightning.fabric.utilities import move_data_to_device

    batch = collate(list(GazeDataset(store, "test", size=16, gaze=GazeMaps())))
    moved = move_data_to_device(batch, torch.device("meta"))
    assert moved.points.device.type == "meta"
    assert moved.spec == batch.spec


def test_workers_change_no_byte_and_see_the_next_epoch_when_they_outlive_one(store: Store) -> None:
    cases = GazeDataset(store, size=48, gaze=GazeMaps(), augment=Augmentation(), seed=5)
    worked = DataLoader(
        cases,
        batch_size=5,
        collate_fn=collate,
        num_workers=2,
        persistent_workers=True,
        multiprocessing_context="forkserver",
    )
    for epoch in range(2):
        cases.set_epoch(epoch)
        plain = DataLoader(cases, batch_size=5, collate_fn=collate)
        for a, b in zip(plain, worked, strict=True):
            assert a.case_id == b.case_id
            for name in ("image", "label", "points", "weights", "sigma", "times", "order", "has_gaze"):
                assert torch.equal(getattr(a, name), getattr(b, name))


def test_augmentation_depends_on_seed_and_epoch_and_leaves_the_generator_alone(store: Store) -> None:
    def drawn(seed: int, epoch: int) -> torch.Tensor:
        cases = GazeDataset(store, size=32, gaze=GazeMaps(), augment=Augmentation(), seed=seed)
        cases.set_epoch(epoch)
        return cases[4].image

    torch.manual_seed(0)
    first = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(drawn(1, 0), drawn(1, 0))
    assert torch.equal(torch.rand(1), first)
    assert not torch.equal(drawn(1, 0), drawn(2, 0))
    assert not torch.equal(drawn(1, 0), drawn(1, 1))
    assert float(drawn(1, 0).min()) >= 0
    assert float(drawn(1, 0).max()) <= 1


def test_the_cache_changes_nothing_but_time(store: Store) -> None:
    plain, cached = (GazeDataset(store, size=48, gaze=GazeMaps(), cache=c) for c in (False, True))
    for a, b in zip(plain, cached, strict=True):
        assert torch.equal(a.image, b.image)


def test_a_pickled_data_set_is_small_and_whole(store: Store) -> None:
    cases = GazeDataset(store, size=48, gaze=GazeMaps())
    _ = cases[0]
    data = pickle.dumps(cases)
    assert len(data) < 30_000
    assert torch.equal(pickle.loads(data)[5].image, cases[5].image)


def test_writing_to_a_sample_leaves_the_store_alone(store: Store) -> None:
    cases = GazeDataset(store, size=96, fit="pad", gaze=GazeMaps(), cache=True)
    before = cases[0].image.clone()
    cases[0].image.zero_()
    assert torch.equal(cases[0].image, before)
