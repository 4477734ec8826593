"""Gaze by class in a store: written, read, verified, merged, and drawn as one map per case and class."""

from __future__ import annotations

import pickle
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Literal

import polars as pl
import pytest
import torch

from radgaze.errors import UserError
from radgaze.gaze import GazeMaps, static_maps
from radgaze.runs import origin
from radgaze.sources.cohort import Cohort
from radgaze.sources.contents import NO_MENTIONS, VIEWS
from radgaze.store.augmentation import Augmentation
from radgaze.store.batch import collate
from radgaze.store.dataset import GazeDataset
from radgaze.store.digest import file_digest
from radgaze.store.mentions import gaze_of_classes
from radgaze.store.merge import MergeOptions
from radgaze.store.merge import read as read_merge
from radgaze.store.store import MENTIONS, Store
from radgaze.store.verification import verify
from radgaze.tables import write_parquet
from tests.store.cohorts import make_cohort, with_mentions
from tests.stores import prepare

SIZE = 40


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return with_mentions(make_cohort(tmp_path_factory.mktemp("source"), 9, shape=(80, 80)))


@pytest.fixture(scope="module")
def store(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return prepare(cohort, tmp_path_factory.mktemp("made") / "store", size=SIZE, workers=1)


def test_a_store_holds_the_mentions_and_is_whole(cohort: Cohort, store: Store) -> None:
    assert store.mentions.equals(cohort.mentions)
    assert store.manifest["counts"]["mentions"] == len(cohort.mentions)
    assert MENTIONS in store.manifest["hashes"]
    assert verify(store) == []


def test_gaze_of_each_class_is_counted_by_cases(store: Store) -> None:
    table = gaze_of_classes(store)
    assert table["class"].to_list() == list(store.classes)
    case_of = dict(store.readings.select("reading_id", "case_id").iter_rows())
    length = {(r, i): d for r, i, d in store.fixations.select("reading_id", "index", "duration").iter_rows()}
    for name, cases, gazed, others, seconds in table.iter_rows():
        has = set(store.cases.filter(pl.col(f"label_{name}") == 1)["case_id"])
        rows = [row for row in store.mentions.iter_rows() if row[2] == name]
        mentioned = {case_of[reading] for reading, *_ in rows}
        assert (cases, gazed, others) == (len(has), len(has & mentioned), len(mentioned - has))
        sums: dict[str, float] = {}
        for reading, index, _, share in rows:
            sums[reading] = sums.get(reading, 0) + share * length[reading, index]
        assert seconds == pytest.approx(statistics.median(sums.values()))


def test_a_store_without_them_is_the_same_as_before(cohort: Cohort, tmp_path: Path) -> None:
    plain = replace(cohort, mentions=pl.DataFrame(schema=NO_MENTIONS))
    store = prepare(plain, tmp_path / "store", size=SIZE, workers=1)
    assert store.mentions.is_empty()
    assert store.mentions.schema == NO_MENTIONS
    assert not (store.path / MENTIONS).exists()
    assert "mentions" not in store.manifest["counts"]
    # The same cohort with mentions is another store.
    with pytest.raises(UserError, match="holds another store"):
        prepare(cohort, tmp_path / "store", size=SIZE, workers=1)
    GazeDataset(store, size=SIZE, gaze=GazeMaps(sigma=9))
    with pytest.raises(UserError, match=r"does not record .* `align_report` .*, or set `gaze.per` to case"):
        GazeDataset(store, size=SIZE, gaze=GazeMaps(sigma=9, per="class"))


def test_cases_without_a_readable_image_take_their_mentions_with_them(tmp_path: Path) -> None:
    cohort = with_mentions(make_cohort(tmp_path / "source", 9))
    lost = cohort.readings.row(1, named=True)
    Path(cohort.cases.filter(case_id=lost["case_id"])["image"][0]).write_bytes(b"no image")
    store = prepare(cohort, tmp_path / "store", size=SIZE, workers=1)
    others = cohort.mentions.filter(pl.col("reading_id") != lost["reading_id"])
    assert 0 < len(others) < len(cohort.mentions)
    assert store.mentions.equals(others)
    assert verify(store) == []


def test_mentions_of_nothing_are_refused(cohort: Cohort) -> None:
    strange = cohort.mentions.head(1)
    for column, value in (("reading_id", "r99"), ("index", 99)):
        wrong = strange.with_columns(pl.lit(value, strange.schema[column]).alias(column))
        with pytest.raises(ValueError, match="1 mentions are of no fixation"):
            replace(cohort, mentions=wrong)
    for column, other in (("label", "Mass"), ("share", 0.0), ("share", 1.5)):
        wrong = strange.with_columns(pl.lit(other).alias(column))
        with pytest.raises(Exception, match=column):
            replace(cohort, mentions=wrong)
    with pytest.raises(Exception, match="reading_id"):
        replace(cohort, mentions=pl.concat([strange, strange]))


def test_verification_finds_mentions_that_do_not_fit(store: Store, tmp_path: Path) -> None:
    folder = store.path.parent / "spoilt"
    prepare(with_mentions(make_cohort(tmp_path / "source", 9)), folder, size=SIZE, workers=1)
    spoilt = Store.open(folder)
    table = spoilt.mentions
    index = pl.when(pl.int_range(pl.len()) == 0).then(99).otherwise("index").cast(pl.Int32)
    write_parquet(table.with_columns(label=pl.lit("Mass"), index=index), folder / MENTIONS)
    spoilt.manifest["hashes"][MENTIONS] = file_digest(folder / MENTIONS)
    faults = [fault for fault in verify(Store(folder, spoilt.manifest)) if "mentions" in fault]
    assert faults == ["1 mentions belong to no fixation", f"{len(table)} mentions are of no class"]


@pytest.mark.parametrize("weight", ["duration", "count"])
def test_the_map_of_a_class_is_the_map_of_its_fixations_alone(
    store: Store, weight: Literal["duration", "count"]
) -> None:
    dataset = GazeDataset(store, size=SIZE, gaze=GazeMaps(sigma=12, weight=weight, per="class"))
    readings = store.readings.select("reading_id", "case_id")
    table = store.fixations.join(readings, on="reading_id").join(
        store.mentions, on=["reading_id", "index"], how="left"
    )
    seen = 0
    for sample in dataset:
        for k, name in enumerate(store.classes):
            rows = table.filter(case_id=sample.case_id, label=name)
            drawn = collate([sample]).gaze_maps(classes=torch.tensor([k]))
            if rows.is_empty():  # all gaze of the case
                assert torch.equal(drawn, collate([sample]).gaze_maps())
                continue
            seen += 1
            points = torch.tensor(rows.select("x", "y").to_numpy()).float() / 2  # of 80 pixels on 40
            shares = torch.tensor((rows["duration"] * rows["share"]).to_numpy()).float()
            weights = shares if weight == "duration" else torch.ones(len(rows))
            expected = static_maps(points[None], weights[None], (SIZE, SIZE), 6.0)
            assert torch.allclose(drawn, expected, atol=1e-5)
    assert seen > 8


def test_a_batch_draws_each_case_for_its_own_class(store: Store) -> None:
    dataset = GazeDataset(store, size=SIZE, gaze=GazeMaps(sigma=12, per="class"))
    batch = collate([dataset[i] for i in range(len(dataset))])
    classes = torch.arange(len(dataset)) % 3
    maps = batch.gaze_maps(classes=classes)
    for i in range(len(dataset)):
        alone = collate([dataset[i]]).gaze_maps(classes=classes[i : i + 1])
        assert torch.allclose(maps[i], alone[0], atol=1e-6)
    # −1 is the gaze of the case, and so is no class at all.
    assert torch.equal(batch.gaze_maps(classes=torch.full_like(classes, -1)), batch.gaze_maps())
    plain = GazeDataset(store, size=SIZE, gaze=GazeMaps(sigma=12))
    same = collate([plain[i] for i in range(len(plain))])
    assert same.class_weights is None
    assert torch.equal(same.gaze_maps(), batch.gaze_maps())
    assert torch.equal(same.gaze_maps(classes=classes), batch.gaze_maps())
    moved = pickle.loads(pickle.dumps(batch)).to("cpu")
    assert torch.equal(moved.gaze_maps(classes=classes), maps)


@pytest.mark.parametrize("weight", ["duration", "count"])
def test_each_reader_of_a_class_counts_the_same_however_long_or_often_the_look(
    weight: Literal["duration", "count"], tmp_path: Path
) -> None:
    made = make_cohort(tmp_path / "source", 3, shape=(100, 100))
    case = made.cases["case_id"][0]
    readings = pl.DataFrame(
        [(name, case, None, 4, 9.0) for name in ("short", "long")], schema=made.readings.schema, orient="row"
    )
    rows = [
        ("short", 0, 20.0, 20.0, 0.0, 0.2),
        ("short", 1, 50.0, 90.0, 1.0, 5.0),
        ("long", 0, 80.0, 20.0, 0.0, 3.0),
        ("long", 1, 50.0, 90.0, 4.0, 0.1),
        ("long", 2, 80.0, 20.0, 5.0, 1.0),
    ]
    fixations = pl.LazyFrame(rows, schema=made.fixations.collect_schema(), orient="row")
    mentions = [("short", 0, "CHF", 1.0), ("long", 0, "CHF", 0.5), ("long", 2, "CHF", 1.0)]
    cohort = replace(
        made,
        readings=readings,
        fixations=fixations,
        rejections=made.rejections.clear(),
        mentions=pl.DataFrame(mentions, schema=NO_MENTIONS, orient="row"),
    )
    store = prepare(cohort, tmp_path / "store", size=100, workers=1)
    sample = GazeDataset(store, size=100, gaze=GazeMaps(weight, sigma=3, per="class"))[0]
    drawn = collate([sample]).gaze_maps(classes=torch.tensor([1]))[0, 0]
    assert float(drawn[20, 20]) == pytest.approx(float(drawn[20, 80]), rel=1e-4)
    assert drawn[88:92, 48:52].max() < 1e-6


def test_augmentation_moves_the_gaze_of_a_class_with_the_image(store: Store) -> None:
    augment = Augmentation(rotate=40, scale=(0.7, 1.6), translate=0.3)
    gaze = GazeMaps(sigma=9, per="class")
    dataset = GazeDataset(store, size=SIZE, gaze=gaze, augment=augment)
    lost = 0
    for epoch in range(4):
        dataset.set_epoch(epoch)
        for i, still in enumerate(GazeDataset(store, size=SIZE, gaze=gaze)):
            sample = dataset[i]
            assert sample.class_weights is not None
            assert still.class_weights is not None
            inside = ((sample.points >= 0) & (sample.points <= SIZE)).all(1)
            lost += int((~inside).sum())
            assert torch.equal(sample.class_weights, still.class_weights * inside[:, None])
    assert lost


def test_merged_stores_keep_the_gaze_by_class_under_new_names(cohort: Cohort, tmp_path: Path) -> None:
    other = with_mentions(make_cohort(tmp_path / "source", 6, seed=4), seed=8)
    expected = set()
    for name, each in (("one", cohort), ("two", other)):
        prepare(each, tmp_path / name, size=SIZE, workers=1)
        gone = each.cases.filter(label_pneumonia=1)["case_id"]
        kept = each.readings.filter(~pl.col("case_id").is_in(gone.implode()))["reading_id"].to_list()
        for reading, index, label, share in each.mentions.iter_rows():
            if reading in kept and label != "pneumonia":
                expected.add((reading, name, index, {"CHF": "Failure"}.get(label, label), share))
    options = MergeOptions([tmp_path / "one", tmp_path / "two"], map=["CHF=Failure", "pneumonia="])
    found = set()
    for reading, index, label, share in read_merge(options).mentions.iter_rows():
        # Readings of the second store have ids of the first, which has more, and so the store's name.
        own, _, name = reading.partition("@")
        found.add((own, name or "one", index, label, share))
    assert found == expected


def test_views_keep_their_place_beside_gaze_by_class(tmp_path: Path) -> None:
    made = with_mentions(make_cohort(tmp_path / "source", 3, shape=(60, 60)))
    viewed = made.fixations.with_columns(
        *(pl.lit(6.0).alias(name) for name in VIEWS[:2]),
        *(pl.lit(0.0).alias(name) for name in VIEWS[2:4]),
        *(pl.lit(60.0).alias(name) for name in VIEWS[4:]),
    )
    store = prepare(replace(made, fixations=viewed), tmp_path / "store", size=SIZE, workers=1)
    sample = GazeDataset(store, size=SIZE, gaze=GazeMaps(unit="degrees", sigma=1, per="class"))[0]
    assert sample.class_weights is not None
    for k in range(3):
        if not (sample.class_weights[:, k] > 0).any():
            continue
        alone = replace(sample, weights=sample.class_weights[:, k])
        drawn = collate([sample]).gaze_maps(classes=torch.tensor([k]))
        assert torch.equal(drawn, collate([alone]).gaze_maps())


def test_a_changed_record_makes_another_store(cohort: Cohort, store: Store, tmp_path: Path) -> None:
    """Maps of a class are drawn from it."""
    changed = replace(cohort, mentions=cohort.mentions.with_columns(share=pl.col("share") / 2))
    other = prepare(changed, tmp_path / "other", size=store.size, workers=1)
    first, second = origin.contents(store), origin.contents(other)
    assert {name for name in first if first[name] != second[name]} == {"gaze"}
