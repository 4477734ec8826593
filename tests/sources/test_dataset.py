"""A user's data set in Python: what an item may be, and what the store holds of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch.utils.data import DataLoader, TensorDataset

import radgaze as rg
from radgaze.gaze.maps import static_maps
from radgaze.predicting.arrays import greys, planes
from radgaze.sources.dataset import DatasetOptions, cohort_of
from radgaze.sources.dataset_item import Item, read_item
from radgaze.sources.dataset_labels import labels_of
from radgaze.sources.gaze_points import points_of_map
from radgaze.store.parts import LUNGS, part_regions
from radgaze.store.pixels import fit

CLASSES = ("normal", "mass", "fracture")
DRAW = np.random.default_rng(0)
IMAGE = DRAW.random((24, 32))
SQUARE = DRAW.random((96, 96))


def item(**parts: object) -> Item:
    return read_item({"image": IMAGE, "label": 0, **parts}, points=64)


@pytest.mark.parametrize(
    ("image", "bits"),
    [
        (DRAW.integers(0, 256, (5, 7), dtype=np.uint8), 8),
        (DRAW.integers(0, 65536, (5, 7), dtype=np.uint16), 16),
        (DRAW.integers(0, 65536, (5, 7), dtype=np.uint16).astype(">u2"), 16),
        (DRAW.random((1, 5, 7)).astype(np.float32), 8),
        (torch.rand(1, 5, 7, requires_grad=True), 8),
        (torch.rand(5, 7, dtype=torch.float64), 8),
        (torch.rand(5, 7).bfloat16(), 8),
        (np.full((5, 7), 1.00005), 8),
    ],
)
def test_an_image_keeps_its_greys(image: Any, bits: int) -> None:
    read = read_item((image, 0), points=1)
    values = np.asarray(image.detach().double() if isinstance(image, torch.Tensor) else image).reshape(5, 7)
    scale = np.iinfo(values.dtype).max if np.issubdtype(values.dtype, np.integer) else 1
    assert read.pixels.dtype.itemsize * 8 == bits
    assert_allclose(read.pixels / (2.0**bits - 1), values / scale, atol=0.51 / 255 if scale == 1 else 1e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (IMAGE, "must be .image, label"),
        ((IMAGE,), "must be .image, label"),
        ({"image": IMAGE}, "has no `label`"),
        ({"image": IMAGE, "label": 0, "gase": IMAGE}, "has the key 'gase'"),
        ((IMAGE * 255, 0), "from 0 .black. to 1 .white., got values from"),
        ((IMAGE * np.nan, 0), "must be finite"),
        ((np.zeros((3, 24, 32)), 0), "`image` must be .H, W."),
        ((np.zeros((24, 32), dtype=np.int64), 0), "must be uint8, uint16, or floating"),
        ((["a"], 0), "array of numbers"),
        ((IMAGE, 0, np.zeros((24, 24))), "24 × 24 pixels on an image of 24 × 32"),
        ((IMAGE, 0, -IMAGE), "must be a map of 0 or more"),
        ((IMAGE, 0, np.full((24, 32), np.inf)), "not finite"),
        ((IMAGE, 0, np.array([[1, 2, -3]])), "a duration of 0 or more"),
        ((SQUARE, 0, [[3, 4], [50, 60], [200, 30]]), r"fixations \(N, 3\) of x, y and a duration in seconds"),
        ((SQUARE, 0, np.zeros((0, 2))), r"fixations \(N, 3\)"),
        ((SQUARE, 0, np.ones((2, 2))), r"a map of two columns as \(1, 2, 2\)"),
        ((SQUARE, 0, np.eye(3)), r"fixations or a map: give a map as \(1, 3, 3\)"),
        ((SQUARE, 0, np.zeros((3, 3))), "fixations or a map"),
        ((SQUARE, 0, [[0, 0, 1], [0, 4, 0], [0, 0, 0]]), "fixations or a map"),
        ((np.ones((512, 300)), 0, DRAW.random((5, 3))), r"give a map as \(1, 5, 3\)"),
        ((np.ones((512, 640)), 0, np.ones((8, 8))), "8 × 8 pixels on an image of 512 × 640"),
        ({"image": IMAGE, "label": 0, "boxes": [[3, 3, 3, 9]]}, "must be .N, 4. of x1, y1"),
        ({"image": IMAGE, "label": 0, "boxes": [[3, 3, 3]]}, "must be .N, 4."),
        ({"image": IMAGE, "label": 0, "mask": np.ones((9, 9))}, "9 × 9 pixels"),
        ({"image": IMAGE, "label": 0, "mask": IMAGE * np.nan}, "`mask` has values that are not finite"),
        ({"image": IMAGE, "label": 0, "lungs": IMAGE * np.inf}, "`lungs` has values that are not finite"),
        ({"image": IMAGE, "label": 0, "patient": float("nan")}, "`patient` is a missing value, nan"),
        ({"image": IMAGE, "label": 0, "patient": np.float32("nan")}, "`patient` is a missing value"),
        ({"image": IMAGE, "label": 0, "patient": torch.tensor(float("nan"))}, "`patient` is a missing value"),
        ({"image": IMAGE, "label": 0, "id": np.datetime64("NaT")}, "`id` is a missing value"),
        ({"image": IMAGE, "label": 0, "split": "holdout"}, "must be train, validate or test"),
    ],
)
def test_an_item_that_is_not_as_documented_is_refused(given: object, message: str) -> None:
    with pytest.raises(rg.UserError, match=message):
        read_item(given, points=8)


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("shape", [(96, 96), (96, 288), (32, 96), (160, 96)])
def test_few_fixations_are_fixations_on_an_image_of_any_aspect(rows: int, shape: tuple[int, int]) -> None:
    x, y = DRAW.uniform(20, shape[1], rows), DRAW.uniform(0, shape[0], rows)
    gaze = np.stack([x, y, DRAW.uniform(0.05, 1.5, rows)], 1)
    assert_allclose(read_item((np.ones(shape), 0, gaze), points=9).fixations, gaze)


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        *(((96, 96), (side, side)) for side in (1, 4, 5, 8, 200)),
        *(((96, 96), (1, side, side)) for side in (2, 3)),
        *(((2544, 3056), size) for size in ((16, 19), (15, 18), (16, 20), (7, 8))),
        ((500, 333), (8, 5)),
        ((20, 3), (20, 3)),
        ((20, 2), (20, 2)),
    ],
)
def test_a_map_may_have_any_number_of_pixels(shape: tuple[int, int], size: tuple[int, ...]) -> None:
    assert len(read_item((np.ones(shape), 0, np.ones(size)), points=9).fixations) == 9


@pytest.mark.parametrize("part", ["gaze", "mask", "lungs", "boxes", "label"])
def test_a_part_of_an_item_may_be_a_tensor_of_bfloat16(part: str) -> None:
    given = torch.tensor([[1.0, 2, 5, 9]]) if part == "boxes" else torch.ones(24, 32)
    given = torch.tensor(1.0) if part == "label" else given
    read = item(**{part: given.bfloat16()})
    assert (len(read.fixations), len(read.masks), len(read.boxes)) == {
        "gaze": (64, 0, 0),
        "mask": (0, 1, 0),
        "lungs": (0, 1, 0),
        "boxes": (0, 0, 1),
        "label": (0, 0, 0),
    }[part]
    assert labels_of([read.label], CLASSES, None)[0] == [{"mass" if part == "label" else "normal"}]


@pytest.mark.parametrize("shape", [(24, 32, 3), (24, 32, 4), (3, 24, 32), (4, 24, 32)])
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_the_advice_for_an_image_with_colours_makes_one_that_is_taken(
    shape: tuple[int, ...], kind: type[np.generic]
) -> None:
    greys = DRAW.integers(0, 256, (24, 32)).astype(np.uint8)
    values = (greys if kind is np.uint8 else greys / 255).astype(kind)
    image = np.broadcast_to(values[..., None] if shape[0] == 24 else values, shape)
    with pytest.raises(rg.UserError, match="colours become greys by") as refused:
        read_item((image, 0), points=1)
    advice = str(refused.value).split("`")[3]
    made = read_item((eval(advice, {"image": image}), 0), points=1).pixels
    assert_allclose(made / np.iinfo(made.dtype).max, greys / 255, atol=1e-4)


@pytest.mark.parametrize(
    ("label", "names"),
    [
        (1, {"mass"}),
        (np.int64(2), {"fracture"}),
        (torch.tensor(2), {"fracture"}),
        (torch.tensor([1.0]), {"mass"}),
        ("mass", {"mass"}),
        (("mass", "fracture"), {"mass", "fracture"}),
        ([0, 1, 1], {"mass", "fracture"}),
        (torch.tensor([0.0, 0.0, 0.0]), set()),
        (np.array([True, False, False]), {"normal"}),
    ],
)
def test_a_label_is_an_index_names_or_flags(label: object, names: set[str]) -> None:
    (read,), exclusive = labels_of([label], CLASSES, None)
    assert read == names
    assert exclusive == (len(names) == 1)


@pytest.mark.parametrize(
    "label",
    [
        *(3, -1, 0.5, "masss", ("mass", "?"), [0, 1], [0, 2, 0], None, {"a": 1}),
        *(float("nan"), np.float32("nan"), torch.tensor([float("nan")]), float("-inf"), [0, np.nan, 1]),
    ],
)
def test_another_label_is_refused_with_the_number_of_its_item(label: object) -> None:
    with pytest.raises(rg.UserError, match="item 1 of the data set: `label`"):
        labels_of([0, label], CLASSES, None)


def test_classes_are_exclusive_only_where_each_item_has_one() -> None:
    with pytest.raises(rg.UserError, match="item 1 of the data set has 2 classes"):
        labels_of([0, ("mass", "normal")], CLASSES, True)
    assert labels_of([0, 1], CLASSES, False)[1] is False
    assert labels_of([0, 0], ("one",), None)[1] is False


def test_points_of_a_map_make_the_same_smooth_map() -> None:
    draw, sigma, shape = np.random.default_rng(1), 2.5, (48, 40)
    values = draw.random(shape) ** 8
    values[5:15, 8:12] += 2

    def smooth(points: np.ndarray, weights: np.ndarray) -> np.ndarray:
        at, of_each = torch.tensor(points)[None], torch.tensor(weights)[None]
        return static_maps(at, of_each, shape, sigma, normalise="sum")[0, 0].numpy()

    rows, columns = np.indices(shape) + 0.5
    every = np.stack([columns.ravel(), rows.ravel()], 1)
    expected = smooth(every, values.ravel())
    drawn = points_of_map(values, shape, 256)
    made = smooth(drawn[:, :2], drawn[:, 2])
    assert np.corrcoef(made.ravel(), expected.ravel())[0, 1] > 0.99
    assert drawn[:, 2].sum() == pytest.approx(1)
    # The number of points of each square of the curve is its share of the map.
    inside = (drawn[:, 0] < 16) & (drawn[:, 1] < 16)
    assert inside.mean() == pytest.approx(values[:16, :16].sum() / values.sum(), abs=2 / 256)


def test_points_are_in_pixels_of_the_image_for_a_map_of_another_size() -> None:
    values = np.zeros((12, 16))
    values[3, 4] = 5
    drawn = points_of_map(values, (24, 32), 3)
    assert_allclose(drawn, [[9, 7, 1 / 3]] * 3)
    assert points_of_map(np.zeros((12, 16)), (24, 32), 3).shape == (0, 3)


class Cases:
    """Two items of each of 12 patients, with everything that an item may have."""

    def __len__(self) -> int:
        return 24

    def __getitem__(self, i: int) -> dict[str, object]:
        inside = np.zeros((24, 32))
        inside[4:10, 6:12] = 1
        return {
            "image": np.random.default_rng(i).random((24, 32)).astype(np.float32),
            "label": CLASSES[i // 2 % 3],
            "gaze": [[8.5, 6.5, 0.25], [40, 5, 0.125], [20, 10, 0.5]] if i % 2 else inside,
            "mask": {"mass": inside, "fracture": inside * 0},
            "lungs": inside,
            "boxes": {"mass": [[1, 2, 5, 40]]},
            "patient": f"p{i // 2}",
            "split": ("train", "val", "test")[i // 2 % 3],
            "id": f"i{i}",
        }


class Changed(Cases):
    """Items that differ from `Cases` in one pixel of one mask."""

    def __getitem__(self, i: int) -> dict[str, object]:
        changed = super().__getitem__(i)
        if i == 5:
            lungs = np.array(changed["lungs"])
            lungs[0, 0] = 1
            changed["lungs"] = lungs
        return changed


def test_a_store_holds_what_the_items_have(tmp_path: Path) -> None:
    store = rg.prepare(Cases(), classes=CLASSES, out=tmp_path / "store", workers=1)
    cases = store.cases
    assert cases["case_id"].to_list() == [f"i{i}" for i in range(24)]
    assert cases["patient"].to_list() == [i // 2 for i in range(24)]
    assert cases["split"].to_list()[:6] == ["train", "train", "validate", "validate", "test", "test"]
    assert (store.classes, store.exclusive, store.size) == (CLASSES, True, 32)
    assert cases.select("rows", "columns").unique().row(0) == (24, 32)
    square = store.image(3)[4:28]
    assert_allclose(square / 255, np.random.default_rng(3).random((24, 32)).astype(np.float32), atol=2 / 255)
    fixations = store.fixations.filter(reading_id="i1/0")
    assert fixations.select("index", "x", "y", "onset", "duration").rows() == [
        (0, 8.5, 6.5, 0.0, 0.25),
        (2, 20.0, 10.0, 0.375, 0.5),
    ]
    assert store.readings.filter(case_id="i1")["recorded"].item() == 3
    of_map = store.fixations.filter(reading_id="i0/0")
    assert of_map.height == 256
    assert of_map["x"].is_between(6, 12).all()
    assert of_map["y"].is_between(4, 10).all()
    assert store.rejections["reason"].unique().to_list() == ["off_image_fixation"]
    assert store.boxes.filter(case_id="i0").row(0) == ("i0", "mass", 1, 2, 5, 24)
    labels = store.regions.table.filter(case_id="i0").select("label", "area").rows()
    assert sorted(labels) == [("fracture", 0), ("lungs", 36), ("mass", 36)]
    assert len(part_regions(store, cases, LUNGS)[0]) == 24
    # The same data set into the same folder leaves the store as it is.
    again = rg.prepare(Cases(), classes=CLASSES, out=tmp_path / "store", workers=1)
    assert again.manifest["hashes"] == store.manifest["hashes"]
    with pytest.raises(rg.UserError, match=r"holds another store \(pictures"):
        rg.prepare(Changed(), classes=CLASSES, out=tmp_path / "store", workers=1)


@pytest.mark.parametrize(
    "image",
    [
        np.full((32, 32), 0.5),
        IMAGE[:, :24] / 2,
        torch.from_numpy(IMAGE / 3 + 0.2).float(),
        (IMAGE * 127).astype(np.uint8),
        (IMAGE * 3000).astype(np.uint16),
        torch.from_numpy(IMAGE).bfloat16(),
        IMAGE / IMAGE.max() * 1.00005,
    ],
)
def test_a_store_has_the_greys_that_prediction_reads(image: Any) -> None:
    store = rg.prepare([(image, k) for k in range(2)], classes=("a", "b"), size=32, workers=1)
    read = fit(greys(next(planes(image)), "window"), 32)
    assert_allclose(store.image(0).astype(int), read.astype(int), atol=1)
    if image.shape == (32, 32):
        assert (store.image(0) == 128).all()


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32, np.int64, np.uint32, bool, complex])
def test_prediction_refuses_the_types_that_a_data_set_refuses(kind: type) -> None:
    image: Any = (IMAGE * 100).astype(kind)
    for read in (lambda: read_item((image, 0), points=1), lambda: greys(next(planes(image)), "window")):
        with pytest.raises(rg.UserError, match=f"must be uint8, uint16, or floating .*, got {image.dtype}"):
            read()


def test_without_a_split_patients_are_divided_and_without_patients_each_item_is_one(tmp_path: Path) -> None:
    pairs = [(IMAGE, i % 2) for i in range(40)]
    made = cohort_of(pairs, DatasetOptions(("a", "b")), tmp_path)
    assert made.cohort.cases["patient"].n_unique() == 40
    assert made.cohort.cases["split"].value_counts(sort=True)["count"].to_list() == [32, 4, 4]
    assert made.cohort.readings.is_empty()
    assert made.side == 32


def test_a_store_without_a_folder_is_temporary() -> None:
    store = rg.prepare([(IMAGE, i % 2) for i in range(6)], classes=("a", "b"), workers=1)
    assert store.cases.height == 6
    assert rg.Store.open(store.path).classes == ("a", "b")


class Endless:
    def __getitem__(self, i: int) -> object:
        return IMAGE, 0


@pytest.mark.parametrize(
    ("items", "options", "message"),
    [
        ([], {}, "has no items"),
        (Endless(), {}, "needs a length; Endless has none"),
        ([(IMAGE, 0), (IMAGE, 5)], {}, "item 1 of the data set: `label` 5"),
        ([(IMAGE, 0), (IMAGE * 3, 1)], {}, "item 1 of the data set: `image`"),
        ([{"image": IMAGE, "label": 0, "id": "a"}, (IMAGE, 1)], {}, "item 1 of the data set has no `id`"),
        ([{"image": IMAGE, "label": 0, "id": "a"}] * 2, {}, "2 items of the data set have the id 'a'"),
        (
            [{"image": IMAGE, "label": 0, "patient": 1, "split": each} for each in ("train", "test")],
            {},
            "item 1 of the data set has the split test, and another one of its patient has train",
        ),
        ([(IMAGE, 0)], {"classes": ("a", "a")}, "`classes` must be names, each once"),
        ([(IMAGE, 0)], {"classes": "ab"}, "`classes` must be a sequence"),
        ([(IMAGE, 0)], {"classes": 2}, r"must be the names of the classes, as in `classes=.*, got 2"),
        ([(IMAGE, 0)], {"classes": 0.5}, "`classes` must be a sequence of values, got 0.5"),
        (
            DataLoader(TensorDataset(torch.zeros(2, 4))),
            {},
            r"DataLoader has none: give its data set itself, `loader.dataset`",
        ),
        ({"a": (IMAGE, 0)}, {}, "dict has none: give a list of its items"),
        (iter([(IMAGE, 0)]), {}, "list_iterator has none"),
        ([(IMAGE, 0)], {"clases": ("a", "b")}, "no option `clases`; did you mean `classes`"),
    ],
)
def test_a_data_set_that_cannot_be_used_is_refused(
    items: Any, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(rg.UserError, match=message):
        rg.prepare(items, out=tmp_path / "store", **{"classes": ("a", "b"), **options})
