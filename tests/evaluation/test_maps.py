from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from radgaze.errors import UserError
from radgaze.evaluation.baselines import BaselineInputs
from radgaze.evaluation.baselines.lung_shape import LungShape
from radgaze.evaluation.maps import case_maps, smoothed, stream_maps
from radgaze.evaluation.options import Target
from radgaze.store.dataset import GazeDataset
from radgaze.store.lungs import draw_lung_shape
from radgaze.store.mean_gaze import average_gaze
from tests.evaluation.fakes import SIZE, FakeRun
from tests.evaluation.known import known
from tests.store.cohorts import make_cohort, write_dicom
from tests.stores import prepare


def test_cases_come_in_the_order_asked_for_whatever_the_batches(tmp_path: Path) -> None:
    run = FakeRun(tmp_path)
    ids = ["test-07", "test-03", "test-10", "test-00", "test-01"]
    few, all_at_once = case_maps(run, ids, batch_size=2), case_maps(run, ids, batch_size=9)
    assert few.case_ids == tuple(ids)
    for name in (
        "image",
        "heatmap",
        "grad_cam",
        "mask",
        "gaze",
        "points",
        "present",
        "probabilities",
        "labels",
        "patients",
    ):
        np.testing.assert_allclose(getattr(few, name), getattr(all_at_once, name), atol=1e-6, err_msg=name)
    assert few.has_gaze.tolist() == [True, False, True, True, True]
    assert few.gaze[1].max() == 0
    assert few.image.shape == few.heatmap.shape == known(few.mask).shape == (5, SIZE, SIZE)


def test_rows_agree_with_the_runs_predictions(tmp_path: Path) -> None:
    run = FakeRun(tmp_path)
    maps = case_maps(run, ["test-05", "test-02"])
    table = run.predictions()
    for row, case in enumerate(maps.case_ids):
        own = table.filter(case_id=case).row(0, named=True)
        np.testing.assert_allclose(maps.probabilities[row], [own[f"probability_{c}"] for c in run.classes])
        assert maps.labels[row].tolist() == [own[f"label_{c}"] for c in run.classes]
        assert maps.patients[row] == own["patient"]


def test_the_heatmap_is_of_the_class_asked_for(tmp_path: Path) -> None:
    run = FakeRun(tmp_path)
    model = run.model()
    heat = run.generator(model, "guided_backprop")
    targets: tuple[Target, ...] = ("predicted", "true")
    for target in targets:
        for part, batch in zip(
            stream_maps(run, "test", target=target, batch_size=5), run.batches("test", 5), strict=True
        ):
            of = batch.label.argmax(1) if target == "true" else "predicted"
            np.testing.assert_allclose(part.heatmap, heat(batch.image, of).numpy()[:, 0], atol=1e-6)


def test_a_run_without_decoder_has_no_mask(tmp_path: Path) -> None:
    assert case_maps(FakeRun(tmp_path, decoder=False), ["test-00"]).mask is None


def test_asking_for_no_case_is_a_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no case is given"):
        case_maps(FakeRun(tmp_path), [])


def test_smoothing_equals_scipys_filter_with_a_sigma_for_each_axis() -> None:
    maps = np.random.default_rng(0).random((2, 30, 40))
    sigma = np.array([[2.0, 3.0], [1.0, 5.0]])
    expected = [gaussian_filter(m, tuple(s), mode="reflect") for m, s in zip(maps, sigma, strict=True)]
    np.testing.assert_allclose(smoothed(maps, sigma), expected, atol=1e-5)


def test_mean_gaze_is_the_mean_map_of_the_cases_with_gaze(tmp_path: Path) -> None:
    run = FakeRun(tmp_path)
    found, n = average_gaze(run.batches("test", 5), (SIZE, SIZE))
    maps = case_maps(run, [case.case_id for case in run.of_split("test") if case.gaze])
    assert n == len(maps) == 23
    np.testing.assert_allclose(found, maps.gaze.mean(0), atol=1e-6)
    nothing, none = average_gaze([], (SIZE, SIZE))
    assert none == 0
    assert nothing.max() == 0


def test_the_lungs_are_two_mirrored_and_scale_with_the_frame() -> None:
    lungs = draw_lung_shape((200, 200))
    np.testing.assert_array_equal(lungs, lungs[:, ::-1])
    assert set(np.unique(lungs)) == {0, 1}
    assert lungs[:, 95:105].max() == 0
    assert 0.25 < lungs.mean() < 0.45
    upper, lower = lungs[:94].sum(), lungs[94:].sum()
    assert lower > 1.1 * upper
    coarse = draw_lung_shape((50, 50)).repeat(4, 0).repeat(4, 1)
    assert np.abs(coarse - lungs).mean() < 0.02


@pytest.mark.parametrize("fit", ["stretch", "pad"])
def test_lungs_are_the_cases_own_where_a_store_has_both(
    tmp_path: Path, fit: Literal["stretch", "pad"]
) -> None:
    """The radiograph is dark but for its lungs, so that what a model sees of it is the oracle."""
    cohort = make_cohort(tmp_path / "source", 5, shape=(100, 80))
    draw = np.random.default_rng(0)
    sides = np.zeros((2, 100, 80), dtype=bool)
    sides[0, 15:70, 45:70] = draw.random((55, 25)) > 0.1
    sides[1, 10:80, 8:33] = True
    write_dicom(Path(cohort.cases["image"][0]), sides.any(0).astype(float))
    for k, name in enumerate(("left", "right")):
        Image.fromarray(sides[k]).save(tmp_path / f"{name}.png")
    Image.fromarray(np.zeros((100, 80), dtype=bool)).save(tmp_path / "none.png")
    rows = [
        ("case-00", "Left lung", "left"),
        ("case-00", "right_lung", "right"),
        ("case-00", "mediastinum", "left"),
        ("case-01", "left lung", "left"),  # one side alone
        ("case-02", "left lung", "left"),
        ("case-02", "right lung", "none"),  # an empty file
        ("case-03", "Lung (L)", "left"),
        ("case-03", "lung_right_mask", "right"),
    ]
    regions = pl.DataFrame(
        [(case, label, str(tmp_path / f"{file}.png")) for case, label, file in rows],
        schema=cohort.regions.schema,
        orient="row",
    )
    store = prepare(replace(cohort, regions=regions), tmp_path / "store", size=100, workers=1)
    lungs = LungShape(BaselineInputs(store, fit, 40))
    ids = ["case-00", "case-01", "case-02", "case-04"]
    found = lungs(ids)
    seen = GazeDataset(store, size=40, fit=fit, gaze=None)[0].image[0].numpy()
    np.testing.assert_allclose(found[0], seen, atol=0.02)
    for other in found[1:]:
        np.testing.assert_array_equal(other, draw_lung_shape((40, 40)))
    assert lungs.counts([*ids, "case-03"]) == {"own_lungs": 2}
