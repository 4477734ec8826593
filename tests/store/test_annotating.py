"""A copy of a store with other masks: whole, verified, and the same wherever nothing was changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from radgaze.errors import UserError
from radgaze.store.annotating import Annotation, Mark, annotate, annotated_before
from radgaze.store.manifest import is_sealed
from radgaze.store.marks import ANATOMY
from radgaze.store.placement import Fit, Frame
from radgaze.store.store import Store
from radgaze.store.verification import verify
from tests.store.cohorts import make_cohort, with_mentions, with_twins
from tests.stores import prepare

PROVENANCE = {"map": "grad_cam", "runs": [{"name": "a", "weights_sha256": "0" * 64}]}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("annotating")
    cohort = with_twins(with_mentions(make_cohort(folder / "images", cases=12)), folder)
    return prepare(cohort, folder / "store", size=64, workers=1)


def squares(store: Store, ids: list[str], *, side: int = 20) -> list[Mark]:
    """A square in each case, at a place of its own."""
    marks = []
    for k, case_id in enumerate(ids):
        inside = np.zeros((store.size, store.size), bool)
        inside[k : k + side, 10 : 10 + side] = True
        marks.append(Mark(case_id, "CHF", inside))
    return marks


def test_the_copy_is_verified_and_holds_the_masks(store: Store, tmp_path: Path) -> None:
    ids = store.cases.filter(split="train")["case_id"].to_list()
    marks = squares(store, ids)
    made = annotate(store, iter(marks), Annotation(ids, PROVENANCE), tmp_path / "copy")
    assert verify(made) == []
    assert is_sealed(made.manifest)
    assert made.manifest["pseudo"] == PROVENANCE
    assert not (tmp_path / "copy.partial").exists()
    new = made.regions.table.with_row_index("row").filter(pl.col("label") == "CHF")
    assert new["case_id"].to_list() == ids
    for mark, row in zip(marks, new["row"], strict=True):
        np.testing.assert_array_equal(made.regions[row], mark.inside)
    assert new["area"].to_list() == [400] * len(ids)
    # All that was not marked is as it was.
    assert made.cases.equals(store.cases)
    for i in range(len(store.images)):
        np.testing.assert_array_equal(made.image(i), store.image(i))
    assert set(made.readings["case_id"]) == set(store.readings["case_id"]) - set(ids)
    rest = store.fixations.join(made.readings, on="reading_id", how="semi", maintain_order="left")
    assert made.fixations.equals(rest)
    assert made.mentions.equals(
        store.mentions.join(made.readings, on="reading_id", how="semi", maintain_order="left")
    )
    assert 0 < made.mentions.height < store.mentions.height
    assert made.twins.equals(store.twins)
    assert set(made.boxes["case_id"]) == set(store.cases["case_id"]) - set(ids)
    organs = made.regions.table.filter(pl.col("label").is_in(list(ANATOMY)))
    assert organs.height == store.regions.table.height > 0
    assert store.manifest["hashes"] == Store.open(store.path).manifest["hashes"]
    assert verify(store) == []


def test_gaze_and_marks_stay_where_asked(store: Store, tmp_path: Path) -> None:
    ids = store.cases.filter(split="train")["case_id"].to_list()
    kept = Annotation(ids, PROVENANCE, keep_gaze=True, keep_marks=True)
    made = annotate(store, iter(squares(store, ids)), kept, tmp_path / "copy")
    assert made.readings.equals(store.readings)
    assert made.fixations.equals(store.fixations)
    assert made.boxes.equals(store.boxes)
    assert made.mentions.equals(store.mentions)
    assert verify(made) == []


def test_a_copy_of_a_split_drawn_again_has_that_split(store: Store, tmp_path: Path) -> None:
    drawn = store.resplit("folds", seed=3, folds=3, fold=1)
    ids = drawn.cases.filter(split="train")["case_id"].to_list()
    made = annotate(drawn, iter(squares(store, ids)), Annotation(ids, PROVENANCE), tmp_path / "copy")
    assert made.cases.select("case_id", "split").equals(drawn.cases.select("case_id", "split"))
    assert not made.cases["split"].equals(store.cases["split"])
    assert verify(made) == []


def test_the_same_copy_is_found_and_another_is_refused(store: Store, tmp_path: Path) -> None:
    ids = store.cases.filter(split="train")["case_id"].to_list()
    out, annotation = tmp_path / "copy", Annotation(ids, PROVENANCE)
    assert annotated_before(store, annotation, out) is None
    annotate(store, iter(squares(store, ids)), annotation, out)
    again = annotated_before(Store.open(store.path), Annotation(list(reversed(ids)), PROVENANCE), out)
    assert again is not None
    settings = "holds masks that were made with other settings"
    retrained = [{"name": "a", "weights_sha256": "1" * 64}]
    for other, said in (
        (Annotation(ids[1:], PROVENANCE), "holds masks of another store or split; choose another `out`"),
        (Annotation(ids, {**PROVENANCE, "map": "cam"}), rf"{settings} \(map grad_cam and not cam\)"),
        (Annotation(ids, {**PROVENANCE, "epochs": 3}), rf"{settings} \(epochs None and not 3\)"),
        (Annotation(ids, {**PROVENANCE, "runs": retrained}), "of another run, or of the same run before"),
    ):
        with pytest.raises(UserError, match=said):
            annotated_before(store, other, out)
    with pytest.raises(UserError, match="holds another store"):
        annotated_before(store, annotation, store.path)
    with pytest.raises(UserError, match="is not a store"):
        annotated_before(store, annotation, tmp_path)


def test_a_case_whose_masks_have_no_pixel_stays_as_it_is_and_none_is_an_error(
    store: Store, tmp_path: Path
) -> None:
    ids = store.cases.filter(split="train")["case_id"].to_list()[:3]
    marks = squares(store, ids)
    empty = Mark(ids[0], "CHF", np.zeros((64, 64), bool))
    annotation = Annotation(ids, PROVENANCE)
    made = annotate(store, iter([empty, marks[1]]), annotation, tmp_path / "copy")
    assert verify(made) == []
    assert made.regions.table.filter(pl.col("label") == "CHF")["case_id"].to_list() == [ids[1]]
    for name in ("readings", "fixations", "boxes"):
        table = getattr(store, name)
        if name == "fixations":
            table = table.join(store.readings.select("reading_id", "case_id"), on="reading_id")
            left = made.fixations.join(store.readings.select("reading_id", "case_id"), on="reading_id")
        else:
            left = getattr(made, name)
        assert not table.filter(case_id=ids[0]).is_empty()
        assert left.equals(table.filter(pl.col("case_id") != ids[1])), name
    assert annotated_before(store, annotation, made.path) is not None
    with pytest.raises(UserError, match="lower it"):
        annotate(store, iter([empty]), Annotation(ids, PROVENANCE, keep_marks=False), tmp_path / "none")
    assert not list(tmp_path.glob("none*"))


@pytest.mark.parametrize("fit", ["stretch", "pad"])
@pytest.mark.parametrize("shape", [(300, 200), (150, 301), (256, 256)])
def test_a_map_goes_back_to_where_its_pixels_came_from(fit: Fit, shape: tuple[int, int]) -> None:
    """A bump at a place of the original is at the place of the square that the store's geometry says."""
    frame, side = Frame(*shape, 256), 64
    where = frame.geometry(fit, side)
    x, y = 0.3 * shape[1], 0.7 * shape[0]
    cx, cy = x * where.scale_x + where.shift_x, y * where.scale_y + where.shift_y
    centres = np.arange(side) + 0.5
    values = np.exp(-((centres[:, None] - cy) ** 2 + (centres - cx) ** 2) / 18)
    square = frame.restored(values, fit)
    weights = square / square.sum()
    at = np.arange(256) + 0.5
    assert (weights.sum(0) * at).sum() == pytest.approx(x * frame.box.scale + frame.box.pad_x, abs=0.6)
    assert (weights.sum(1) * at).sum() == pytest.approx(y * frame.box.scale + frame.box.pad_y, abs=0.6)
    everywhere = frame.restored(np.ones((side, side)), fit)
    box = frame.box
    assert everywhere.sum() == box.width * box.height
