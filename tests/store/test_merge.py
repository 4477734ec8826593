"""Stores put together: every case once, patients kept apart, gaze of all, and where each case comes from."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import polars.selectors as cs
import pydicom
import pytest
from PIL import Image

from radgaze.cli import main
from radgaze.errors import UserError
from radgaze.files import read_json, write_text
from radgaze.sources.cohort import Cohort
from radgaze.sources.contents import VIEWS
from radgaze.store import merge
from radgaze.store.dataset import GazeDataset
from radgaze.store.manifest import seal
from radgaze.store.merge import MergeOptions
from radgaze.store.store import Store
from radgaze.store.verification import verify
from tests.store.cohorts import make_cohort, with_mentions, write_dicom
from tests.stores import prepare


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
        for name in ("cases", "readings", "boxes", "rejections", "regions")
    }
    tables["readings"] = tables["readings"].with_columns(reader=pl.lit("x"))
    two = relabelled(replace(two, **tables), {"CHF": "edema"})
    return (
        prepare(one, folder / "one-store", size=64, workers=1),
        prepare(two, folder / "two-store", size=64, workers=1),
    )


@pytest.fixture(scope="module")
def whole(stores: tuple[Store, Store], tmp_path_factory: pytest.TempPathFactory) -> Store:
    out = tmp_path_factory.mktemp("out") / "store"
    paths = [str(store.path) for store in stores]
    assert main(["prepare", "merge", *paths, "--map", "edema=CHF", "--out", str(out), "--workers", "1"]) == 0
    return Store.open(out)


def test_every_image_is_there_once_with_its_pixels_and_its_origin(
    stores: tuple[Store, Store], whole: Store
) -> None:
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


def test_classes_are_mapped(stores: tuple[Store, Store], whole: Store) -> None:
    assert whole.classes == ("Normal", "CHF", "pneumonia")
    assert whole.exclusive
    assert whole.cases["label_CHF"].sum() == int(stores[0].cases["label_CHF"].sum()) + int(
        stores[1].cases["label_edema"].sum()
    )


def test_patients_of_two_stores_are_two_unless_they_share_an_image(
    stores: tuple[Store, Store], whole: Store
) -> None:
    """Patients have two cases each: 0 to 3 in either store. Those of the image that both have are one."""
    patients = whole.cases.select("origin", "patient").unique()
    assert Counter(patients["origin"]) == {"one-store": 4, "two-store": 4}
    assert whole.cases["patient"].n_unique() == 7
    of = dict(whole.cases.select("case_id", "patient").iter_rows())
    assert of["case-02"] == of["case-03"] == of["other-03"]
    assert of["case-00@one-store"] != of["case-00@two-store"]


def test_a_case_of_both_has_the_readings_of_both(stores: tuple[Store, Store], whole: Store) -> None:
    own = whole.readings.filter(case_id="case-02")
    assert sorted(own["reading_id"]) == ["r2@one-store", "r2@two-store"]
    assert sorted(own["reader"].drop_nulls()) == ["two-store:x"]
    assert whole.readings.height == stores[0].readings.height + stores[1].readings.height
    assert whole.fixations.height == stores[0].fixations.height + stores[1].fixations.height
    for store, name in zip(stores, ("one-store", "two-store"), strict=True):
        theirs = store.fixations.filter(reading_id="r2").drop("reading_id")
        assert whole.fixations.filter(reading_id=f"r2@{name}").drop("reading_id").equals(theirs)
    assert len(GazeDataset(whole, None, size=32, gaze=None)) == 15


def test_the_same_again_is_left_as_it_is_and_stores_in_another_place_are_the_same(
    stores: tuple[Store, Store], whole: Store, tmp_path: Path
) -> None:
    for store in stores:
        shutil.copytree(store.path, tmp_path / store.path.name)
    paths = [tmp_path / store.path.name for store in stores]
    cohort = merge.read(MergeOptions(paths, map=["edema=CHF"]))
    again = prepare(cohort, whole.path, size=64, voi="window", fitted=True, workers=1)
    assert again.manifest == whole.manifest


def overwritten(path: Path, changed: str) -> None:
    """Write another image or mask to the file."""
    if changed == "image":
        write_dicom(path, np.zeros((90, 90)))
    else:
        Image.fromarray(np.ones((45, 45), bool)).save(path)


@pytest.mark.parametrize("changed", ["image", "mask"])
def test_stores_that_were_prepared_again_are_merged_again(changed: str, tmp_path: Path) -> None:
    made = make_cohort(tmp_path / "images", 4, shape=(90, 90))
    prepare(made, tmp_path / "one", size=32, workers=1)
    prepare(make_cohort(tmp_path / "others", 4, seed=1), tmp_path / "two", size=32, workers=1)

    def merged(**options: bool) -> Store:
        cohort = merge.read(MergeOptions([tmp_path / "one", tmp_path / "two"]))
        return prepare(cohort, tmp_path / "both", size=32, fitted=True, workers=1, **options)

    before = merged()
    overwritten(Path(made.cases["image"][1] if changed == "image" else made.regions["file"][0]), changed)
    prepare(made, tmp_path / "one", size=32, workers=1, overwrite=True)
    with pytest.raises(UserError, match=r"stores of which one is new or has changed since.*`overwrite"):
        merged()
    after = merged(overwrite=True)
    name = {"image": "images", "mask": "regions"}[changed] + "/shard-00000.npy"
    assert after.manifest["hashes"][name] != before.manifest["hashes"][name]


def test_a_merged_store_that_does_not_record_the_files_of_its_stores_is_told(
    stores: tuple[Store, Store], whole: Store, tmp_path: Path
) -> None:
    shutil.copytree(whole.path, tmp_path / "store")
    manifest = read_json(tmp_path / "store" / "manifest.json", lambda _: True, "")
    manifest["identity"]["content"] = "0" * 64
    for one in manifest["parameters"]["stores"]:
        one["content"] = one.pop("files")
    write_text(json.dumps(seal(manifest)), tmp_path / "store" / "manifest.json")
    cohort = merge.read(MergeOptions([s.path for s in stores], map=["edema=CHF"]))
    with pytest.raises(UserError, match=r"stores whose files it does not record.*`overwrite"):
        prepare(cohort, tmp_path / "store", size=64, voi="window", fitted=True, workers=1)


def test_a_class_that_is_left_out_leaves_cases_without_one(stores: tuple[Store, Store]) -> None:
    cohort = merge.read(MergeOptions([s.path for s in stores], map=["edema=CHF", "Normal="]))
    assert cohort.classes == ("CHF", "pneumonia")
    counts = Counter(cohort.rejections["reason"])
    gone = sum(int(store.cases["label_Normal"].sum()) for store in stores)
    assert counts["no_label"] == gone
    assert len(cohort.cases) == 15 - gone


def test_what_a_store_does_not_know_is_an_error_unless_it_is_taken_for_absent(
    stores: tuple[Store, Store],
) -> None:
    paths = [s.path for s in stores]
    with pytest.raises(UserError, match="one-store has no class edema"):
        merge.read(MergeOptions(paths))
    cohort = merge.read(MergeOptions(paths, absent=True))
    assert cohort.classes == ("Normal", "CHF", "pneumonia", "edema")
    assert cohort.cases["label_edema"].sum() == stores[1].cases["label_edema"].sum()


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (["edema"], "CLASS=NAME"),
        (["Fracture=CHF"], "`map=Fracture=CHF`"),
        (["Normal=", "CHF=", "pneumonia=", "edema="], "leaves no class"),
    ],
)
def test_a_map_that_makes_no_sense_is_told(named: list[str], said: str, stores: tuple[Store, Store]) -> None:
    with pytest.raises(UserError, match=said):
        merge.read(MergeOptions([s.path for s in stores], map=named))


def test_stores_that_do_not_fit_are_told(stores: tuple[Store, Store], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="one store"):
        merge.read(MergeOptions([stores[0].path]))
    with pytest.raises(UserError, match="named twice"):
        merge.read(MergeOptions([stores[0].path, stores[0].path]))
    small = prepare(make_cohort(tmp_path / "images", 3), tmp_path / "small", size=32, workers=1)
    with pytest.raises(UserError, match="different `size`: one-store 64, small 32"):
        merge.read(MergeOptions([stores[0].path, small.path]))


def test_a_store_that_vanishes_meanwhile_costs_its_images(
    stores: tuple[Store, Store], tmp_path: Path
) -> None:
    shutil.copytree(stores[1].path, tmp_path / "gone")
    cohort = merge.read(MergeOptions([stores[0].path, tmp_path / "gone"], absent=True))
    shutil.rmtree(Path(tmp_path / "gone"))
    store = prepare(cohort, tmp_path / "store", size=64, fitted=True, workers=1)
    assert set(store.cases["origin"]) == {"one-store"}
    assert store.rejections.filter(reason="unreadable_image").height == 7


# Stores of the same images


def prepared(folder: Path, name: str, change: Callable[[Cohort], Cohort] = lambda cohort: cohort) -> Path:
    """A store of the same four images whatever its name, of two patients who train."""
    cohort = make_cohort(folder / f"{name}-images", 4)
    cohort = replace(cohort, cases=cohort.cases.with_columns(split=pl.lit("train")))
    return prepare(change(cohort), folder / name, size=32, workers=1).path


def findings(**of_class: list[int]) -> Callable[[Cohort], Cohort]:
    """Gives the four cases these labels, of classes that do not exclude each other."""

    def change(cohort: Cohort) -> Cohort:
        labels = [pl.Series(f"label_{name}", of, dtype=pl.Int8) for name, of in of_class.items()]
        cases = cohort.cases.drop(cs.starts_with("label_")).with_columns(labels)
        return replace(cohort, cases=cases, classes=tuple(of_class), exclusive=False)

    return change


def test_a_case_of_both_has_the_classes_that_either_knows(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    one = prepared(tmp_path, "one", findings(Edema=[1, 0, 0, 1], Mass=[0, 0, 1, 0]))
    two = prepared(tmp_path, "two", findings(Edema=[1, 1, 0, 1], Nodule=[0, 1, 0, 1]))
    cohort = merge.read(MergeOptions([one, two], absent=True))
    assert cohort.cases.select("label_Edema", "label_Mass", "label_Nodule").rows() == [
        (1, 0, 0),
        (0, 0, 1),  # the first store's word on edema counts; of nodules only the second knows
        (0, 1, 0),
        (1, 0, 1),
    ]
    told = dict(cohort.rejections.filter(reason="duplicate_case").select("case_id", "detail").iter_rows())
    same = "of two: the image is in an earlier store too"
    assert told == {
        "case-00": same,
        "case-01": f"{same}, labelled otherwise there: Edema",
        "case-02": same,
        "case-03": same,
    }
    assert "1 cases are labelled otherwise" in capfd.readouterr().err


def test_of_exclusive_classes_the_first_stores_counts(tmp_path: Path) -> None:
    """The cohort would refuse a case of two."""
    two = prepared(tmp_path, "two", lambda cohort: relabelled(cohort, {"CHF": "edema"}))
    cohort = merge.read(MergeOptions([prepared(tmp_path, "one"), two], absent=True))
    assert cohort.exclusive
    assert cohort.cases["label_CHF"].to_list() == [0, 1, 0, 0]
    assert cohort.cases["label_edema"].to_list() == [0, 0, 0, 0]
    (told,) = cohort.rejections.filter(pl.col("detail").str.contains("otherwise")).rows(named=True)
    assert told["case_id"] == "case-01"
    assert told["detail"].endswith("labelled otherwise there: edema")
    # Without a class of its own left, the case has the other store's.
    mapped = merge.read(MergeOptions([tmp_path / "one", two], map=["CHF="], absent=True))
    assert mapped.cases["label_edema"].to_list() == [0, 1, 0, 0]
    # Of two more stores that give it different ones, the first counts; it is not left out as a case of two.
    three = prepared(tmp_path, "three", lambda cohort: relabelled(cohort, {"CHF": "congestion"}))
    more = merge.read(MergeOptions([tmp_path / "one", two, three], map=["CHF="], absent=True))
    assert more.cases["label_edema"].to_list() == [0, 1, 0, 0]
    assert more.cases["label_congestion"].to_list() == [0, 0, 0, 0]


def test_a_reading_of_both_is_no_second_reader(tmp_path: Path) -> None:
    """All readings repeat the first store's but that of case-01, which differs in one fixation by a pixel."""

    def nudged(cohort: Cohort) -> Cohort:
        one = (pl.col("reading_id") == "r1") & (pl.col("index") == 0)
        x = pl.when(one).then(pl.col("x") + 1).otherwise("x")
        return replace(cohort, fixations=cohort.fixations.with_columns(x=x))

    cohort = merge.read(MergeOptions([prepared(tmp_path, "one"), prepared(tmp_path, "two", nudged)]))
    assert sorted(cohort.readings["reading_id"]) == ["r0@one", "r1@one", "r1@two", "r2@one"]
    assert set(cohort.fixations.collect()["reading_id"]) == set(cohort.readings["reading_id"])
    told = cohort.rejections.filter(reason="duplicate_reading").drop("reason")
    assert told.rows() == [
        ("case-00", "r0@two", "the same as r0@one"),
        ("case-02", "r2@two", "the same as r2@one"),
    ]


def test_a_reading_of_both_keeps_the_mentions_of_either_store(tmp_path: Path) -> None:
    paths = [prepared(tmp_path, "plain"), prepared(tmp_path, "reported", with_mentions)]
    first, second = (merge.read(MergeOptions(order)).mentions for order in (paths, paths[::-1]))
    theirs = Store.open(paths[1]).mentions
    assert set(first["reading_id"]) == {"r0@plain", "r1@plain", "r2@plain"}
    for found in (first, second):
        own = found.with_columns(pl.col("reading_id").str.replace("@.*", ""))
        assert set(own.iter_rows()) == set(theirs.iter_rows())


def test_stores_whose_names_repeat_are_told_apart(tmp_path: Path) -> None:
    paths = []
    for k, name in enumerate(("p/s", "q/s", "r/s-2")):
        made = make_cohort(tmp_path / f"images-{k}", 2, seed=k)
        paths.append(prepare(made, tmp_path / name, size=32, workers=1).path)
    cases = merge.read(MergeOptions(paths)).cases
    assert cases["case_id"].n_unique() == 6
    assert cases["origin"].unique(maintain_order=True).to_list() == ["s-1", "s-3", "s-2"]


def test_an_id_that_ends_like_a_suffix_is_told(tmp_path: Path) -> None:
    def suffixed(cohort: Cohort) -> Cohort:
        tables = {
            name: getattr(cohort, name).with_columns(pl.format("{}@two", "case_id").alias("case_id"))
            for name in ("cases", "readings", "boxes", "rejections", "regions")
        }
        return replace(cohort, **tables)

    paths = []
    for k, name in enumerate(("one", "two", "three")):
        made = make_cohort(tmp_path / f"images-{k}", 2, seed=k)
        made = suffixed(made) if name == "three" else made
        paths.append(prepare(made, tmp_path / name, size=32, workers=1).path)
    with pytest.raises(UserError, match="two cases of the merged store would have the id case-00@two"):
        merge.read(MergeOptions(paths))


def test_what_part_of_an_image_was_shown_is_kept_where_all_stores_with_gaze_know_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    views = [pl.lit(9.0 + k).alias(name) for k, name in enumerate(VIEWS)]

    def viewed(cohort: Cohort) -> Cohort:
        return replace(cohort, fixations=cohort.fixations.with_columns(pl.col("x") / 2, *views))

    def without(cohort: Cohort) -> Cohort:
        return replace(cohort, readings=cohort.readings.clear(), fixations=cohort.fixations.clear())

    one, two = prepared(tmp_path, "one", viewed), prepared(tmp_path, "two")
    blind = prepared(tmp_path, "blind", without)
    kept = merge.read(MergeOptions([blind, one])).fixations.collect()
    assert kept.select(VIEWS).unique().rows() == [(9.0, 10.0, 11.0, 12.0, 13.0, 14.0)]
    assert kept.height == Store.open(one).fixations.height
    assert "resolution" not in capfd.readouterr().err
    lost = merge.read(MergeOptions([one, two])).fixations.collect()
    assert not set(VIEWS) & set(lost.columns)
    assert lost.height == 2 * kept.height
    assert "the merged one holds none" in capfd.readouterr().err
    assert (
        merge.read(MergeOptions([blind, prepared(tmp_path, "too", without)])).fixations.collect().is_empty()
    )


def test_what_tests_in_one_store_does_not_train_in_the_merged_one(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The test image of the second store is the first's, which keeps it; its patient's others follow."""

    def tests(cohort: Cohort) -> Cohort:
        split = pl.when(pl.col("patient") == 0).then(pl.lit("test")).otherwise("split")
        return replace(cohort, cases=cohort.cases.with_columns(split=split))

    cohort = merge.read(MergeOptions([prepared(tmp_path, "one"), prepared(tmp_path, "two", tests)]))
    assert cohort.cases["split"].to_list() == ["test", "test", "train", "train"]
    assert "1 patients came to stand in several splits" in capfd.readouterr().err


def test_origins_and_burnt_in_words_are_still_told_after_merging_twice(tmp_path: Path) -> None:
    def burnt(folder: Path, seed: int) -> Cohort:
        cohort = make_cohort(folder, 2, seed=seed)
        file = pydicom.dcmread(cohort.cases["image"][1])
        file.BurnedInAnnotation = "YES"
        file.save_as(cohort.cases["image"][1])
        return cohort

    for seed, name in enumerate(("one", "two", "three")):
        prepare(burnt(tmp_path / f"{name}-images", seed), tmp_path / name, size=32, workers=1)
    for parts, out in ((("one", "two"), "both"), (("both", "three"), "all")):
        given = [str(tmp_path / part) for part in parts]
        assert main(["prepare", "merge", *given, "--out", str(tmp_path / out), "--workers", "1"]) == 0
    store = Store.open(tmp_path / "all")
    assert dict(store.cases.select("case_id", "origin").iter_rows()) == {
        "case-00@one": "both/one",
        "case-01@one": "both/one",
        "case-00@two": "both/two",
        "case-01@two": "both/two",
        "case-00": "three",
        "case-01": "three",
    }
    assert store.manifest["burned_in_annotation"] == ["case-01@one", "case-01@two", "case-01"]
