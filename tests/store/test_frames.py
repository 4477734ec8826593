"""The gaze of a batch as frames: in time order, on the image, masked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch

from radgaze.gaze import Frames, GazeMaps, reference_frames, static_maps
from radgaze.store.augmentation import Augmentation
from radgaze.store.batch import Batch, collate
from radgaze.store.dataset import GazeDataset
from radgaze.store.store import Store
from tests.store.cohorts import make_cohort
from tests.stores import prepare

SIZE = 32


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Eight cases whose fixations are stored in no order; one of the first reading was off the image."""
    folder = tmp_path_factory.mktemp("frames")
    cohort = make_cohort(folder / "source", 8)
    kept = cohort.fixations.collect().filter(~((pl.col("reading_id") == "r0") & (pl.col("index") == 2)))
    cohort = replace(cohort, fixations=kept.sample(fraction=1.0, shuffle=True, seed=3).lazy())
    return prepare(cohort, folder / "store", size=96, workers=1)


def batch_of(store: Store, gaze: GazeMaps | None = None, augment: Augmentation | None = None) -> Batch:
    return collate(list(GazeDataset(store, size=SIZE, gaze=gaze or GazeMaps(sigma=15), augment=augment)))


def test_fixations_come_in_time_order_with_onset_and_place(store: Store) -> None:
    for sample in GazeDataset(store, size=SIZE, gaze=GazeMaps()):
        mine = store.readings.filter(case_id=sample.case_id)
        table = store.fixations.join(mine, on="reading_id").sort("onset")
        torch.testing.assert_close(
            sample.times.double(), torch.from_numpy(table.select("onset", "duration").to_numpy())
        )
        assert sample.order.tolist() == table["index"].to_list()
        assert sample.weights.tolist() == sample.times[:, 1].tolist()
        assert sample.recorded == mine["recorded"].sum()


def test_readings_of_one_case_follow_one_another(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "source", 4)
    first = cohort.readings["case_id"][0]
    cohort = replace(cohort, readings=cohort.readings.with_columns(case_id=pl.lit(first)))
    sample = GazeDataset(prepare(cohort, tmp_path / "store", size=32, workers=1), gaze=GazeMaps())[0]
    before, expected, onsets = 0, [], []
    for reading, recorded in cohort.readings.select("reading_id", "recorded").iter_rows():
        table = cohort.fixations.collect().filter(reading_id=reading).sort("onset")
        expected += [before + index for index in table["index"]]
        onsets += table["onset"].to_list()
        before += recorded
    assert sample.order.tolist() == expected
    assert sample.times[:, 0].tolist() == pytest.approx(onsets)
    assert sample.recorded == before


def test_each_fixations_frame_is_its_map_drawn_alone(store: Store) -> None:
    samples = list(GazeDataset(store, size=SIZE, gaze=GazeMaps(sigma=15)))
    frames, there = collate(samples).frames(Frames())
    assert there.sum(1).tolist() == [len(sample.weights) for sample in samples]
    assert frames.shape == (8, max(len(sample.weights) for sample in samples), SIZE, SIZE)
    for sample, found, mask in zip(samples, frames, there, strict=True):
        for k in range(len(sample.weights)):
            one = slice(k, k + 1)
            alone = static_maps(
                sample.points[None, one], sample.weights[None, one], (SIZE, SIZE), sample.sigma[None]
            )
            torch.testing.assert_close(found[k], alone[0, 0])
        assert mask.tolist() == [k < len(sample.weights) for k in range(len(mask))]
        assert not found[~mask].any()


def test_reference_frames_are_the_authors_with_a_flat_one_for_the_fixation_off_the_image(
    store: Store,
) -> None:
    batch = batch_of(store, GazeMaps("reference", sigma=15))
    frames, there = batch.frames(Frames(off_image=True))
    rows, columns = store.cases.row(0, named=True)["rows"], store.cases.row(0, named=True)["columns"]
    recorded = int(batch.recorded[0])
    points = torch.full((recorded, 2), -2.0)  # as the source has what was off the image
    for row in store.fixations.filter(reading_id="r0").iter_rows(named=True):
        points[row["index"]] = torch.tensor([row["x"], row["y"]])
    assert (points < 0).all(1).nonzero()[:, 0].tolist() == [2, recorded - 1]
    expected = reference_frames(points, (rows, columns), (SIZE, SIZE), sigma=15)[0]
    assert int(there[0].sum()) == recorded
    # The image lies on whole pixels of the store's square, which shifts the maps by a few grey levels.
    torch.testing.assert_close(frames[0, :recorded], expected, atol=0.03, rtol=0)
    assert len(set(frames[0, 2].flatten().tolist())) == 1
    # Ours leaves it out.
    assert int(batch.frames(Frames())[1][0].sum()) == recorded - 2


def test_a_cap_keeps_the_first_frames_and_the_data_set_counts_all(store: Store) -> None:
    cases = GazeDataset(store, size=SIZE, gaze=GazeMaps(sigma=15))
    batch = collate(list(cases))
    for how in (Frames(), Frames("seconds", 0.5), Frames(off_image=True)):
        frames, there = batch.frames(how)
        few, first = batch.frames(replace(how, most=2))
        assert torch.equal(few, frames[:, :2])
        assert torch.equal(first, there[:, :2])
        assert cases.frame_counts(how).tolist() == there.sum(1).tolist()


def test_time_bins_hold_the_fixations_whose_middle_lies_in_them(store: Store) -> None:
    batch = batch_of(store)
    frames, there = batch.frames(Frames("seconds", 0.5))
    for i in range(len(batch)):
        own = batch.order[i] >= 0
        middle = batch.times[i, :, 0] + batch.times[i, :, 1] / 2
        for t in range(frames.shape[1]):
            inside = own & (middle >= 0.5 * t) & (middle < 0.5 * (t + 1))
            weights = torch.where(inside, batch.weights[i], 0)[None]
            alone = static_maps(batch.points[i : i + 1], weights, (SIZE, SIZE), batch.sigma[i : i + 1])
            torch.testing.assert_close(frames[i, t], alone[0, 0])
        last = int(middle[own].max() / 0.5) if own.any() else -1
        assert int(there[i].sum()) == last + 1


def test_augmentation_moves_the_frames_with_the_image(store: Store) -> None:
    still = Augmentation(rotate=0, scale=(1, 1), translate=0, brightness=0, contrast=0, flip=1.0)
    frames, there = batch_of(store).frames(Frames())
    flipped, same = batch_of(store, augment=still).frames(Frames())
    assert torch.equal(there, same)
    torch.testing.assert_close(flipped, frames.flip(-1), atol=1e-5, rtol=1e-4)
    zoomed = batch_of(store, augment=replace(still, flip=0.0, scale=(2.5, 2.5)))
    assert int((zoomed.weights > 0).sum()) < int((zoomed.order >= 0).sum())  # some have left the image
    assert torch.equal(zoomed.frames(Frames())[1].sum(1), (zoomed.weights > 0).sum(1))


def test_a_batch_without_gaze_has_one_frame_that_is_not_there(store: Store) -> None:
    nobody = collate([GazeDataset(store, size=SIZE, gaze=GazeMaps())[i] for i in (3, 7)])
    for how in (Frames(), Frames("seconds"), Frames(off_image=True)):
        frames, there = nobody.frames(how)
        assert frames.shape == (2, 1, SIZE, SIZE)
        assert not frames.any()
        assert there.tolist() == [[False], [False]]
    with pytest.raises(ValueError, match="no gaze"):
        collate(list(GazeDataset(store, size=SIZE, gaze=None))).frames(Frames())
