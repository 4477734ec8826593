"""Preparing a store: what is in it, what is not, and that nothing but its content decides its bytes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest
from PIL import Image
from polars.testing import assert_frame_equal

from radgaze.errors import UserError
from radgaze.sources.cohort import Cohort
from radgaze.sources.contents import REASONS
from radgaze.store.digest import file_digest
from radgaze.store.finishing import without
from radgaze.store.journal import Done
from radgaze.store.partial import Partial
from radgaze.store.pixels import Fitted
from radgaze.store.store import Store
from radgaze.store.verification import verify
from tests.store.cohorts import contents, make_cohort, write_dicom
from tests.stores import prepare


def test_store_holds_the_cohorts_tables_and_counts(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "source")
    store = prepare(cohort, tmp_path / "store", size=64, workers=1)
    for name in ("readings", "fixations", "boxes"):
        assert_frame_equal(getattr(store, name), getattr(cohort, name).lazy().collect())
    assert_frame_equal(store.cases.select(cohort.cases.drop("image").columns), cohort.cases.drop("image"))
    assert_frame_equal(store.regions.table.select("case_id", "label"), cohort.regions.drop("file"))
    assert_frame_equal(store.rejections, cohort.rejections)
    counts = store.manifest["counts"]
    assert (counts["cases"], counts["readings"]) == (9, 7)
    assert counts["fixations"] == len(cohort.fixations.collect())
    assert counts["regions"] == len(cohort.regions) == 12
    assert counts["rejections"] == dict.fromkeys(REASONS, 0) | {"off_image_fixation": 7}
    assert store.classes == cohort.classes
    assert store.manifest["parameters"] == {"seed": 0, "size": 64, "voi": "window"}


def test_a_store_says_whether_its_classes_exclude_each_other(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "source", cases=4)
    assert prepare(cohort, tmp_path / "one", size=32, workers=1).exclusive
    both = replace(cohort, cases=cohort.cases.with_columns(label_CHF=pl.lit(1, pl.Int8)), exclusive=False)
    store = prepare(both, tmp_path / "several", size=32, workers=1)
    assert not Store.open(store.path).exclusive
    manifest = json.loads((tmp_path / "one" / "manifest.json").read_text())
    del manifest["exclusive"]  # as stores were, before there were others
    (tmp_path / "one" / "manifest.json").write_text(json.dumps(manifest))
    assert Store.open(tmp_path / "one").exclusive
    # The same tables, another meaning.
    with pytest.raises(UserError, match="another store"):
        prepare(replace(cohort, exclusive=False), tmp_path / "one", size=32, workers=1)


def test_manifest_hashes_are_those_of_every_other_file(tmp_path: Path) -> None:
    prepare(make_cohort(tmp_path / "source"), tmp_path / "store", size=64, workers=1)
    files = contents(tmp_path / "store")
    manifest = json.loads(files.pop("manifest.json"))
    assert manifest["hashes"] == {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}


def test_no_name_date_number_or_path_of_the_source_is_in_the_store(tmp_path: Path) -> None:
    prepare(make_cohort(tmp_path / "source"), tmp_path / "store", size=64, workers=1)
    for name, data in contents(tmp_path / "store").items():
        # Parquet may compress; the tables are looked at as text too.
        text = data if not name.endswith(".parquet") else data + _as_csv(tmp_path / "store" / name)
        for secret in (b"ecret", b"19450508", b"p1000", b"s5000", b".dcm", str(tmp_path).encode()):
            assert secret not in text, (name, secret)


def _as_csv(path: Path) -> bytes:
    return pl.read_parquet(path).write_csv().encode()


def test_a_bright_square_lands_where_the_geometry_says(tmp_path: Path) -> None:
    for k, (rows, columns) in enumerate([(400, 300), (300, 411), (100, 77)]):
        cohort = make_cohort(tmp_path / f"source{k}", cases=1, shape=(rows, columns))
        picture = np.zeros((rows, columns))
        top, left, side = rows // 2 + 7, columns // 3, columns // 5
        picture[top : top + side, left : left + side] = 1
        write_dicom(Path(cohort.cases["image"][0]), picture)
        store = prepare(cohort, tmp_path / f"store{k}", size=128, workers=1)
        case = store.cases.row(0, named=True)
        assert (case["rows"], case["columns"]) == (rows, columns)
        light = store.image(0).astype(float)
        along = np.arange(128) + 0.5
        for axis, first, pad in ((0, left, case["pad_x"]), (1, top, case["pad_y"])):
            profile = light.sum(axis)
            centre = (profile * along).sum() / profile.sum()
            assert centre == pytest.approx((first + side / 2) * case["scale"] + pad, abs=0.05)
            assert profile.sum() / light.sum(axis).max() == pytest.approx(side * case["scale"], rel=0.02)


def test_images_are_antialiased_and_their_padding_is_black(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "source", cases=1, shape=(512, 384))
    picture = (
        np.indices((512, 384)).sum(0) % 2
    )  # a fine checkerboard: grey from afar, moiré without antialiasing
    write_dicom(Path(cohort.cases["image"][0]), picture.astype(float))
    store = prepare(cohort, tmp_path / "store", size=100, workers=1)
    image = store.image(0)
    case = store.cases.row(0, named=True)
    assert (case["scale"], case["pad_x"], case["pad_y"]) == (pytest.approx(100 / 512), 12, 0)
    assert not image[:, :12].any()
    assert not image[:, 12 + 75 :].any()
    assert image[5:-5, 17:82].min() >= 120
    assert image[5:-5, 17:82].max() <= 135


def test_pixels_are_pillows_resize_of_the_image(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "source", cases=1, shape=(128, 128))
    smooth = np.add.outer(np.linspace(0, 0.5, 128), np.linspace(0, 0.5, 128))
    write_dicom(Path(cohort.cases["image"][0]), smooth)
    store = prepare(cohort, tmp_path / "store", size=64, workers=1)
    oracle = Image.fromarray(smooth.astype(np.float32)).resize((64, 64), Image.Resampling.BICUBIC)
    assert np.abs(store.image(0) / 255 - np.asarray(oracle)).max() < 1.5 / 255


def test_bytes_do_not_depend_on_workers_nor_on_where_the_source_lies(tmp_path: Path) -> None:
    prepare(make_cohort(tmp_path / "here"), tmp_path / "one", size=64, workers=1)
    prepare(make_cohort(tmp_path / "there"), tmp_path / "two", size=64, workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert not (tmp_path / "one.partial").exists()


def test_shards_fill_and_the_images_stay_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("store", "partial", "finishing"):
        monkeypatch.setattr(f"radgaze.store.{module}.SHARD", 4)
    cohort = make_cohort(tmp_path / "source")
    sharded = prepare(cohort, tmp_path / "sharded", size=32, workers=1)
    monkeypatch.undo()
    whole = prepare(cohort, tmp_path / "whole", size=32, workers=1)
    assert sharded.cases["shard"].to_list() == [0, 0, 0, 0, 1, 1, 1, 1, 2]
    for i in range(9):
        assert np.array_equal(sharded.image(i), whole.image(i))


def test_an_unreadable_image_becomes_a_rejection_and_takes_everything_of_its_case_along(
    tmp_path: Path,
) -> None:
    cohort = make_cohort(tmp_path / "source")
    whole = prepare(cohort, tmp_path / "whole", size=32, workers=1)
    Path(cohort.cases["image"][1]).write_bytes(b"not a DICOM file")
    Path(cohort.cases["image"][4]).unlink()
    store = prepare(cohort, tmp_path / "store", size=32, workers=2)
    ids = [i for i in cohort.cases["case_id"] if i not in ("case-01", "case-04")]
    assert store.cases["case_id"].to_list() == ids
    assert "r1" not in store.readings["reading_id"]
    assert "r1" not in store.fixations["reading_id"]
    assert "case-01" not in store.boxes["case_id"]
    counts = store.manifest["counts"]["rejections"]
    assert (counts["unreadable_image"], counts["off_image_fixation"]) == (2, 5)
    unreadable = store.rejections.filter(pl.col("reason") == "unreadable_image")
    assert unreadable["case_id"].to_list() == ["case-01", "case-04"]
    assert all(str(tmp_path) not in detail for detail in unreadable["detail"])
    for i, case_id in enumerate(ids):
        before = whole.cases["case_id"].to_list().index(case_id)
        assert np.array_equal(store.image(i), whole.image(before))


def test_without_keeps_rejections_of_other_reasons() -> None:
    cohort = make_cohort_table_only()
    kept = without(cohort, {0: "broken"}).rejections
    assert kept["reason"].to_list() == ["calibration_frame", "off_image_fixation", "unreadable_image"]
    assert kept["detail"].to_list() == ["20 rows", "index 9", "broken"]


def make_cohort_table_only() -> Cohort:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        cohort = make_cohort(Path(folder), cases=2)
    rejections = pl.DataFrame(
        {
            "reason": ["off_image_fixation", "calibration_frame", "off_image_fixation"],
            "case_id": ["case-00", None, "case-01"],
            "reading_id": ["r0", None, "r1"],
            "detail": ["index 3", "20 rows", "index 9"],
        }
    )
    return replace(cohort, rejections=rejections)


def test_with_resume_it_goes_on_or_tells_what_differs_and_never_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    cohort = make_cohort(tmp_path / "source")
    with pytest.raises(UserError, match=r"nothing to go on with.*store\.partial.*leave `resume` out"):
        prepare(cohort, tmp_path / "store", size=64, workers=1, resume=True)
    assert not (tmp_path / "store.partial").exists()
    interrupt_after(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        prepare(cohort, tmp_path / "store", size=64, workers=1)
    monkeypatch.undo()
    kept = contents(tmp_path / "store.partial")
    others = {
        "size 64, not 48": (cohort, 48),
        "seed 0, not 1": (replace(cohort, parameters={"seed": 1}), 64),
        "another source": (replace(cohort, boxes=cohort.boxes.clear()), 64),
    }
    for told, (other, size) in others.items():
        with pytest.raises(UserError, match=told):
            prepare(other, tmp_path / "store", size=size, workers=1, resume=True)
    image = Path(cohort.cases["image"][0])
    os.utime(image, ns=(1, 1))
    with pytest.raises(UserError, match="files changed or moved since"):
        prepare(cohort, tmp_path / "store", size=64, workers=1, resume=True)
    assert contents(tmp_path / "store.partial") == kept
    cohort = make_cohort(tmp_path / "source")  # its files are written again: their times differ
    with pytest.raises(UserError, match="files changed or moved since"):
        prepare(cohort, tmp_path / "store", size=64, workers=1, resume=True)


def test_resume_goes_on_to_the_same_bytes_and_leaves_a_whole_store_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    cohort = make_cohort(tmp_path / "source")
    interrupt_after(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        prepare(cohort, tmp_path / "store", size=64, workers=1)
    monkeypatch.undo()
    capfd.readouterr()
    files = len(prepare(cohort, tmp_path / "store", size=64, workers=1, resume=True).manifest["hashes"])
    said = capfd.readouterr().err
    assert "4 of 9 images are done" in said
    for bar in (
        r"Checking earlier images .* 4/4 \d",
        r"Reading images .* 5/5 \d",
        rf"Taking hashes .* {files}/{files} \d",
    ):
        assert re.search(bar, said)
    prepare(cohort, tmp_path / "straight", size=64, workers=1)
    assert contents(tmp_path / "store") == contents(tmp_path / "straight")
    prepare(cohort, tmp_path / "store", size=64, workers=1, resume=True)
    assert "left as it is" in capfd.readouterr().err


def test_nothing_to_prepare_is_said(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "source", cases=2)
    for path in cohort.cases["image"]:
        Path(path).write_bytes(b"")
    with pytest.raises(UserError, match="none of the 2 images can be read"):
        prepare(cohort, tmp_path / "store", size=32, workers=1)
    assert not (tmp_path / "store.partial").exists()
    empty = without(cohort, {0: "broken", 1: "broken"})
    with pytest.raises(UserError, match="no case is left to prepare; rejected: unreadable_image 2"):
        prepare(empty, tmp_path / "store", size=32, workers=1)


SLOWLY = """
import pathlib, pickle, sys, time
from radgaze.store.options import PrepareOptions
from radgaze.store.partial import Partial
from radgaze.store.preparation import prepare

put = Partial.put
def slowly(self, i, image):
    done = put(self, i, image)
    time.sleep(0.2)
    return done
Partial.put = slowly

if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    cohort = pickle.loads((folder / "cohort").read_bytes())
    prepare(cohort, PrepareOptions(folder / "store", size=64, workers=2))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_killed_preparation_goes_on_where_it_was_and_gives_the_same_bytes(
    tmp_path: Path, how: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    cohort = make_cohort(tmp_path / "source")
    prepare(cohort, tmp_path / "straight", size=64, workers=1)
    (tmp_path / "cohort").write_bytes(pickle.dumps(cohort))
    (tmp_path / "slowly.py").write_text(SLOWLY)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "slowly.py"), str(tmp_path)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    journal = tmp_path / "store.partial" / "journal.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (journal.exists() and journal.read_text().count("\n") >= 3):
        time.sleep(0.02)
    process.send_signal(how)
    process.wait(30)
    assert not (tmp_path / "store").exists()
    with pytest.raises(UserError, match=r"not finished.*store\.partial"):
        Store.open(tmp_path / "store")
    before = journal.read_text().count('"pixels": ')
    assert 3 <= before < 9
    # Half a line, as a power cut leaves it, and an image whose pixels were lost.
    with journal.open("a") as file:
        file.write('{"image": 8, "row')
    Partial(tmp_path / "store.partial", 9, 64).clear(json.loads(journal.read_text().splitlines()[0])["image"])
    capfd.readouterr()
    prepare(cohort, tmp_path / "store", size=64, workers=2)
    assert f"{before - 1} of 9 images are done" in " ".join(capfd.readouterr().err.split())
    assert contents(tmp_path / "store") == contents(tmp_path / "straight")
    assert not (tmp_path / "store.partial").exists()


def interrupt_after(monkeypatch: pytest.MonkeyPatch, images: int) -> None:
    """Let Ctrl-C come after so many images."""
    put = Partial.put

    def once(self: Partial, i: int, image: Fitted) -> Done:
        if len(self.done()) == images:
            raise KeyboardInterrupt
        return put(self, i, image)

    monkeypatch.setattr(Partial, "put", once)


@pytest.mark.parametrize("change", ["parameters", "source", "image"])
def test_an_unfinished_store_of_something_else_is_begun_anew_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, capfd: pytest.CaptureFixture[str]
) -> None:
    cohort = make_cohort(tmp_path / "source")
    interrupt_after(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt, match=r"^4 of 9 images are kept in .*goes on from there$"):
        prepare(cohort, tmp_path / "store", size=64, workers=1)
    monkeypatch.undo()
    size = 64
    if change == "parameters":
        size = 48
    elif change == "source":
        cohort = replace(cohort, fixations=cohort.fixations.with_columns(pl.col("x") * 0.9))
    else:
        draw = np.random.default_rng(5)
        write_dicom(Path(cohort.cases["image"][0]), draw.random((90, 90)))
    store = prepare(cohort, tmp_path / "store", size=size, workers=1)
    assert "starting again" in capfd.readouterr().err
    fresh = prepare(cohort, tmp_path / "fresh", size=size, workers=1)
    assert contents(store.path) == contents(fresh.path)


def test_a_finished_store_is_left_as_it_is_and_that_is_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cohort = make_cohort(tmp_path / "source")
    prepare(cohort, tmp_path / "store", size=32, workers=1)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "store").rglob("*")}
    # Files copied or touched since are read, and found to be the same.
    for path in cohort.cases["image"]:
        os.utime(path)
    prepare(cohort, tmp_path / "store", size=32, workers=1)
    assert "left as it is" in " ".join(capfd.readouterr().err.split())
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "store").rglob("*")}


def test_a_store_of_another_content_is_only_replaced_when_asked(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "source")
    prepare(cohort, tmp_path / "store", size=32, workers=1)
    with pytest.raises(UserError, match=r"another store \(size 32, not 48\).*`overwrite=True`"):
        prepare(cohort, tmp_path / "store", size=48, workers=1)
    write_dicom(Path(cohort.cases["image"][2]), np.full((100, 100), 0.5))
    with pytest.raises(UserError, match=r"its source has changed since.*`overwrite=True`"):
        prepare(cohort, tmp_path / "store", size=32, workers=1)
    assert prepare(cohort, tmp_path / "store", size=48, workers=1, overwrite=True).size == 48
    assert sorted(p.name for p in tmp_path.iterdir()) == ["source", "store"]


def test_an_image_changed_in_place_to_one_of_the_same_size_is_noticed(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "source", shape=(80, 80))
    prepare(cohort, tmp_path / "store", size=32, workers=1)
    write_dicom(Path(cohort.cases["image"][2]), np.full((80, 80), 0.5))
    with pytest.raises(UserError, match="source has changed"):
        prepare(cohort, tmp_path / "store", size=32, workers=1)


def test_an_image_replaced_by_an_older_one_of_another_size_is_noticed(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "source")
    prepare(cohort, tmp_path / "store", size=32, workers=1)
    path = Path(cohort.cases["image"][2])
    before = path.stat()
    write_dicom(path, np.full((100, 100), 0.5))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size != before.st_size
    with pytest.raises(UserError, match="source has changed"):
        prepare(cohort, tmp_path / "store", size=32, workers=1)


@pytest.mark.parametrize(
    "manifest", ["{}", "[]", '{"name": "app", "version": "1"}', '{"format": 1}', "not JSON", "[" * 100_000]
)
def test_overwrite_replaces_no_folder_with_a_manifest_of_something_else(
    manifest: str, tmp_path: Path
) -> None:
    cohort = make_cohort(tmp_path / "source", cases=2)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "manifest.json").write_text(manifest)
    before = contents(tmp_path / "site")
    with pytest.raises(
        UserError, match=r"manifest\.json is not a store's, so `overwrite=True` does not replace"
    ):
        prepare(cohort, tmp_path / "site", size=32, workers=1, overwrite=True)
    assert contents(tmp_path / "site") == before


@pytest.mark.parametrize("name", ["thesis.txt", "images/notes.md", "results/audit.md", "fixations.csv"])
def test_overwrite_leaves_a_store_alone_that_holds_something_else(name: str, tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "source", cases=2)
    prepare(cohort, tmp_path / "store", size=32, workers=1)
    (tmp_path / "store" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "store" / name).write_text("years of work")
    before = contents(tmp_path / "store")
    with pytest.raises(UserError, match=rf"holds {name.split('/')[0]}.* which is no part of a store"):
        prepare(cohort, tmp_path / "store", size=48, workers=1, overwrite=True)
    assert contents(tmp_path / "store") == before


@pytest.mark.parametrize("damage", ["cut", "format", "table"])
def test_overwrite_replaces_a_damaged_store_and_one_of_another_format(damage: str, tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "source", cases=2)
    prepare(cohort, tmp_path / "store", size=32, workers=1)
    path = tmp_path / "store" / "manifest.json"
    if damage == "cut":
        path.write_text(path.read_text()[:-300])
    elif damage == "format":
        path.write_text(path.read_text().replace('"format": 1', '"format": 0'))
    else:
        (tmp_path / "store" / "cases.parquet").unlink()
    (tmp_path / "store" / ".DS_Store").touch()
    assert prepare(cohort, tmp_path / "store", size=48, workers=1, overwrite=True).size == 48


def test_a_folder_that_is_no_store_is_never_touched(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "source", cases=2)
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "thesis.txt").write_text("years of work")
    (tmp_path / "other.partial").mkdir()
    (tmp_path / "other.partial" / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="is not a store"):
            prepare(cohort, tmp_path / "store", size=32, workers=1, overwrite=overwrite)
        with pytest.raises(UserError, match="in the way"):
            prepare(cohort, tmp_path / "other", size=32, workers=1, overwrite=overwrite)
    assert (tmp_path / "store" / "thesis.txt").exists()
    assert (tmp_path / "other.partial" / "thesis.txt").exists()


def test_two_preparations_of_one_store_keep_apart(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "source", cases=2)
    (tmp_path / "store.partial").mkdir()
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from pathlib import Path; from radgaze import locks\n"
            "with locks.exclusive(Path(sys.argv[1]), ''): print('held', flush=True); time.sleep(60)",
            str(tmp_path / "store.partial" / "lock"),
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match="another preparation is writing"):
            prepare(cohort, tmp_path / "store", size=32, workers=1)
    finally:
        holder.kill()
        holder.wait()
    prepare(cohort, tmp_path / "store", size=32, workers=1)


def test_opening_what_is_no_store_says_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        Store.open(tmp_path / "nothing")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=r"is not a store: it has no manifest\.json"):
        Store.open(tmp_path / "folder")
    store = prepare(make_cohort(tmp_path / "source", cases=2), tmp_path / "store", size=32, workers=1)
    (store.path / "boxes.parquet").rename(tmp_path / "boxes.parquet")
    with pytest.raises(UserError, match=r"boxes\.parquet is missing"):
        Store.open(store.path)
    (store.path / "manifest.json").write_text(json.dumps(store.manifest | {"format": 99}))
    with pytest.raises(UserError, match=r"format 99, of a newer radgaze than this .*: update radgaze"):
        Store.open(store.path)
    (store.path / "manifest.json").write_text(json.dumps(store.manifest | {"format": 0}))
    with pytest.raises(UserError, match="format 0, this software reads 1: prepare it again"):
        Store.open(store.path)
    (store.path / "manifest.json").write_text("{")
    with pytest.raises(UserError, match="not a store's manifest"):
        Store.open(store.path)


@pytest.mark.parametrize("where", ["put", "finish", "become"])
def test_a_disk_that_fails_is_told_in_a_line_and_leaves_nothing_that_looks_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    from radgaze.store import preparation as module

    cohort = make_cohort(tmp_path / "source")
    prepare(cohort, tmp_path / "straight", size=64, workers=1)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(module if where == "finish" else Partial, where, full)
        with pytest.raises(UserError, match=r"No space left on device.*the same command goes on"):
            prepare(cohort, tmp_path / "store", size=64, workers=1)
        assert not (tmp_path / "store").exists()
        with pytest.raises(UserError, match="not finished"):
            Store.open(tmp_path / "store")
    prepare(cohort, tmp_path / "store", size=64, workers=1)
    assert contents(tmp_path / "store") == contents(tmp_path / "straight")


@pytest.mark.parametrize(("owner", "call"), [(Path, "mkdir"), (os, "open")])
def test_an_output_that_cannot_be_written_to_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: type[Path] | ModuleType, call: str
) -> None:
    """The tests may run as root, who may write where nobody may; so the system's answer is given for it."""
    cohort, real = make_cohort(tmp_path / "source"), getattr(owner, call)

    def refused(path: str | Path, *args: object, **options: object) -> object:
        if "store.partial" in Path(path).parts:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return real(path, *args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(owner, call, refused)
        with pytest.raises(UserError, match=r"cannot be written to: Read-only.*choose another `out`"):
            prepare(cohort, tmp_path / "store", size=64, workers=1)
    assert not (tmp_path / "store").exists()


def test_a_file_that_changes_while_it_is_prepared_makes_no_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort, put = make_cohort(tmp_path / "source"), Partial.put

    def touched(self: Partial, i: int, image: Fitted) -> Done:
        done = put(self, i, image)
        if i == 4:
            path = Path(cohort.cases["image"][2])
            path.write_bytes(path.read_bytes() + b"more")
        return done

    with monkeypatch.context() as patched:
        patched.setattr(Partial, "put", touched)
        with pytest.raises(UserError, match="changed while they were read"):
            prepare(cohort, tmp_path / "store", size=64, workers=1)
    assert not (tmp_path / "store").exists()
    store = prepare(cohort, tmp_path / "store", size=64, workers=1)
    assert store.cases["sha256"][2] == file_digest(cohort.cases["image"][2])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ten_kills_at_any_moment_change_no_byte(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "source", 24)
    straight = prepare(cohort, tmp_path / "straight", size=64, workers=1)
    (tmp_path / "cohort").write_bytes(pickle.dumps(cohort))
    (tmp_path / "slowly.py").write_text(SLOWLY)
    draw = random.Random(11)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for _ in range(10):
        process = subprocess.Popen(
            [sys.executable, str(tmp_path / "slowly.py"), str(tmp_path)],
            cwd=Path(__file__).parents[2],
            env=environment,
        )
        with suppress(subprocess.TimeoutExpired):
            process.wait(draw.uniform(0.2, 3.5))
        process.kill()
        process.wait(30)
    prepare(cohort, tmp_path / "store", size=64, workers=2)
    assert contents(tmp_path / "store") == contents(straight.path)


def test_a_path_is_no_pattern(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """As one, store[1] would be store1."""
    stores = {}
    for name, cases in (("store1", 9), ("store[1]", 5)):
        stores[name] = prepare(
            make_cohort(tmp_path / name / "source", cases), tmp_path / name / "store", size=32
        )
    store = Store.open(stores["store[1]"].path)
    held = (store.cases, store.readings, store.fixations, store.boxes, store.regions.table)
    of_five = {f"case-{k:02d}" for k in range(5)}
    assert [set(table["case_id"]) <= of_five for table in held if "case_id" in table.columns] == [True] * 4
    assert store.cases.height == 5
    assert set(store.fixations["reading_id"]) <= set(store.readings["reading_id"])
    assert verify(store) == []
