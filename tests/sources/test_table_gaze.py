"""Fixations of a table, sorted on disk: as a loop over all of them in memory would have them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from radgaze.errors import UserError
from radgaze.gaze.frames import Frames
from radgaze.gaze.spec import GazeMaps
from radgaze.sources import external_sort as spool
from radgaze.sources import streaming, table
from radgaze.sources.cohort import Cohort
from radgaze.sources.table import TableOptions
from radgaze.sources.table import gaze as table_gaze
from radgaze.store import merge
from radgaze.store.batch import collate
from radgaze.store.dataset import GazeDataset
from radgaze.store.merge import MergeOptions
from tests.sources.names import read_named
from tests.stores import prepare

CASES, SIDE = 12, 20

Reading = tuple[str, str, str | None, int, float]
Fixation = tuple[str, int, float, float, float, float]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images, and looks of three readers in no order; some are off the image or on no record's."""
    folder = tmp_path_factory.mktemp("gaze")
    draw = random.Random(5)
    labels, looks = ["image,patient,label"], ["image,reader,x,y,onset,duration"]
    for i in range(CASES):
        pixels = np.random.default_rng(i).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"i{i}.png")
        labels.append(f"i{i}.png,{i // 2},{'ab'[i % 2]}")
    for _ in range(600):
        name = draw.choice(["i0.png", f"i{draw.randrange(2, CASES + 1)}", "i1"])
        x, y = ("" if draw.random() < 0.05 else draw.randrange(-2, SIDE + 2) for _ in "xy")
        x = "-5" if name == "i1" else x  # nothing of it is on the image
        who = draw.choice(["Ann", "Bob", ""])
        looks.append(f"{name},{who},{x},{y},{draw.randrange(40) / 8},{draw.randrange(8) / 8}")
    (folder / "labels.csv").write_text("\n".join(labels))
    (folder / "looks.csv").write_text("\n".join(looks))
    return folder


def read(folder: Path, *, without_gaze: Literal["keep", "drop"] = "keep") -> Cohort:
    looks = folder / "looks.csv"
    return read_named(folder / "labels.csv", fixations=looks, without_gaze=without_gaze)


def looped(folder: Path) -> tuple[list[Reading], list[Fixation], list[tuple[str, str]], int]:
    """reading_id, case_id, reader, recorded, duration; reading_id, index, x, y, onset, duration of what is on
    the image; and reading_id, index of what is not: one fixation after the other.
    """
    of_case: dict[str, dict[str, list[tuple[float, int, str, str, float]]]] = {}
    readers: dict[str, str] = {}
    for place, line in enumerate((folder / "looks.csv").read_text().splitlines()[1:]):
        name, who, x, y, begin, length = line.split(",")
        if who:
            readers.setdefault(who, f"reader-{len(readers) + 1}")
        case = name.removesuffix(".png")
        of_case.setdefault(case, {}).setdefault(who, []).append((float(begin), place, x, y, float(length)))
    readings, fixations, off = [], [], []
    for i in range(CASES):
        for number, (who, looks) in enumerate(of_case.get(f"i{i}", {}).items()):
            own = f"i{i}/{number}"
            end = max(onset + duration for onset, *_, duration in looks)
            start = min(onset for onset, *_ in looks)
            lasts = end - start
            readings.append((own, f"i{i}", readers.get(who), len(looks), lasts))
            for index, (onset, _, x, y, duration) in enumerate(sorted(looks)):
                if x and y and 0 <= float(x) <= SIDE and 0 <= float(y) <= SIDE:
                    fixations.append((own, index, float(x), float(y), onset - start, duration))
                else:
                    off.append((own, f"index {index}"))
    return readings, fixations, off, sum(map(len, of_case[f"i{CASES}"].values()))


@pytest.mark.parametrize(
    ("block", "rows"), [(2**21, 2**16), (100, 16), pytest.param(300, 3, marks=pytest.mark.slow)]
)
def test_readings_are_what_a_loop_over_all_fixations_finds(
    folder: Path, monkeypatch: pytest.MonkeyPatch, block: int, rows: int
) -> None:
    cut(monkeypatch, block, rows)
    cohort = read(folder)
    readings, fixations, off, strange = looped(folder)
    assert cohort.readings.rows() == readings
    assert cohort.fixations.collect().rows() == fixations
    rejected = {reason: own for (reason,), own in cohort.rejections.group_by("reason")}
    assert rejected["off_image_fixation"].select("reading_id", "detail").rows() == off
    assert rejected["gaze_without_case"].select("case_id", "detail").rows() == [
        (f"i{CASES}", f"{strange} fixations on an image that is not in the table")
    ]


def test_a_clock_that_runs_over_the_session_changes_neither_maps_nor_frames(
    folder: Path, tmp_path: Path
) -> None:
    """Unix time in seconds, of which a float32 keeps steps of two minutes."""
    head, *looks = [line.split(",") for line in (folder / "looks.csv").read_text().splitlines()]
    later = [[*before, str(float(onset) + 1.7e9), duration] for *before, onset, duration in looks]
    (tmp_path / "looks.csv").write_text("\n".join(map(",".join, [head, *later])))
    batches = []
    for name, looks_of in (("session", tmp_path), ("reading", folder)):
        cohort = read_named(folder / "labels.csv", fixations=looks_of / "looks.csv", without_gaze="drop")
        store = prepare(cohort, tmp_path / name, size=32, workers=1)
        assert (
            cohort.fixations.group_by("reading_id").agg(pl.col("onset").min()).collect()["onset"] < 5
        ).all()
        batches.append(collate(list(GazeDataset(store, None, size=32, gaze=GazeMaps(unit="share")))))
    session, reading = batches
    assert torch.equal(session.times, reading.times)
    assert torch.equal(session.gaze_maps(), reading.gaze_maps())
    seconds = Frames(each="seconds", seconds=0.5, most=12)
    for got, expected in zip(session.frames(seconds), reading.frames(seconds), strict=True):
        assert torch.equal(got, expected)
    assert session.frames(seconds)[1].sum(1).max() > 1


def test_fixations_of_other_images_alone_are_a_mistake(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut(monkeypatch, 40, 3)
    looks = ["image,x,y,onset,duration", *(f"other-{k},1,2,{k},0.5" for k in range(20))]
    (tmp_path / "looks.csv").write_text("\n".join(looks))
    with pytest.raises(
        UserError, match=r"looks.csv: no record belongs to a case.*they are of 'other-0'.*'i0'"
    ):
        table.read(TableOptions(folder / "labels.csv", fixations=tmp_path / "looks.csv"))
    (tmp_path / "looks.csv").write_text("\n".join([*looks, "i3.png,1,2,0,1"]))
    cohort = read_named(folder / "labels.csv", fixations=tmp_path / "looks.csv")
    assert cohort.readings["case_id"].to_list() == ["i3"]
    assert dict(cohort.rejections["reason"].value_counts().iter_rows()) == {"gaze_without_case": 20}
    (tmp_path / "looks.csv").write_text(looks[0])
    assert table.read(
        TableOptions(folder / "labels.csv", fixations=tmp_path / "looks.csv")
    ).readings.is_empty()


def test_what_is_off_the_image_of_a_case_that_is_dropped_is_no_rejection_of_its_own(folder: Path) -> None:
    kept, dropped = read(folder), read(folder, without_gaze="drop")
    gone = set(kept.cases["case_id"]) - set(dropped.cases["case_id"])
    assert gone == {"i1"} == set(dropped.rejections.filter(reason="no_gaze")["case_id"])
    off = kept.rejections.filter(reason="off_image_fixation")
    assert dropped.rejections.filter(reason="off_image_fixation").equals(
        off.filter(pl.col("case_id") != "i1")
    )
    assert dropped.readings.equals(kept.readings.filter(pl.col("case_id") != "i1"))
    assert dropped.fixations.collect().equals(kept.fixations.collect())


def test_a_store_is_the_same_to_the_byte_however_much_is_in_memory(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one").mkdir()
    of_one = prepare(read(folder, without_gaze="drop"), tmp_path / "one" / "store", size=16, workers=1)
    assert of_one.manifest["counts"]["rejections"]["no_gaze"] == 1
    cut(monkeypatch, 500, 40)
    monkeypatch.setattr("radgaze.store.finishing.ROWS", 2**16)  # of the file's groups, which are its bytes
    (tmp_path / "two").mkdir()
    of_many = prepare(read(folder, without_gaze="drop"), tmp_path / "two" / "store", size=16, workers=1)
    assert of_many.manifest == of_one.manifest


def test_stores_are_merged_in_parts(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = prepare(read(folder), tmp_path / "whole", size=16, workers=1)
    half = pl.read_csv(folder / "labels.csv").head(CASES // 2)
    half.write_csv(tmp_path / "labels.csv")
    fewer = table.read(TableOptions(tmp_path / "labels.csv", folder, fixations=folder / "looks.csv"))
    again = prepare(fewer, tmp_path / "again", size=16, workers=1)
    at_once = merge.read(MergeOptions([whole.path, again.path]))
    cut(monkeypatch, 500, 40)
    cohort = merge.read(MergeOptions([whole.path, again.path]))
    assert set(cohort.rejections["reason"]) == {"duplicate_case", "duplicate_reading"}
    assert cohort.fixations.collect().equals(at_once.fixations.collect())
    assert cohort.fixations.collect().drop("reading_id").equals(whole.fixations.drop("reading_id"))


def cut(monkeypatch: pytest.MonkeyPatch, block: int, rows: int) -> None:
    """Hold so much of a file, and so many rows, in memory at a time."""
    monkeypatch.setattr(streaming, "BLOCK", block)
    monkeypatch.setattr(spool, "ROWS", rows)
    monkeypatch.setattr(spool, "WAYS", 2)
    for module in (spool, table_gaze):
        monkeypatch.setattr(module, "GROUP", max(1, rows // 2))


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 100])
def test_no_case_is_in_two_parts(rows: int) -> None:
    cases = sorted([0] * 9 + [1] + [3] * 5 + [4] * 2 + [9] * 20)
    table = pl.DataFrame({"case": cases, "place": range(len(cases))})
    parts = list(table_gaze.whole_cases(table.iter_slices(rows)))
    assert pl.concat(parts).equals(table)
    held = [set(part["case"]) for part in parts]
    assert sum(map(len, held)) == len(set(cases)) == len(set().union(*held))
    (empty,) = table_gaze.whole_cases([table.clear()])
    assert empty.equals(table.clear())
