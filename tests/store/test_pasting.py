"""Markers pasted into a store: where they should be and nowhere else, and twins that differ in them alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pydicom
import pytest
from PIL import Image
from scipy.stats import binomtest

from radgaze.cli import main
from radgaze.errors import UserError
from radgaze.store.partial import partial_of
from radgaze.store.pasting import paste
from radgaze.store.pasting_options import PasteOptions
from radgaze.store.store import Store
from radgaze.store.twins import as_cases
from radgaze.store.verification import verify
from tests.store.cohorts import contents, make_cohort, with_twins
from tests.stores import prepare

SIZE = 64


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("pasting")
    return prepare(make_cohort(folder / "images", 48), folder / "store", size=SIZE, workers=1)


def picture(folder: Path) -> Path:
    """A white ring without anything inside: an opaque frame about a transparent middle."""
    pixels = np.full((40, 40, 2), 255, np.uint8)
    pixels[10:30, 10:30, 1] = 0
    Image.fromarray(pixels, "LA").save(folder / "ring.png")
    return folder / "ring.png"


def pasted(store: Store, out: Path, overlay: Sequence[str], strength: float = 0.0, seed: int = 7) -> Store:
    return paste(PasteOptions(store.path, out, overlay=overlay, strength=strength, seed=seed))


def test_without_a_strength_the_images_stay_and_test_cases_get_a_twin_for_each_marker(
    store: Store, tmp_path: Path
) -> None:
    ring = picture(tmp_path)
    made = pasted(store, tmp_path / "out", (f"CHF={ring}", "pneumonia=PORTABLE"))
    assert verify(made) == []
    for i in range(len(store.images)):
        np.testing.assert_array_equal(made.images[i], store.images[i])
    kept = store.cases.drop("shard", "index")
    assert made.cases.drop("shard", "index").equals(kept)
    tested = store.cases.filter(split="test")["case_id"].to_list()
    pairs = [(case_id, name) for case_id in tested for name in ("CHF", "pneumonia")]
    expected = [(f"{case_id}+{name}", case_id, "pasted", name, None) for case_id, name in pairs]
    columns = ("case_id", "twin_of", "confounder", "shows", "original_shows")
    assert made.twins.select(columns).rows() == expected
    for name in ("readings", "fixations", "boxes", "regions"):
        assert contents(made.path)[f"{name}.parquet"] == contents(store.path)[f"{name}.parquet"]


def test_a_twin_differs_in_a_small_part_in_a_corner_of_the_image_and_a_transparent_part_stays(
    store: Store, tmp_path: Path
) -> None:
    made = pasted(store, tmp_path / "out", (f"CHF={picture(tmp_path)}",))
    twins, corners = as_cases(made), set()
    for i, row in enumerate(twins.cases.iter_rows(named=True)):
        changed = twins.changed(i)
        ys, xs = np.nonzero(changed)
        y, x = (ys.min() + ys.max()) / 2 - row["pad_y"], (xs.min() + xs.max()) / 2 - row["pad_x"]
        height, width = row["rows"] * row["scale"], row["columns"] * row["scale"]
        assert min(x, width - x) < 0.2 * width
        assert min(y, height - y) < 0.2 * height
        corners.add((bool(x < width / 2), bool(y < height / 2)))
        assert 0 < changed.sum() < 0.02 * SIZE**2
        assert (twins.images[i][changed] == 255).mean() > 0.5
    assert len(corners) > 1


def test_twins_of_images_with_words_burnt_in_are_listed_too(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "images", 8)
    for row in (0, 7):
        file = pydicom.dcmread(cohort.cases["image"][row])
        file.BurnedInAnnotation = "YES"
        file.save_as(cohort.cases["image"][row])
    store = prepare(cohort, tmp_path / "store", size=SIZE, workers=1)
    made = pasted(store, tmp_path / "out", ("CHF=PORTABLE", "pneumonia=SUPINE"))
    listed = ["case-00", "case-07", "case-07+CHF", "case-07+pneumonia"]  # the last two cases test
    assert made.manifest["burned_in_annotation"] == listed


def test_the_marker_follows_the_class_in_training_with_its_strength_and_is_in_no_test_image(
    store: Store, tmp_path: Path
) -> None:
    made = pasted(store, tmp_path / "out", ("CHF=HEART", "pneumonia=LUNG"), strength=0.6)
    changed = np.array([(made.images[i] != store.images[i]).any() for i in range(len(store.images))])
    cases = store.cases.with_columns(changed=changed)
    assert not cases.filter(split="test")["changed"].any()
    assert not cases.filter(label_Normal=1)["changed"].any()
    with_class = cases.filter((pl.col("label_Normal") == 0) & (pl.col("split") != "test"))["changed"]
    assert binomtest(int(with_class.sum()), len(with_class), 0.6).pvalue > 1e-3
    assert 0 < with_class.sum() < len(with_class)
    # An image with a marker is another one, so that merged stores keep both.
    other = made.cases["sha256"] != store.cases["sha256"]
    assert other.to_list() == changed.tolist()


def test_one_seed_gives_the_same_bytes_and_another_one_others(store: Store, tmp_path: Path) -> None:
    overlay = ("CHF=HEART",)
    one, two, three = (
        contents(pasted(store, tmp_path / str(k), overlay, strength=0.5, seed=seed).path)
        for k, seed in enumerate((3, 3, 4))
    )
    assert one == two
    assert one["images/shard-00000.npy"] != three["images/shard-00000.npy"]


@pytest.mark.parametrize(
    ("overlay", "message"),
    [
        (("gout=G",), "the class one of"),
        (("CHF",), "CLASS=FILE"),
        (("CHF=",), "CLASS=FILE"),
        (("CHF=A", "CHF=B"), "a marker already"),
        (("CHF=nowhere.png",), "no file"),
    ],
)
def test_a_wrong_marker_is_told(store: Store, tmp_path: Path, overlay: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        pasted(store, tmp_path / "out", overlay)
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_picture_a_full_folder_and_a_store_with_twins_are_told(
    store: Store, tmp_path: Path
) -> None:
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(UserError, match="no picture"):
        pasted(store, tmp_path / "out", (f"CHF={tmp_path / 'text.png'}",))
    with pytest.raises(UserError, match="not an empty folder"):
        pasted(store, tmp_path, ("CHF=A",))
    images = tmp_path / "images"
    twinned = prepare(with_twins(make_cohort(images), images), tmp_path / "twins", size=SIZE, workers=1)
    with pytest.raises(UserError, match="has twins already"):
        pasted(twinned, tmp_path / "out", ("CHF=A",))


def test_an_unfinished_preparation_is_told_and_left_as_it_is(store: Store, tmp_path: Path) -> None:
    begun = partial_of(tmp_path / "out", 3, SIZE)
    parameters = store.manifest["parameters"]
    begun.begin({"content": "c", "file_sizes": "s", "file_times": "t", "parameters": parameters})
    before = contents(begun.folder)
    with pytest.raises(UserError, match=r"out\.partial holds an unfinished preparation"):
        pasted(store, tmp_path / "out", ("CHF=CHF",))
    after = contents(begun.folder)
    assert before.items() <= after.items()
    assert pasted(store, tmp_path / "other", ("CHF=CHF",)).twins.height


def test_the_verb_writes_a_store_that_is_shown(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["paste", str(store.path), "--overlay", "CHF=HEART", "--out", str(out)]) == 0
    tested = store.cases.filter(split="test").height
    shown = " ".join(capsys.readouterr().out.split())
    assert f"{tested} twins" in shown
    assert Store.open(out).twins.height == tested
    assert main(["paste", str(store.path), "--overlay", "gout=G", "--out", str(tmp_path / "b")]) == 2
    assert "--overlay gout=G must be" in capsys.readouterr().err
