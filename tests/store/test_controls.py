"""Controls of gaze: each against a construction by hand, whose gaze a case gets, and that workers agree."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.utils.data import DataLoader

from radgaze.errors import UserError
from radgaze.gaze.maps import static_maps
from radgaze.gaze.reference import viridis_grey
from radgaze.gaze.spec import Control, GazeMaps
from radgaze.store import controls
from radgaze.store.augmentation import Augmentation
from radgaze.store.batch import Batch, collate
from radgaze.store.dataset import GazeDataset
from radgaze.store.lungs import draw_lung_shape
from radgaze.store.placement import Fit, Frame
from radgaze.store.store import Store
from tests.store.cohorts import make_cohort, with_mentions, write_dicom
from tests.stores import prepare

SIZE = 64
MAPS: tuple[Control, ...] = ("mean", "lungs", "uniform", "box")
ALL: tuple[Control, ...] = (*controls.SHUFFLED, *MAPS)
BOX = {"x1": 20.0, "y1": 30.0, "x2": 50.0, "y2": 45.0}


def with_boxes(cases: Sequence[str], label: str = "opacity") -> pl.DataFrame:
    return pl.DataFrame(
        {"case_id": list(cases), "label": [label] * len(cases)}
        | {k: [v] * len(cases) for k, v in BOX.items()}
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """24 cases of 12 patients and many sizes; every fourth has no gaze, every fifth a box of a finding."""
    folder = tmp_path_factory.mktemp("controls")
    cohort = with_mentions(make_cohort(folder / "source", 24))
    boxes = with_boxes(cohort.cases["case_id"].to_list()[::5])
    return prepare(replace(cohort, boxes=boxes), folder / "store", size=128, workers=1)


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """12 cases of one size, bright in the box of their finding; cases 3, 7 and 11 have no gaze."""
    folder = tmp_path_factory.mktemp("squares")
    cohort = make_cohort(folder / "source", 12, shape=(100, 100))
    for path in cohort.cases["image"]:
        pixels = np.zeros((100, 100))
        pixels[30:45, 20:50] = 1
        write_dicom(Path(path), pixels)
    boxes = with_boxes(cohort.cases["case_id"].to_list())
    return prepare(replace(cohort, boxes=boxes), folder / "store", size=100, workers=1)


def of(store: Store, control: Control, *, fit: Fit = "stretch", seed: int = 0, **spec: Any) -> GazeDataset:
    gaze = replace(GazeMaps(sigma=0.05, unit="share", control=control), **spec)
    return GazeDataset(store, "train", size=SIZE, fit=fit, gaze=gaze, seed=seed)


def whole(cases: GazeDataset) -> Batch:
    return collate(list(cases))


def donors_of(cases: GazeDataset, own: GazeDataset) -> list[int | None]:
    """The case whose fixations each case has, found by their times, which no two cases share."""
    times = [sample.times for sample in own]
    assert len({tuple(each.flatten().tolist()) for each in times if len(each)}) == own.with_gaze
    return [
        next(j for j, each in enumerate(times) if torch.equal(each, sample.times))
        if len(sample.times)
        else None
        for sample in cases
    ]


def brute(boxes: NDArray[np.float64], sigma: Tensor) -> NDArray[np.float64]:
    """A filled map (S, S), smoothed by SciPy and scaled to a maximum of 1."""
    drawn = gaussian_filter(boxes, sigma.double().numpy(), mode="reflect", truncate=4)
    scaled: NDArray[np.float64] = drawn / drawn.max()
    return scaled


@pytest.mark.parametrize("seed", range(30))
def test_each_case_is_drawn_once_by_a_case_of_another_patient(seed: int) -> None:
    draw = np.random.default_rng(seed)
    patients = draw.integers(0, draw.integers(3, 12), 40)
    groups = draw.integers(-1, 3, 40)
    drawn = controls.donors(patients, groups, seed)
    for group in range(3):
        members = np.flatnonzero(groups == group)
        assert (patients[drawn[members]] != patients[members]).all()
        assert (groups[drawn[members]] == group).all()
        if 2 * np.bincount(patients[members]).max() <= len(members):
            assert sorted(drawn[members]) == sorted(members)
    assert (drawn[groups < 0] == -1).all()
    np.testing.assert_array_equal(controls.donors(patients, groups, seed), drawn)
    assert (controls.donors(patients, groups, seed + 1) != drawn).any()


def test_a_patient_with_most_of_the_cases_draws_with_repetition_and_one_alone_draws_none() -> None:
    patients, together = np.array([0, 0, 0, 0, 1, 2]), np.zeros(6, dtype=np.int64)
    drawn = controls.donors(patients, together, 3)
    assert (patients[drawn] != patients).all()
    assert (controls.donors(np.zeros(4, dtype=np.int64), together[:4], 3) == -1).all()


@pytest.mark.parametrize("fit", ["stretch", "pad"])
@pytest.mark.parametrize("control", controls.SHUFFLED)
def test_gaze_of_another_patient_is_scaled_to_the_image_and_keeps_its_times(
    control: Control, fit: Fit, store: Store
) -> None:
    own, cases = of(store, "none", fit=fit), of(store, control, fit=fit, seed=4)
    np.testing.assert_array_equal(cases.gazed & own.gazed, cases.gazed)
    patients = [sample.patient for sample in own]
    table = store.cases.filter(split="train")
    found = donors_of(cases, own)
    assert sum(donor is not None for donor in found) >= (own.with_gaze if control == "shuffled" else 4)
    for i, j in enumerate(found):
        if j is None:
            continue
        assert patients[i] != patients[j]
        if control == "shuffled_in_class":
            assert torch.equal(own.labels[i], own.labels[j])
        (rows, columns), (height, width) = (table.select("rows", "columns").row(k) for k in (i, j))
        reading = store.readings.filter(case_id=own.case_ids[j])["reading_id"][0]
        gaze = store.fixations.filter(reading_id=reading).sort("index")
        where = Frame(rows, columns, store.size).geometry(fit, SIZE)
        scale = torch.tensor([columns / width, rows / height], dtype=torch.float64)
        onto = torch.tensor([where.scale_x, where.scale_y], dtype=torch.float64)
        shift = torch.tensor([where.shift_x, where.shift_y], dtype=torch.float64)
        points = torch.tensor(gaze.select("x", "y").rows(), dtype=torch.float64) * scale * onto + shift
        sigma = (0.05 * max(height, width) * scale * onto).flip(0)
        sample = cases[i]
        torch.testing.assert_close(sample.points.double(), points, atol=1e-3, rtol=0)
        torch.testing.assert_close(sample.sigma.double(), sigma, atol=1e-4, rtol=0)
        weights = torch.tensor(gaze["duration"].to_list(), dtype=torch.float64)
        drawn = static_maps(points[None], weights[None], (SIZE, SIZE), sigma[None])
        torch.testing.assert_close(collate([sample]).gaze_maps().double(), drawn, atol=1e-3, rtol=0)
        assert sample.recorded == own[j].recorded
        assert torch.equal(sample.order, own[j].order)
        assert torch.equal(sample.image, own[i].image)
        assert torch.equal(sample.label, own[i].label)


def test_on_images_of_one_size_the_map_is_that_of_the_other_case_also_by_class(tmp_path: Path) -> None:
    cohort = with_mentions(make_cohort(tmp_path / "source", 24, shape=(90, 70)))
    store = prepare(cohort, tmp_path / "store", size=96, workers=1)
    specs: list[dict[str, Any]] = [
        {"per": "class"},
        {"per": "class", "weight": "count"},
        {"weight": "reference"},
    ]
    for spec in specs:
        own, cases = of(store, "none", **spec), of(store, "shuffled", **spec)
        found, truth, batch = donors_of(cases, own), whole(own), whole(cases)
        has = [i for i, j in enumerate(found) if j is not None]
        other = [j for j in found if j is not None]
        torch.testing.assert_close(batch.gaze_maps()[has], truth.gaze_maps()[other])
        assert not torch.allclose(batch.gaze_maps()[has], truth.gaze_maps()[has], atol=0.1)
        for label in range(3):
            classes = torch.full((len(batch),), label)
            drawn, wanted = (each.gaze_maps(classes=classes) for each in (batch, truth))
            torch.testing.assert_close(drawn[has], wanted[other])


@pytest.mark.parametrize("control", ALL)
def test_cases_without_gaze_stay_without(control: Control, store: Store) -> None:
    own, batch = of(store, "none"), whole(of(store, control))
    assert not batch.has_gaze[~torch.from_numpy(own.gazed)].any()
    np.testing.assert_array_equal(of(store, control).attended, batch.has_gaze)
    if control in ("shuffled", "mean", "lungs", "uniform"):
        np.testing.assert_array_equal(batch.has_gaze, own.gazed)
    maps = batch.gaze_maps()
    assert not maps[~batch.has_gaze].any()
    torch.testing.assert_close(maps.flatten(1).amax(1), batch.has_gaze.float())
    assert batch.gaze_maps(32).shape == (len(batch), 1, 32, 32)


def test_the_mean_is_that_of_the_training_cases_also_where_it_stands_in_for_others(store: Store) -> None:
    mean = whole(of(store, "none")).gaze_maps()[of(store, "none").gazed, 0].double().mean(0)
    batch = whole(of(store, "mean"))
    for drawn in batch.gaze_maps()[batch.has_gaze, 0].double():
        torch.testing.assert_close(drawn, mean / mean.max(), atol=1 / 255, rtol=0)
    others = GazeDataset(store, "test", size=SIZE, gaze=GazeMaps(sigma=0.05, unit="share", control="mean"))
    last = whole(others)
    torch.testing.assert_close(last.gaze_maps()[last.has_gaze][:1], batch.gaze_maps()[batch.has_gaze][:1])


def test_the_mean_of_reference_maps_becomes_grey_after_it_is_averaged(store: Store) -> None:
    own, batch = of(store, "none", weight="reference"), whole(of(store, "mean", weight="reference"))
    drawn = [
        static_maps(s.points[None], s.weights[None], (SIZE, SIZE), s.sigma[None], normalise="minmax")[0]
        for s in own
        if len(s.weights)
    ]
    mean = torch.stack(drawn).mean(0)
    level = (mean - mean.min()) / (mean.max() - mean.min())
    torch.testing.assert_close(batch.gaze_maps()[batch.has_gaze][0], viridis_grey(level), atol=0.015, rtol=0)


@pytest.mark.parametrize("fit", ["stretch", "pad"])
def test_lungs_are_the_own_ones_where_the_store_has_them_smoothed_like_gaze(fit: Fit, store: Store) -> None:
    cases = of(store, "lungs", fit=fit)
    batch, table, own = whole(cases), store.regions.table.with_row_index("row"), 0
    for i in np.flatnonzero(batch.has_gaze):
        rows = table.filter(case_id=cases.case_ids[i])["row"].to_list()
        shape = 255 * draw_lung_shape((SIZE, SIZE))
        if rows:
            own += 1
            square = np.any([store.regions[row] for row in rows], axis=0).astype(np.uint8) * np.uint8(255)
            height, width = store.cases.filter(case_id=cases.case_ids[i]).select("rows", "columns").row(0)
            shape = Frame(height, width, store.size).resized(square, fit, SIZE).astype(np.float64)
        np.testing.assert_allclose(batch.gaze_maps()[i, 0], brute(shape / 255, batch.sigma[i]), atol=1e-4)
    assert 0 < own < int(batch.has_gaze.sum())


def test_boxes_are_those_of_the_case_and_cases_without_are_without_gaze(store: Store) -> None:
    own, cases = of(store, "none"), of(store, "box")
    batch, boxed = whole(cases), set(store.boxes["case_id"])
    wanted = [bool(gazed) and name in boxed for name, gazed in zip(own.case_ids, own.gazed, strict=True)]
    assert batch.has_gaze.tolist() == wanted
    assert any(wanted)
    for i in np.flatnonzero(wanted):
        height, width = store.cases.filter(case_id=cases.case_ids[i]).select("rows", "columns").row(0)
        fine = np.zeros((8 * SIZE, 8 * SIZE))  # shares of pixels, by counting
        x = (np.arange(8 * SIZE) + 0.5) / (8 * SIZE) * width
        y = (np.arange(8 * SIZE) + 0.5) / (8 * SIZE) * height
        inside = ((y > BOX["y1"]) & (y < BOX["y2"]))[:, None] & ((x > BOX["x1"]) & (x < BOX["x2"]))
        fine[inside] = 1
        shares = fine.reshape(SIZE, 8, SIZE, 8).mean((1, 3))
        np.testing.assert_allclose(batch.gaze_maps()[i, 0], brute(shares, batch.sigma[i]), atol=0.08)


def test_a_constant_map_stays_constant_whatever_moves(store: Store) -> None:
    cases = GazeDataset(
        store, "train", size=SIZE, gaze=GazeMaps(control="uniform"), augment=Augmentation(translate=0.3)
    )
    batch = whole(cases)
    torch.testing.assert_close(
        batch.gaze_maps(), batch.has_gaze.float().view(-1, 1, 1, 1).expand(-1, 1, 64, 64)
    )


def test_a_map_that_stands_in_moves_with_the_image(squares: Store) -> None:
    turns = Augmentation(rotate=20, scale=(0.7, 1.3), translate=0.15)
    gaze = GazeMaps(sigma=1, control="box")
    cases = GazeDataset(squares, "train", size=100, gaze=gaze, augment=turns, seed=1)
    grid, places = torch.arange(100) + 0.5, set()
    for epoch in range(3):
        cases.set_epoch(epoch)
        batch = whole(cases)
        for i in np.flatnonzero(batch.has_gaze):
            centres = []
            for picture in (batch.image[i, 0] - batch.image[i, 0].amin(), batch.gaze_maps()[i, 0]):
                light = picture.double() * (picture > 0.4)
                middle = [(light.sum(axis) * grid).sum() / light.sum() for axis in (0, 1)]
                centres.append(torch.stack(middle))
            torch.testing.assert_close(centres[0], centres[1], atol=0.5, rtol=0)
            places.add(tuple(centres[0].round().tolist()))
    assert len(places) > 10


def test_gaze_of_another_patient_moves_as_own_gaze_would(store: Store) -> None:
    augment = Augmentation(rotate=20)
    gaze = GazeMaps(sigma=0.05, unit="share", control="shuffled")
    still = GazeDataset(store, "train", size=SIZE, gaze=gaze, seed=2)
    moving = GazeDataset(store, "train", size=SIZE, gaze=gaze, seed=2, augment=augment)
    for i in np.flatnonzero(still.gazed).tolist():
        before, after, none = still[i], moving[i], torch.zeros(0, SIZE, SIZE, dtype=torch.uint8)
        image, points, sigma, _ = augment(
            before.image, before.points, before.sigma, moving._seed_of(i, 0), none
        )
        assert torch.equal(after.image, image)
        torch.testing.assert_close(after.points, points)
        torch.testing.assert_close(after.sigma, sigma)


def test_boxes_in_place_of_gaze_are_exchanged_among_the_cases_that_have_them(tmp_path: Path) -> None:
    """Cases with fixations keep having fixations; the box of another case is drawn, and none of its own."""
    cohort = make_cohort(tmp_path / "source", 12, shape=(80, 80))
    boxes = with_boxes(cohort.cases["case_id"].to_list()).with_row_index("number")
    boxes = boxes.with_columns(y1=5.0 * pl.col("number"), y2=5.0 * pl.col("number") + 20).drop("number")
    store = prepare(replace(cohort, boxes=boxes), tmp_path / "store", size=80, workers=1)
    own = GazeDataset(store, size=SIZE, gaze=GazeMaps(sigma=2, boxes="attention"))
    cases = GazeDataset(store, size=SIZE, gaze=GazeMaps(sigma=2, boxes="attention", control="shuffled"))
    truth, batch = whole(own), whole(cases)
    assert batch.has_gaze.all()
    np.testing.assert_array_equal(cases.gazed, own.gazed)
    boxed = np.flatnonzero(~own.gazed)
    assert cases._stand_ins is not None
    donors = cases._stand_ins.donors[boxed]
    assert set(donors) == set(boxed)
    torch.testing.assert_close(batch.gaze_maps()[boxed], truth.gaze_maps()[donors], atol=0.01, rtol=0)
    assert not batch.readable[boxed].any()
    assert (
        whole(GazeDataset(store, size=SIZE, gaze=GazeMaps(control="lungs"))).readable.sum() == own.with_gaze
    )


@pytest.mark.parametrize(
    "control", [pytest.param(each, marks=[pytest.mark.slow] * (each == "lungs")) for each in ALL]
)
def test_the_maps_depend_on_the_seed_alone_and_not_on_workers(control: Control, store: Store) -> None:
    """A worker gets a pickled copy; two of them load the data of one of the controls."""
    gaze, maps = GazeMaps(control=control), list[Tensor]()
    for workers in (0, 2 if control == "lungs" else 0):
        cases = GazeDataset(
            store, "train", size=32, gaze=gaze, augment=Augmentation(), seed=7, cache=not maps
        )
        context = "forkserver" if workers else None
        copy: GazeDataset = pickle.loads(pickle.dumps(cases)) if maps else cases
        loader = DataLoader(
            copy, batch_size=4, collate_fn=collate, num_workers=workers, multiprocessing_context=context
        )
        maps.append(torch.cat([batch.gaze_maps() for batch in loader]))
    assert torch.equal(maps[0], maps[1])
    assert maps[0].any()


def test_another_seed_exchanges_otherwise(store: Store) -> None:
    first, second = (whole(of(store, "shuffled", seed=seed)).gaze_maps() for seed in (0, 1))
    assert not torch.equal(first, second)


def test_a_store_of_one_patient_or_without_boxes_has_no_such_control(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "source", 6)
    cases = cohort.cases.with_columns(patient=pl.lit(0, dtype=pl.Int32), split=pl.lit("train"))
    store = prepare(
        replace(cohort, cases=cases, boxes=cohort.boxes.clear()), tmp_path / "store", size=64, workers=1
    )
    with pytest.raises(
        UserError, match=r"`gaze.control=shuffled` leaves none of 5 cases.*all of one patient"
    ):
        of(store, "shuffled")
    with pytest.raises(UserError, match="no boxes or masks of findings"):
        of(store, "box")
