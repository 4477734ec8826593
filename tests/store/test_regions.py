"""Mask files in a store: letterboxed as their images, moved with them, standing in for gaze as boxes do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from radgaze.dicom.error import DicomError
from radgaze.errors import UserError
from radgaze.gaze import GazeMaps
from radgaze.sources.cohort import Cohort
from radgaze.sources.contents import NO_REGIONS
from radgaze.store import merge
from radgaze.store.augmentation import Augmentation
from radgaze.store.batch import collate
from radgaze.store.dataset import GazeDataset
from radgaze.store.journal import Done
from radgaze.store.letterboxing import letterbox
from radgaze.store.masks import read_region, unpacked
from radgaze.store.merge import MergeOptions
from radgaze.store.partial import Partial
from radgaze.store.pixels import Fitted
from radgaze.store.store import Store
from tests.store.cohorts import contents, make_cohort, write_dicom
from tests.stores import prepare

ATTENTION = GazeMaps(sigma=5, boxes="attention")


def written(path: Path, inside: np.ndarray) -> str:
    Image.fromarray(np.asarray(inside, dtype=bool)).save(path)
    return str(path)


def marked(cohort: Cohort, rows: list[tuple[str, str, str]]) -> Cohort:
    """The cohort with these regions: case, label, file; and no boxes."""
    regions = pl.DataFrame(rows, schema=NO_REGIONS, orient="row")
    return replace(cohort, regions=regions, boxes=cohort.boxes.clear())


@pytest.mark.parametrize(("rows", "columns"), [(90, 61), (61, 90), (64, 64), (200, 37)])
@pytest.mark.parametrize("zoom", [1, 2, 0.5])
def test_a_pixel_is_inside_if_half_of_what_it_covers_is(
    tmp_path: Path, rows: int, columns: int, zoom: float
) -> None:
    """Against areas taken point by point, on the image's own letterbox."""
    height, width = round(rows * zoom), round(columns * zoom)
    draw = np.random.default_rng(3)
    coarse = draw.random((6, 5)) > 0.5
    mask = coarse[np.arange(height)[:, None] * 6 // height, np.arange(width) * 5 // width]
    size = 48
    found = unpacked(
        read_region(written(tmp_path / "mask.png", mask), rows=rows, columns=columns, size=size), size
    )
    box, fine = letterbox(rows, columns, size), 16
    at = (np.arange(size * fine) + 0.5) / fine
    x, y = (at - box.pad_x) / box.scale / columns, (at - box.pad_y) / box.scale / rows  # shares of the image
    hit = np.zeros((size * fine, size * fine))
    on_y = (y >= 0) & (y < 1) & (at < box.pad_y + box.height)
    on_x = (x >= 0) & (x < 1) & (at < box.pad_x + box.width)
    inner = mask[np.minimum((y[on_y] * height).astype(int), height - 1)][
        :, np.minimum((x[on_x] * width).astype(int), width - 1)
    ]
    hit[np.ix_(on_y, on_x)] = inner
    share = hit.reshape(size, fine, size, fine).mean((1, 3))
    sure = np.abs(share - 0.5) > 0.04
    assert sure.mean() > 0.9
    np.testing.assert_array_equal(found[sure], share[sure] > 0.5)


def test_a_mask_of_another_image_is_refused_and_costs_only_itself(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "source", 3, shape=(100, 80))
    good = written(tmp_path / "good.png", np.ones((50, 40)))
    turned = written(tmp_path / "turned.png", np.ones((40, 50)))
    (tmp_path / "cut.png").write_bytes(Path(good).read_bytes()[:40])
    with pytest.raises(DicomError, match="size_mismatch: 50×40 pixels on an image of 80×100"):
        read_region(turned, rows=100, columns=80, size=32)
    rows = [("case-00", "a", turned), ("case-00", "b", good), ("case-01", "a", str(tmp_path / "cut.png"))]
    store = prepare(marked(cohort, rows), tmp_path / "store", size=32, workers=1)
    assert store.cases.height == 3
    assert store.regions.table.select("case_id", "label").rows() == [("case-00", "b")]
    lost = store.rejections.filter(pl.col("reason").is_in(["size_mismatch", "unreadable_mask"]))
    assert sorted(lost.select("reason", "case_id").rows()) == [
        ("size_mismatch", "case-00"),
        ("unreadable_mask", "case-01"),
    ]
    assert "50×40" in lost.filter(reason="size_mismatch")["detail"][0]
    assert not any(str(tmp_path) in detail for detail in lost["detail"])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Cases 3 and 7 have no gaze; masks of findings, a class (case 3 is Normal), an organ, nothing."""
    folder = tmp_path_factory.mktemp("regions")
    cohort = make_cohort(folder / "source", 9, shape=(100, 80))
    top, left = np.zeros((2, 100, 80), dtype=bool)
    top[20:60], left[:, :30] = True, True
    files = {
        "top": written(folder / "top.png", top),
        "left": written(folder / "left.png", left),
        "none": written(folder / "none.png", np.zeros((100, 80))),
    }
    rows = [
        ("case-00", "opacity", "top"),
        ("case-03", "Opacity", "top"),
        ("case-03", "PNEUMONIA", "left"),
        ("case-03", "normal", "left"),
        ("case-03", "Left Lung", "top"),
        ("case-06", "mediastinum", "top"),
        ("case-07", "pneumonia", "left"),
        ("case-07", "opacity", "none"),
        ("case-07", "Mediastinum", "top"),
    ]
    regions = [(case, label, files[file]) for case, label, file in rows]
    return prepare(marked(cohort, regions), folder / "store", size=100, workers=1)


def test_regions_stand_in_for_gaze_as_boxes_of_their_shape_do(store: Store, tmp_path: Path) -> None:
    batch = collate(list(GazeDataset(store, size=50, gaze=ATTENTION, fit="stretch")))
    assert batch.has_gaze.dtype == torch.bool
    # Case 7 is CHF: a mask of pneumonia is none of its own, an empty one is nothing, every case has an organ.
    assert batch.has_gaze.tolist() == [i != 7 for i in range(9)]
    cases = GazeDataset(store, size=50, gaze=ATTENTION)
    assert cases.attended.tolist() == batch.has_gaze.tolist()
    assert cases.with_boxes_for_gaze == 1
    assert GazeDataset(store, size=50, gaze=GazeMaps()).with_boxes_for_gaze == 0
    # Boxes over the same pixels: the union of both in case 3.
    boxes = pl.DataFrame(
        [("case-03", "opacity", 0.0, 20.0, 80.0, 60.0), ("case-03", "normal", 0.0, 0.0, 30.0, 100.0)],
        schema=["case_id", "label", "x1", "y1", "x2", "y2"],
        orient="row",
    )
    cohort = make_cohort(tmp_path / "source", 9, shape=(100, 80))
    cohort = replace(cohort, boxes=boxes, regions=cohort.regions.clear())
    boxed = prepare(cohort, tmp_path / "boxed", size=100, workers=1)
    for fit in ("stretch", "pad"):
        of_masks = collate(list(GazeDataset(store, size=50, gaze=ATTENTION, fit=fit)))
        of_boxes = collate(list(GazeDataset(boxed, size=50, gaze=ATTENTION, fit=fit)))
        for size in (None, 25, (20, 40)):
            torch.testing.assert_close(
                of_masks.gaze_maps(size)[3],
                of_boxes.gaze_maps(size)[3],
                atol=0.01 if size is None else 0.05,
                rtol=0,
            )
            assert of_masks.gaze_maps(size)[3].max() == pytest.approx(1, abs=1e-4)


def test_a_sample_has_the_map_that_the_batch_has(store: Store) -> None:
    samples = list(GazeDataset(store, size=50, gaze=ATTENTION, maps=True))
    torch.testing.assert_close(
        torch.stack([s.gaze for s in samples if s.gaze is not None]), collate(samples).gaze_maps()
    )


def test_a_region_moves_with_its_image(tmp_path: Path) -> None:
    """The image is its mask: however it is turned, zoomed and flipped, what is bright is what is inside."""
    cohort = make_cohort(tmp_path / "source", 1, shape=(200, 200))
    picture = np.zeros((200, 200))
    picture[60:120, 80:110] = 1
    picture[100:150, 60:100] = 1
    write_dicom(Path(cohort.cases["image"][0]), picture)
    cohort = marked(cohort, [("case-00", "x", written(tmp_path / "mask.png", picture))])
    store = prepare(cohort, tmp_path / "store", size=200, workers=1)
    augment = Augmentation(rotate=25, scale=(0.8, 1.2), translate=0.1, brightness=0, contrast=0, flip=0.5)
    cases = GazeDataset(store, size=200, gaze=ATTENTION, augment=augment)
    plain = GazeDataset(store, size=200, gaze=ATTENTION)[0].regions
    assert plain is not None
    moved = 0
    for epoch in range(6):
        cases.set_epoch(epoch)
        sample = cases[0]
        assert sample.regions is not None
        np.testing.assert_allclose(sample.regions[0] / 255, sample.image[0], atol=0.02)
        moved += int((sample.regions.float() - plain).abs().mean() > 5)
    assert moved >= 5


def test_workers_change_no_byte(store: Store) -> None:
    loader = torch.utils.data.DataLoader(
        GazeDataset(store, size=50, gaze=ATTENTION, augment=Augmentation()),
        batch_size=3,
        collate_fn=collate,
        num_workers=2,
    )
    straight = GazeDataset(store, size=50, gaze=ATTENTION, augment=Augmentation())
    found = [region for batch in loader for region in batch.own_regions()]
    assert len(found) == 9
    for i, region in enumerate(found):
        own = collate([straight[i]]).own_regions()[0]
        assert torch.equal(region, own)


def test_a_mask_that_changed_makes_another_store_and_one_that_did_not_the_same(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cohort = make_cohort(tmp_path / "source", 3)
    store = prepare(cohort, tmp_path / "store", size=32, workers=1)
    before = contents(store.path)
    prepare(cohort, tmp_path / "store", size=32, workers=1)
    assert "left as it is" in capfd.readouterr().err
    file = Path(cohort.regions["file"][0])
    with Image.open(file) as picture:
        inverse = ~np.asarray(picture, dtype=bool)
    written(file, inverse)
    store = prepare(cohort, tmp_path / "store", size=32, workers=1, overwrite=True)
    after = contents(store.path)
    assert {name for name in before if before[name] != after[name]} == {
        "regions/shard-00000.npy",
        "regions.parquet",
        "manifest.json",
    }


def test_a_mask_written_after_the_store_is_taken_for_another(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "source", 3)
    store = prepare(cohort, tmp_path / "store", size=32, workers=1)
    later = (store.path / "manifest.json").stat().st_mtime_ns + 10**9
    os.utime(cohort.regions["file"][0], ns=(later, later))
    with pytest.raises(UserError, match="its source has changed since"):
        prepare(cohort, tmp_path / "store", size=32, workers=1)


def test_a_mask_that_was_lost_in_an_interruption_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    cohort = make_cohort(tmp_path / "source", 6)
    put = Partial.put

    def once(self: Partial, i: int, image: Fitted) -> Done:
        if len(self.done()) == 4:
            raise KeyboardInterrupt
        return put(self, i, image)

    monkeypatch.setattr(Partial, "put", once)
    with pytest.raises(KeyboardInterrupt):
        prepare(cohort, tmp_path / "store", size=32, workers=1)
    monkeypatch.undo()
    (shard,) = (tmp_path / "store.partial").rglob("regions/shard-00000.npy")
    bits = np.load(shard, mmap_mode="r+")
    bits[0] ^= 0xFF  # of the second case; its image is whole
    bits.flush()
    capfd.readouterr()
    prepare(cohort, tmp_path / "store", size=32, workers=1)
    assert "3 of 6 images are done" in " ".join(capfd.readouterr().err.split())
    straight = prepare(cohort, tmp_path / "straight", size=32, workers=1)
    assert contents(tmp_path / "store") == contents(straight.path)


# Merged


def merged(folder: Path, *, named: Sequence[str] = (), absent: bool = False) -> Store:
    """Two stores of the same four images; of case-01 (CHF) both have one mask, and each has one more."""
    paths = []
    for name, also in (("one", "opacity"), ("two", "CHF")):
        cohort = make_cohort(folder / f"{name}-images", 4, shape=(64, 64))
        both, own = np.zeros((2, 64, 64), dtype=bool)
        both[10:30, 10:30], own[40:50, 5:60] = True, True
        rows = [
            ("case-01", "pneumonia", written(folder / f"{name}-both.png", both)),
            ("case-01", also, written(folder / f"{name}-own.png", own)),
        ]
        paths.append(prepare(marked(cohort, rows), folder / name, size=32, workers=1).path)
    cohort = merge.read(MergeOptions(paths, map=named, absent=absent))
    for path in paths:
        assert path.is_dir()
    return prepare(cohort, folder / "merged", size=32, fitted=True, workers=1)


def test_of_one_image_in_two_stores_every_mask_is_kept_once_with_its_bits(tmp_path: Path) -> None:
    store = merged(tmp_path)
    assert store.regions.table.select("case_id", "label").rows() == [
        ("case-01", "pneumonia"),
        ("case-01", "opacity"),
        ("case-01", "CHF"),
    ]
    one, two = Store.open(tmp_path / "one"), Store.open(tmp_path / "two")
    np.testing.assert_array_equal(store.regions[0], one.regions[0])
    np.testing.assert_array_equal(store.regions[1], one.regions[1])
    np.testing.assert_array_equal(store.regions[2], two.regions[1])
    assert store.regions.table["area"].to_list() == [int(store.regions[i].sum()) for i in range(3)]
    shutil.rmtree(tmp_path / "one")
    assert Store.open(store.path).regions[1].any()


def test_masks_and_boxes_are_called_as_their_class_and_go_with_it(tmp_path: Path) -> None:
    store = merged(tmp_path, named=["CHF=edema", "pneumonia="], absent=True)
    assert set(store.classes) == {"Normal", "edema"}
    assert set(store.regions.table["label"]) == {"opacity", "edema"}
    folder = tmp_path / "boxes"
    cohort = make_cohort(folder / "images", 4)
    label = pl.Series(["chf", "Pneumonia", "heart", "CHF"])
    boxes = prepare(
        replace(cohort, boxes=cohort.boxes.with_columns(label=label)), folder / "one", size=32, workers=1
    )
    other = prepare(make_cohort(folder / "more", 4, seed=5), folder / "two", size=32, workers=1)
    found = merge.read(
        MergeOptions([boxes.path, other.path], map=["CHF=edema", "pneumonia="], absent=True)
    ).boxes
    # Case 2 of each store is pneumonia alone, and so in neither.
    assert sorted(found["label"]) == ["edema"] * 2 + ["heart"] * 3
