from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from radgaze.errors import UserError
from radgaze.gaze.spec import GazeMaps
from radgaze.sources.cohort import Cohort
from radgaze.store import merge
from radgaze.store.annotating import Annotation, Mark, annotate
from radgaze.store.dataset import GazeDataset
from radgaze.store.merge import MergeOptions
from radgaze.store.store import Store
from radgaze.store.twins import as_cases
from radgaze.store.verification import verify
from tests.store.cohorts import contents, make_cohort, with_twins
from tests.stores import prepare

SIZE = 64


def twinned(folder: Path) -> Cohort:
    """Nine cases; case-03 has two twins, case-06 and case-07 one, which differ in their first rows."""
    return with_twins(make_cohort(folder, shape=(90, 80)), folder)


def test_a_store_without_twins_is_the_same_as_before_and_with_them_has_the_same_cases(tmp_path: Path) -> None:
    cohort = twinned(tmp_path / "source")
    plain = prepare(replace(cohort, twins=cohort.twins.clear()), tmp_path / "plain", size=SIZE, workers=1)
    both = prepare(cohort, tmp_path / "twinned", size=SIZE, workers=1)
    files = contents(plain.path)
    assert not any("twins" in name for name in files)
    for name in ("cases", "readings", "fixations", "boxes", "regions"):
        assert contents(both.path)[f"{name}.parquet"] == files[f"{name}.parquet"]
    assert plain.twins.is_empty()
    assert both.manifest["counts"]["twins"] == 4
    assert both.manifest["counts"]["cases"] == plain.manifest["counts"]["cases"]
    assert verify(both) == []


def test_data_sets_hold_no_twin(tmp_path: Path) -> None:
    store = prepare(twinned(tmp_path / "source"), tmp_path / "store", size=SIZE, workers=1)
    for split in (None, "train", "validate", "test"):
        names = GazeDataset(store, split, gaze=None).case_ids
        assert not any(name.startswith("twin") for name in names)


def test_twins_have_their_own_image_and_the_gaze_labels_boxes_and_masks_of_their_original(
    tmp_path: Path,
) -> None:
    store = prepare(twinned(tmp_path / "source"), tmp_path / "store", size=SIZE, workers=1)
    originals = GazeDataset(store, None, size=32, gaze=GazeMaps(), maps=True)
    twins = GazeDataset(as_cases(store), None, size=32, gaze=GazeMaps(), maps=True)
    assert twins.case_ids == ["twin-a", "twin-b", "twin-c", "twin-d"]
    of = dict(store.twins.select("case_id", "twin_of").iter_rows())
    for twin in twins:
        original = originals[originals.case_ids.index(of[twin.case_id])]
        assert torch.equal(twin.label, original.label)
        assert twin.patient == original.patient
        assert torch.equal(twin.points, original.points)
        assert torch.equal(twin.weights, original.weights)
        assert torch.equal(twin.boxes, original.boxes)
        assert twin.regions is not None
        assert original.regions is not None
        assert torch.equal(twin.regions, original.regions)
        if original.gaze is not None:
            assert twin.gaze is not None
            assert torch.equal(twin.gaze, original.gaze)
        assert not torch.equal(twin.image, original.image)
        assert torch.equal(twin.image[:, 12:], original.image[:, 12:])  # 20 of 90 rows differ


def test_a_twin_has_the_split_of_its_original_in_whatever_split(tmp_path: Path) -> None:
    store = prepare(twinned(tmp_path / "source"), tmp_path / "store", size=SIZE, workers=1)
    for opened in (store, store.resplit("stratified", seed=1), store.resplit("folds", folds=3, fold=1)):
        split_of = dict(opened.cases.select("case_id", "split").iter_rows())
        for table in (as_cases(opened).cases, as_cases(store).resplit("store").cases[:0]):
            for original, split in table.select("twin_of", "split").iter_rows():
                assert split == split_of[original]
    in_test = GazeDataset(as_cases(store), "test", gaze=None).case_ids
    tested = store.cases.filter(split="test")["case_id"].to_list()
    expected = store.twins.filter(pl.col("twin_of").is_in(tested))["case_id"].to_list()
    assert in_test == expected
    assert expected


def test_the_length_of_the_twins_is_their_number(tmp_path: Path) -> None:
    store = prepare(twinned(tmp_path / "source"), tmp_path / "store", size=SIZE, workers=1)
    twins = as_cases(store)
    assert (len(store), len(twins)) == (9, 4)
    assert twins.image(-1).shape == (SIZE, SIZE)
    with pytest.raises(UserError, match="from 0 to 3, got 8"):
        twins.image(8)


def test_the_changed_pixels_are_those_in_which_both_squares_differ(tmp_path: Path) -> None:
    store = prepare(twinned(tmp_path / "source"), tmp_path / "store", size=SIZE, workers=1)
    twins = as_cases(store)
    for i, name in enumerate(twins.cases["twin_of"]):
        changed = twins.changed(i)
        rows = np.flatnonzero(changed.any(1))
        assert changed[:14].mean() > 0.8  # 20 of 90 rows are 14 of 64
        assert rows.max() <= 16
        assert np.array_equal(
            twins.images[i][20:], store.images[store.cases["case_id"].to_list().index(name)][20:]
        )


def test_a_twin_of_an_unreadable_image_and_an_unreadable_twin_are_rejected(tmp_path: Path) -> None:
    cohort = twinned(tmp_path / "source")
    Path(cohort.cases.filter(case_id="case-03")["image"][0]).write_bytes(b"nothing")
    Path(cohort.twins.filter(case_id="twin-b")["image"][0]).write_bytes(b"nothing")
    store = prepare(cohort, tmp_path / "store", size=SIZE, workers=1)
    assert store.twins["case_id"].to_list() == ["twin-a"]
    reasons = dict(
        store.rejections.filter(pl.col("reason") != "off_image_fixation")
        .select("case_id", "reason")
        .iter_rows()
    )
    assert reasons["twin-c"] == reasons["twin-d"] == "twin_without_case"
    assert {reasons["case-03"], reasons["twin-b"]} <= {"unreadable_image", "not_an_image", "not_dicom"}
    assert verify(store) == []
    twins = as_cases(store)
    assert not np.array_equal(
        twins.images[0], store.images[store.cases["case_id"].to_list().index("case-06")]
    )


def test_a_store_with_twins_is_recognised_when_it_is_prepared_again(tmp_path: Path) -> None:
    cohort = twinned(tmp_path / "source")
    whole = prepare(cohort, tmp_path / "whole", size=SIZE, workers=1)
    again = prepare(cohort, tmp_path / "whole", size=SIZE, workers=1)
    assert again.twins.equals(whole.twins)
    assert Store.open(whole.path).twins["sha256"].null_count() == 0


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("twin_of", "nobody", "of no case"),
        ("case_id", "case-01", "id of a case"),
        ("shows", "gout", "no class"),
    ],
)
def test_a_cohort_with_a_wrong_twin_is_refused(tmp_path: Path, column: str, value: str, message: str) -> None:
    cohort = twinned(tmp_path / "source")
    wrong = cohort.twins[:1].with_columns(pl.lit(value).alias(column))
    with pytest.raises(ValueError, match=message):
        replace(cohort, twins=wrong)


def test_a_copy_with_other_masks_has_the_twins_and_a_merged_store_has_none(tmp_path: Path) -> None:
    store = prepare(twinned(tmp_path / "source"), tmp_path / "store", size=SIZE, workers=1)
    mark = Mark("case-00", "CHF", np.ones((SIZE, SIZE), bool))
    copy = annotate(store, iter([mark]), Annotation(["case-00"], {"map": "made"}), tmp_path / "copy")
    assert copy.twins.equals(store.twins)
    assert np.array_equal(as_cases(copy).images[0], as_cases(store).images[0])
    assert verify(copy) == []
    other = prepare(
        make_cohort(tmp_path / "other", 4, seed=1), tmp_path / "other-store", size=SIZE, workers=1
    )
    merged = merge.read(MergeOptions((store.path, other.path)))
    assert merged.twins.is_empty()
    assert not merged.cases["case_id"].str.starts_with("twin").any()
