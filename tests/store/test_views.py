"""Stores whose fixations have views of their own, whose boxes may be ellipses, and of several readers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import pytest
import torch

from radgaze.errors import UserError
from radgaze.evaluation.metrics.localisation import inside
from radgaze.gaze import GazeMaps, static_maps
from radgaze.gaze.maps import viewed_maps
from radgaze.sources.contents import VIEWS
from radgaze.sources.external_sort import height
from radgaze.store.augmentation import Augmentation
from radgaze.store.boxes import strips
from radgaze.store.dataset import GazeDataset, collate
from radgaze.store.placement import Fit, Frame
from radgaze.store.store import Store
from tests.store.cohorts import make_cohort
from tests.stores import prepare

RECORDED = GazeMaps(sigma=1.0, unit="degrees")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("viewed")
    cohort = make_cohort(folder / "images", 6)
    draw = np.random.default_rng(2)
    n = height(cohort.fixations)
    columns = {"degree_x": draw.uniform(4, 9, n), "degree_y": draw.uniform(4, 9, n)}
    corner = draw.uniform(0, 20, (n, 2))
    columns |= {"shown_x1": corner[:, 0], "shown_y1": corner[:, 1]}
    columns |= {"shown_x2": corner[:, 0] + 60, "shown_y2": corner[:, 1] + 60}
    cohort = replace(
        cohort, fixations=cohort.fixations.with_columns(**{k: pl.Series(v) for k, v in columns.items()})
    )
    return prepare(cohort, folder / "store", size=64, workers=1)


@pytest.mark.parametrize("fit", ["stretch", "pad"])
def test_maps_are_made_in_original_pixels_and_moved_to_the_models(store: Store, fit: Fit) -> None:
    cases = GazeDataset(store, None, size=48, fit=fit, gaze=RECORDED)
    batch = collate([cases[i] for i in range(len(cases))])
    maps = batch.gaze_maps()
    for i, case in enumerate(store.cases.iter_rows(named=True)):
        own = store.fixations.join(store.readings, on="reading_id").filter(case_id=case["case_id"])
        if not own.height:
            assert maps[i].sum() == 0
            continue
        where = Frame(case["rows"], case["columns"], store.size).geometry(fit, 48)
        scale, shift = np.array([where.scale_x, where.scale_y]), np.array([where.shift_x, where.shift_y])
        points = own.select("x", "y").to_numpy() * scale + shift
        sigma = own.select("degree_y", "degree_x").to_numpy() * scale[::-1]
        shown = own.select(VIEWS[2:]).to_numpy() * np.tile(scale, 2) + np.tile(shift, 2)
        at = torch.tensor(points, dtype=torch.float64)[None]
        weights = torch.tensor(own["duration"].to_numpy(), dtype=torch.float64)[None]
        expected = viewed_maps(
            at, weights, (48, 48), torch.tensor(sigma)[None], torch.tensor(shown).clamp(0, 48)[None]
        )
        np.testing.assert_allclose(maps[i, 0], expected[0, 0], atol=1e-4)
    assert batch.views is not None
    views = batch.views / 2
    half = viewed_maps(batch.points / 2, batch.weights, (24, 24), views[..., :2], views[..., 2:])
    torch.testing.assert_close(batch.gaze_maps(24), half)


def test_augmentation_moves_the_view_with_the_image(store: Store) -> None:
    plain = GazeDataset(store, None, size=48, gaze=RECORDED)[0]
    zoom = Augmentation(rotate=0, scale=(0.5, 0.5), translate=0)
    half = GazeDataset(store, None, size=48, gaze=RECORDED, augment=zoom)[0]
    assert plain.views is not None
    assert half.views is not None
    torch.testing.assert_close(half.views[:, :2], plain.views[:, :2] / 2)
    torch.testing.assert_close(half.views[:, 2:], (plain.views[:, 2:] - 24) / 2 + 24, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(half.sigma, plain.sigma / 2)


def test_the_columns_are_kept_and_a_store_without_them_says_what_is_missing(
    store: Store, tmp_path: Path
) -> None:
    assert set(VIEWS) <= set(Store.open(store.path).fixations.columns)
    plain = prepare(make_cohort(tmp_path / "images", 3), tmp_path / "store", size=64, workers=1)
    with pytest.raises(UserError, match=r"`gaze\.pixels_per_degree`"):
        GazeDataset(plain, None, size=48, gaze=RECORDED)


@pytest.mark.parametrize("weight", ["duration", "count"])
def test_each_reader_of_a_case_counts_the_same(weight: Literal["duration", "count"], tmp_path: Path) -> None:
    """One looks ten times as long and twice as often; the map is the mean of both."""
    cohort = make_cohort(tmp_path / "images", 1, shape=(64, 64))
    looked = {"short": [(16.0, 20.0, 0.1)], "long": [(48.0, 40.0, 0.7), (40.0, 50.0, 0.3)]}
    readings = [
        {"reading_id": r, "case_id": "case-00", "reader": r, "recorded": len(at), "duration": 1.0}
        for r, at in looked.items()
    ]
    fixations = [
        {"reading_id": r, "index": i, "x": x, "y": y, "onset": 0.0, "duration": d}
        for r, at in looked.items()
        for i, (x, y, d) in enumerate(at)
    ]
    cohort = replace(
        cohort,
        readings=pl.DataFrame(readings, schema=cohort.readings.schema),
        fixations=pl.LazyFrame(fixations, schema=cohort.fixations.collect_schema()),
        rejections=cohort.rejections.clear(),
    )
    store = prepare(cohort, tmp_path / "store", size=64, workers=1)
    settings = GazeMaps(weight=weight, sigma=3, normalise="sum")
    found = GazeDataset(store, None, size=64, gaze=settings, maps=True)[0].gaze
    each = []
    for at in looked.values():
        points = torch.tensor([[p[:2] for p in at]])
        weights = torch.tensor([[p[2] if weight == "duration" else 1.0 for p in at]])
        each.append(static_maps(points, weights, (64, 64), 3.0, normalise="sum"))
    torch.testing.assert_close(found, torch.stack(each).mean(0)[0], atol=1e-6, rtol=1e-4)


# Ellipses


def test_strips_fill_the_ellipse_and_leave_boxes_alone() -> None:
    corners = np.array([[10, 20, 90, 60], [5, 5, 9, 9], [0, 0, 100, 100]], dtype=np.float32)
    found, which = strips(corners, np.array([True, False, True]))
    assert (found[which == 1] == corners[1]).all()
    y, x = np.mgrid[:100, :100] + 0.5
    for n in (0, 2):
        x1, y1, x2, y2 = corners[n]
        truth = ((x - (x1 + x2) / 2) / ((x2 - x1) / 2)) ** 2 + (
            (y - (y1 + y2) / 2) / ((y2 - y1) / 2)
        ) ** 2 <= 1
        own = found[which == n]
        areas = ((own[:, 2] - own[:, 0]) * (own[:, 3] - own[:, 1])).sum()
        assert areas == pytest.approx(np.pi / 4 * (x2 - x1) * (y2 - y1), rel=1e-4)
        strip = inside(own[None], (100, 100))[0]
        assert (strip & truth).sum() / (strip | truth).sum() > 0.96
    nothing, of = strips(np.zeros((0, 4), np.float32), np.zeros(0, bool))
    assert nothing.shape == (0, 4)
    assert not len(of)


def test_ellipses_are_attention_and_places_to_be_found(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "images", 2, shape=(64, 64))
    boxes = pl.DataFrame(
        {
            "case_id": ["case-00", "case-01"],
            "label": ["Mass", "Mass"],
            "x1": [10.0] * 2,
            "y1": [20.0] * 2,
            "x2": [50.0] * 2,
            "y2": [44.0] * 2,
            "shape": ["ellipse", "box"],
        }
    )
    cohort = replace(
        cohort,
        boxes=boxes,
        readings=cohort.readings.clear(),
        fixations=cohort.fixations.clear(),
        rejections=cohort.rejections.clear(),
    )
    store = prepare(cohort, tmp_path / "store", size=64, workers=1)
    assert store.boxes["shape"].to_list() == ["ellipse", "box"]
    spec = GazeMaps(sigma=0.4, unit="pixels", boxes="attention")
    cases = GazeDataset(store, None, size=64, gaze=spec)
    maps = collate([cases[0], cases[1]]).gaze_maps()[:, 0]
    corner, middle = (22, 12), (32, 30)
    assert maps[0][corner] < 0.01
    assert maps[1][corner] > 0.9
    assert maps[0][middle] == pytest.approx(1, abs=1e-3)
    assert maps[0].sum() / maps[1].sum() == pytest.approx(np.pi / 4, rel=0.02)
