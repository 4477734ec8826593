"""A store that was damaged is found to be, wherever it was."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from radgaze.cli import main
from radgaze.store.digest import file_digest
from radgaze.store.manifest import seal
from radgaze.store.opening import MANIFEST
from radgaze.store.store import Store
from radgaze.store.verification import verify
from tests.store.cohorts import make_cohort
from tests.stores import prepare


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("whole")
    return prepare(make_cohort(folder / "images", 6), folder / "store", size=32, workers=1)


@pytest.fixture
def store(whole: Store, tmp_path: Path) -> Store:
    """A copy to be spoilt."""
    shutil.copytree(whole.path, tmp_path / "store")
    return Store.open(tmp_path / "store")


def rewritten(store: Store, name: str, table: pl.DataFrame) -> list[str]:
    """Problems that `verify` reports for a table that was changed and whose hashes were updated."""
    table.write_parquet(store.path / f"{name}.parquet")
    manifest = json.loads((store.path / MANIFEST).read_text())
    manifest["hashes"][f"{name}.parquet"] = file_digest(store.path / f"{name}.parquet")
    (store.path / MANIFEST).write_text(json.dumps(seal(manifest)))
    return verify(Store.open(store.path))


def test_a_whole_store_is_whole(whole: Store, capsys: pytest.CaptureFixture[str]) -> None:
    seen = []
    assert verify(whole, advance=lambda: seen.append(1)) == []
    assert len(seen) == len(whole.manifest["hashes"])
    assert main(["verify", str(whole.path)]) == 0
    assert "6 cases are as they were written" in capsys.readouterr().out


def test_one_bit_anywhere_is_found(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    for name in store.manifest["hashes"]:
        path = store.path / name
        before = path.read_bytes()
        spoilt = bytearray(before)
        spoilt[len(spoilt) // 2] ^= 1
        path.write_bytes(spoilt)
        assert verify(Store.open(store.path)) == [f"{name} is not the file that was written"]
        path.write_bytes(before)
    (store.path / "images" / "shard-00000.npy").write_bytes(b"")
    assert main(["verify", str(store.path)]) == 1
    said = capsys.readouterr().err
    assert "shard-00000.npy is not the file that was written" in said
    assert "radgaze prepare ... --overwrite" in said  # of another verb than the one that says it


def test_a_manifest_that_was_changed_is_told(store: Store) -> None:
    manifest = json.loads((store.path / MANIFEST).read_text())
    (store.path / MANIFEST).write_text(json.dumps({**manifest, "classes": manifest["classes"][::-1]}))
    assert verify(Store.open(store.path)) == ["manifest.json is not the file that was written"]
    old = {name: value for name, value in manifest.items() if name != "manifest_sha256"}
    (store.path / MANIFEST).write_text(json.dumps(old))  # of a version that took no hash of it
    assert verify(Store.open(store.path)) == []


def test_a_file_that_does_not_belong_is_told(store: Store) -> None:
    (store.path / "notes.txt").write_text("mine")
    assert verify(store) == ["notes.txt is there, and not in the manifest"]


def test_tables_that_contradict_each_other_are_told(store: Store) -> None:
    cases, readings = store.cases, store.readings
    (said, *_) = rewritten(store, "readings", readings.with_columns(case_id=pl.lit("nobody")))
    assert said == f"{readings.height} readings belong to nothing that is here"
    rewritten(store, "readings", readings)
    one = cases.with_columns(patient=pl.lit(0, cases["patient"].dtype))
    assert "1 patients stand in several splits" in rewritten(store, "cases", one)
    twice = cases.with_columns(index=pl.lit(0, cases["index"].dtype))
    assert "two cases have one image" in rewritten(store, "cases", twice)
    past = cases.with_columns(index=pl.col("index") + 1)
    assert any("does not hold the images" in problem for problem in rewritten(store, "cases", past))
    assert "there are 5 cases, the manifest says 6" in rewritten(store, "cases", cases.head(5))
    rewritten(store, "cases", cases)
    looks = store.fixations
    told = rewritten(store, "fixations", looks.tail(-1))
    assert told == [f"there are {looks.height - 1} fixations, the manifest says {looks.height}"]
    strange = pl.when(pl.int_range(pl.len()) < 2).then(pl.lit("unknown")).otherwise("reading_id")
    assert rewritten(store, "fixations", looks.with_columns(reading_id=strange)) == [
        "2 fixations belong to nothing that is here"
    ]


def test_what_is_no_store_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tmp_path)]) == 2
    assert "is not a store" in capsys.readouterr().err


def test_the_folder_one_stands_in_is_told_to_be_no_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["verify", "."]) == 2
    assert "is not a store" in capsys.readouterr().err
