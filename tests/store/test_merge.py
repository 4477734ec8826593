"""Stores put together: every case once, patients kept apart, gaze of all, and where each case comes from."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from radgaze.cli import main
from radgaze.errors import UserError
from radgaze.sources.cohort import Cohort
from radgaze.store import merge
from radgaze.store.dataset import GazeDataset
from radgaze.store.prepare import prepare
from radgaze.store.store import Store
from radgaze.store.verify import verify
from tests.store.cohorts import make_cohort


def relabelled(cohort: Cohort, names: dict[str, str]) -> Cohort:
    renamed = {f"label_{old}": f"label_{new}" for old, new in names.items()}
    classes = tuple(names.get(name, name) for name in cohort.classes)
    return replace(cohort, cases=cohort.cases.rename(renamed), classes=classes)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Store]:
    """The second has the first's image of case-02, called other-02, and its own reading of it; one case id
    and all
    reading ids are the same, and its class is called edema."""
    folder = tmp_path_factory.mktemp("merged")
    one = make_cohort(folder / "one", 8)
    two = make_cohort(folder / "two", 8, seed=1)
    shutil.copy(folder / "one" / "p10002-s50002.dcm", folder / "two" / "p10002-s50002.dcm")
    ids = {f"case-{i:02}": f"other-{i:02}" for i in range(1, 8)}
    tables = {
        name: getattr(two, name).with_columns(pl.col("case_id").replace(ids))
        for name in ("cases", "readings", "boxes", "rejections")
    }
    tables["readings"] = tables["readings"].with_columns(reader=pl.lit("x"))
    two = relabelled(replace(two, **tables), {"CHF": "edema"})
    return tuple(
        prepare(cohort, folder / f"{name}-store", size=64, workers=1)
        for name, cohort in (("one", one), ("two", two))
    )


@pytest.fixture(scope="module")
def whole(stores, tmp_path_factory) -> Store:
    out = tmp_path_factory.mktemp("out") / "store"
    paths = [str(store.path) for store in stores]
    assert main(["prepare", "merge", *paths, "--map", "edema=CHF", "--out", str(out), "--workers", "1"]) == 0
    return Store.open(out)


def test_every_image_is_there_once_with_its_pixels_and_its_origin(stores, whole):
    one, two = stores
    assert whole.cases.height == 15
    assert Counter(whole.cases["origin"]) == {"one-store": 8, "two-store": 7}
    assert verify(whole) == []
    assert whole.size == 64
    ids = whole.cases["case_id"].to_list()
    assert "case-00@one-store" in ids  # one id for two images
    assert "case-00@two-store" in ids
    for i, case in enumerate(whole.cases.iter_rows(named=True)):
        store = one if case["origin"] == "one-store" else two
        row = store.cases["case_id"].to_list().index(case["case_id"].partition("@")[0])
        np.testing.assert_array_equal(whole.image(i), store.image(row))
        for name in ("rows", "columns", "scale", "pad_x", "pad_y", "sha256"):
            assert case[name] == store.cases[name][row]
    (repeated,) = whole.rejections.filter(reason="duplicate_case").rows(named=True)
    assert (repeated["case_id"], repeated["detail"]) == (
        "other-02",
        "of two-store: the image is in an earlier store too",
    )


def test_classes_are_mapped(stores, whole):
    assert whole.classes == ("Normal", "CHF", "pneumonia")
    assert whole.exclusive
    assert (
        whole.cases["label_CHF"].sum()
        == stores[0].cases["label_CHF"].sum() + stores[1].cases["label_edema"].sum()
    )


def test_patients_of_two_stores_are_two_unless_they_share_an_image(stores, whole):
    """Patients have two cases each: 0 to 3 in either store. Those of the image that both have are one."""
    patients = whole.cases.select("origin", "patient").unique()
    assert Counter(patients["origin"]) == {"one-store": 4, "two-store": 4}
    assert whole.cases["patient"].n_unique() == 7
    of = dict(whole.cases.select("case_id", "patient").iter_rows())
    assert of["case-02"] == of["case-03"] == of["other-03"]
    assert of["case-00@one-store"] != of["case-00@two-store"]


def test_a_case_of_both_has_the_readings_of_both(stores, whole):
    own = whole.readings.filter(case_id="case-02")
    assert sorted(own["reading_id"]) == ["r2@one-store", "r2@two-store"]
    assert sorted(own["reader"].drop_nulls()) == ["two-store:x"]
    assert whole.readings.height == stores[0].readings.height + stores[1].readings.height
    assert whole.fixations.height == stores[0].fixations.height + stores[1].fixations.height
    for store, name in zip(stores, ("one-store", "two-store"), strict=True):
        theirs = store.fixations.filter(reading_id="r2").drop("reading_id")
        assert whole.fixations.filter(reading_id=f"r2@{name}").drop("reading_id").equals(theirs)
    assert len(GazeDataset(whole, None, size=32, gaze=None)) == 15


def test_the_same_again_is_left_as_it_is_and_stores_in_another_place_are_the_same(stores, whole, tmp_path):
    for store in stores:
        shutil.copytree(store.path, tmp_path / store.path.name)
    paths = [tmp_path / store.path.name for store in stores]
    cohort = merge.read(paths, map=["edema=CHF"])
    again = prepare(cohort, whole.path, size=64, voi="window", fitted=True, workers=1)
    assert again.manifest == whole.manifest


def test_a_class_that_is_left_out_leaves_cases_without_one(stores):
    cohort = merge.read([s.path for s in stores], map=["edema=CHF", "Normal="])
    assert cohort.classes == ("CHF", "pneumonia")
    counts = Counter(cohort.rejections["reason"])
    gone = sum(int(store.cases["label_Normal"].sum()) for store in stores)
    assert counts["no_label"] == gone
    assert len(cohort.cases) == 15 - gone


def test_what_a_store_does_not_know_is_an_error_unless_it_is_taken_for_absent(stores):
    paths = [s.path for s in stores]
    with pytest.raises(UserError, match="one-store has no class edema"):
        merge.read(paths)
    cohort = merge.read(paths, absent=True)
    assert cohort.classes == ("Normal", "CHF", "pneumonia", "edema")
    assert cohort.cases["label_edema"].sum() == stores[1].cases["label_edema"].sum()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"map": ["edema"]}, "CLASS=NAME"),
        ({"map": ["Fracture=CHF"]}, "--map Fracture=CHF"),
        ({"map": ["Normal=", "CHF=", "pneumonia=", "edema="]}, "leaves no class"),
    ],
)
def test_a_map_that_makes_no_sense_is_told(options, said, stores):
    with pytest.raises(UserError, match=said):
        merge.read([s.path for s in stores], **options)


def test_stores_that_do_not_fit_are_told(stores, tmp_path):
    with pytest.raises(UserError, match="one store"):
        merge.read([stores[0].path])
    with pytest.raises(UserError, match="named twice"):
        merge.read([stores[0].path, stores[0].path])
    small = prepare(make_cohort(tmp_path / "images", 3), tmp_path / "small", size=32, workers=1)
    with pytest.raises(UserError, match="another --size: one-store 64, small 32"):
        merge.read([stores[0].path, small.path])


def test_a_store_that_vanishes_meanwhile_costs_its_images(stores, tmp_path):
    shutil.copytree(stores[1].path, tmp_path / "gone")
    cohort = merge.read([stores[0].path, tmp_path / "gone"], absent=True)
    shutil.rmtree(Path(tmp_path / "gone"))
    store = prepare(cohort, tmp_path / "store", size=64, fitted=True, workers=1)
    assert set(store.cases["origin"]) == {"one-store"}
    assert store.rejections.filter(reason="unreadable_image").height == 7
