"""A store that is damaged, or made to do harm, is told in one line by every verb that opens it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from radgaze.cli import main
from radgaze.errors import UserError
from radgaze.store.digest import file_digest
from radgaze.store.intact import COLUMNS
from radgaze.store.manifest import seal
from radgaze.store.opening import MANIFEST
from radgaze.store.store import Store
from radgaze.store.twins import as_cases
from radgaze.store.verification import verify
from tests.store.cohorts import make_cohort, with_mentions, with_twins
from tests.stores import prepare


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("whole")
    cohort = with_twins(with_mentions(make_cohort(folder / "images", 8)), folder)
    return prepare(cohort, folder / "store", size=32, workers=1)


@pytest.fixture
def store(whole: Store, tmp_path: Path) -> Path:
    """A copy to be spoilt."""
    shutil.copytree(whole.path, tmp_path / "store")
    return tmp_path / "store"


def sealed(store: Path) -> None:
    """Compute all hashes again, as an attacker would."""
    manifest = json.loads((store / MANIFEST).read_text())
    manifest["hashes"] = {name: file_digest(store / name) for name in manifest["hashes"]}
    (store / MANIFEST).write_text(json.dumps(seal(manifest)))


def used(store: Path) -> None:
    """All that a verb reads of a store."""
    opened = Store.open(store)
    assert opened.size > 0
    assert len(opened.classes) > 0
    tables = (opened.cases, opened.readings, opened.fixations, opened.boxes, opened.mentions)
    assert all(table.width for table in (*tables, opened.rejections, opened.twins))
    assert [image.shape for image in as_cases(opened).images]
    assert [image.shape for image in opened.images]
    assert [region.shape for region in opened.regions]


def mistake(store: Path) -> str | None:
    """Message that the user gets; any exception other than a UserError fails the test."""
    try:
        used(store)
    except UserError as error:
        return str(error)
    return None


NONSENSE: tuple[object, ...] = (None, True, -1, "x" * 300, [], [None], {}, {"a": None}, 1e300)
NEEDED = ("format", "classes", "hashes", "counts", "parameters", "source")


def test_whatever_stands_in_a_manifest_is_used_or_told_as_a_mistake(store: Path, whole: Store) -> None:
    manifest = whole.manifest
    inner = [("counts", name) for name in manifest["counts"]] + [("parameters", "size")]
    inner += [("hashes", name) for name in list(manifest["hashes"])[:1]]
    for place in [(name,) for name in manifest] + inner:
        for value in NONSENSE:
            spoilt = json.loads(json.dumps(manifest))
            (spoilt[place[0]] if len(place) > 1 else spoilt)[place[-1]] = value
            (store / MANIFEST).write_text(json.dumps(spoilt))
            told = mistake(store)
            assert told is None or ("\n" not in told and len(told) < 500), place
            assert told is not None or value is not None or place[0] not in NEEDED, place


def test_a_number_too_long_to_be_one_is_told(store: Path, whole: Store) -> None:
    text = json.dumps({**whole.manifest, "format": 12345}).replace("12345", "9" * 5000)
    (store / MANIFEST).write_text(text)
    assert "is not a store's manifest" in str(mistake(store))


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[]", "[" * 100_000, '{"format": 1}', '{"format": 1, "hashes": {"a": null}}', "\ud800"],
)
def test_what_is_no_manifest_is_told(store: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    (store / MANIFEST).write_bytes(text.encode("utf-8", "surrogatepass"))
    assert main(["verify", str(store)]) == 2
    assert "is not a store's manifest" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../secret.npy", "/etc/passwd", "images/../../secret"])
def test_a_file_outside_of_the_store_is_none_of_it(store: Path, name: str, whole: Store) -> None:
    hashes = {**whole.manifest["hashes"], name: "0" * 64}
    (store / MANIFEST).write_text(json.dumps({**whole.manifest, "hashes": hashes}))
    with pytest.raises(UserError, match="outside of the store"):
        Store.open(store)


@pytest.mark.parametrize("name", list(COLUMNS))
def test_a_table_that_is_cut_or_another_is_told_by_its_name(store: Path, name: str) -> None:
    path = store / f"{name}.parquet"
    whole, columns = path.read_bytes(), pl.read_parquet(path)
    for spoil in (
        lambda: path.write_bytes(b""),
        lambda: path.write_bytes(whole[: len(whole) // 2]),
        lambda: path.write_bytes(b"PAR1" + bytes(60) + b"PAR1"),
        lambda: columns.drop(columns.columns[0]).write_parquet(path),
        lambda: pl.DataFrame({"x": [1]}).write_parquet(path),
        lambda: columns.with_columns(pl.lit(None).alias(columns.columns[0])).write_parquet(path),
        lambda: columns.with_columns(pl.lit([1]).alias(list(COLUMNS[name])[-1])).write_parquet(path),
    ):
        spoil()
        with pytest.raises(UserError, match=rf"{name}\.parquet .*`verify\("):
            used(store)
        sealed(store)
        assert any(f"{name}.parquet" in problem for problem in verify(Store.open(store)))


@pytest.mark.parametrize("name", ["images/shard-00000.npy", "regions/shard-00000.npy"])
def test_pixels_that_are_cut_or_another_kind_are_told_by_their_file(
    store: Path, name: str, tmp_path: Path
) -> None:
    path = store / name
    whole, pixels = path.read_bytes(), np.load(path)
    for spoil in (
        lambda: path.write_bytes(b""),
        lambda: path.write_bytes(whole[: len(whole) // 2]),
        lambda: np.savez(path.open("wb"), pixels),
        lambda: np.save(path, pixels[:1]),
        lambda: np.save(path, pixels.astype(np.float64)),
        lambda: np.save(path, pixels[..., :3]),
        lambda: np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True),
    ):
        spoil()
        with pytest.raises(UserError, match=rf"{name} .*`verify\("):
            used(store)


DAMAGED = ("cases.parquet", "fixations.parquet", "images/shard-00000.npy", "rejections.csv")


@pytest.mark.parametrize("name", DAMAGED)
def test_verbs_tell_a_damaged_store_in_one_line(
    store: Path, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = store / name
    path.write_bytes(path.read_bytes()[:100] if name != "rejections.csv" else b"\xff\xfe\n,,,\n,")
    assert main(["inspect", str(store), "--out", str(tmp_path / "out")]) == 2
    tiny = ["--model.encoder", "tu-test_efficientnet", "--model.weights", "none", "--input.size", "32"]
    given = ["--experiment", "no_decoder", "--data", str(store), "--out", str(tmp_path / "run"), *tiny]
    said = capsys.readouterr().err
    assert Path(name).name in said
    if name != "rejections.csv":  # which training does not read
        assert main(["train", *given, "--trainer.accelerator", "cpu"]) == 2
        said = capsys.readouterr().err
        assert Path(name).name in said.strip().splitlines()[-1]
    assert "Traceback" not in said
