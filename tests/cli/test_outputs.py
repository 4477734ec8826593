"""Output folders that a verb cannot write to, or would damage, are refused before it starts."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from radgaze.cli import main
from radgaze.errors import UserError
from radgaze.outputs import check_folder
from radgaze.store.store import Store
from radgaze.store.verification import verify
from tests.store.cohorts import make_cohort
from tests.stores import prepare


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("outputs")
    return prepare(make_cohort(folder / "images", 6), folder / "store", size=32, workers=1)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file where a folder is meant."""
    (tmp_path / "thesis.txt").write_text("years of work")
    return tmp_path / "thesis.txt"


WANTS_A_FOLDER = {
    "prepare": ["prepare", "table", "--table", "t.csv", "--out", "FILE"],
    "phantom": ["phantom", "FILE"],
    "inspect": ["inspect", "STORE", "--out", "FILE"],
    "inspect a file": ["inspect", "FILE", "--out", "out"],
    "verify": ["verify", "FILE"],
    "train": ["train", "--data", "STORE", "--out", "FILE"],
    "train on a file": ["train", "--data", "FILE", "--out", "out"],
    "resume": ["train", "--resume", "FILE"],
    "tune": ["tune", "--experiment", "baseline", "--data", "STORE", "--trials", "1", "--out", "FILE"],
    "evaluate": ["evaluate", "FILE"],
    "audit": ["audit", "FILE", "--out", "out"],
    "audit into a file": ["audit", "run", "--out", "FILE"],
    "compare": ["compare", "FILE", "FILE", "--out", "out"],
    "compare into a file": ["compare", "a", "b", "--out", "FILE"],
    "reproduce": ["reproduce", "--data", "STORE", "--out", "FILE"],
    "explain": ["explain", "FILE", "image.png", "--out", "out"],
    "explain into a file": ["explain", "run", "image.png", "--out", "FILE"],
    "predict": ["predict", "FILE", "image.png", "--out", "out.csv"],
    "export": ["export", "FILE", "--to", "hub", "--out", "out"],
    "export into a file": ["export", "run", "--to", "hub", "--out", "FILE"],
    "card": ["card", "FILE"],
    "view": ["view", "FILE"],
    "view two": ["view", "FILE", "FILE"],
    "report": ["report", "FILE"],
    "study": ["study", "init", "design.yaml", "--run", "FILE"],
    "study into a file": ["study", "init", "FILE", "--run", "run"],
    "study results": ["study", "results", "FILE", "--out", "out"],
    "study results into a file": ["study", "results", "record.sqlite", "--out", "FILE"],
    "study export": ["study", "export", "FILE", "--out", "out"],
    "study export into a file": ["study", "export", "record.sqlite", "--out", "FILE"],
    "study gaze": ["study", "gaze", "FILE", "t.csv", "--reader", "R1", "--out", "out.csv"],
    "worker": ["worker", "FILE", "--dicomweb", "http://127.0.0.1:9"],
    "worker into a file": ["worker", "run", "--folder", "STORE", "--out", "FILE"],
    "demo": ["demo", "--out", "FILE"],
}


@pytest.mark.parametrize("name", WANTS_A_FOLDER)
def test_a_file_where_a_folder_is_meant_is_told_in_a_line(
    name: str,
    file: Path,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    places = {"FILE": str(file), "STORE": str(store.path)}
    assert main([places.get(word, word) for word in WANTS_A_FOLDER[name]]) == 2
    said = capsys.readouterr().err.strip()
    assert "thesis.txt" in said
    assert "\n" not in said
    assert file.read_text() == "years of work"
    # and what lies below a file
    below = {"FILE": str(file / "below"), "STORE": str(store.path)}
    assert main([below.get(word, word) for word in WANTS_A_FOLDER[name]]) == 2


WRITES = {
    "inspect": ["inspect", "STORE", "--out", "OUT"],
    "audit": ["audit", "run", "--out", "OUT"],
    "compare": ["compare", "a", "b", "--out", "OUT"],
    "explain": ["explain", "run", "x.png", "--out", "OUT", "--overwrite"],
    "export": ["export", "run", "--to", "hub", "--out", "OUT"],
    "reproduce": ["reproduce", "--data", "STORE", "--out", "OUT"],
    "tune": ["tune", "--experiment", "baseline", "--data", "STORE", "--trials", "1", "--out", "OUT"],
    "train": ["train", "--data", "STORE", "--out", "OUT", "--overwrite"],
    "phantom": ["phantom", "OUT"],
    "demo": ["demo", "--out", "OUT"],
    "study results": ["study", "results", "record.sqlite", "--out", "OUT"],
    "study export": ["study", "export", "record.sqlite", "--out", "OUT"],
    "study init": ["study", "init", "OUT/design.yaml", "--run", "run"],
    "worker": ["worker", "run", "--folder", "STORE", "--out", "OUT"],
    "worker's journal": ["worker", "run", "--dicomweb", "http://127.0.0.1:9", "--journal", "OUT/journal"],
}


@pytest.mark.parametrize("name", WRITES)
def test_no_verb_writes_into_a_store(
    name: str, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "store"
    shutil.copytree(store.path, copy)
    for out in (copy, copy / "images", copy / "new"):
        places = {"OUT": str(out), "STORE": str(copy)}
        words = [places.get(word, word.replace("OUT/", f"{out}/")) for word in WRITES[name]]
        assert main(words) == 2
        assert "store" in capsys.readouterr().err
    assert verify(store.open(copy)) == []


def test_a_run_s_own_folder_takes_no_results_of_another_verb(tmp_path: Path) -> None:
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "run" / "config.yaml").write_text("experiment: baseline\n")
    with pytest.raises(UserError, match="is a run's own folder"):
        check_folder(tmp_path / "run")
    check_folder(tmp_path / "run" / "audit")
    check_folder(tmp_path / "run", may_be=("run",))


@pytest.mark.parametrize("bad", ["circle", "\0", "x" * 300])
def test_a_path_that_cannot_be_is_told(bad: str, tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(UserError, match="name another"):
        check_folder(tmp_path / bad / "out")


@pytest.mark.parametrize(
    "arguments",
    [
        ["prepare", "table", "--table", "t.csv", "--out", "s", "--workers", "-1"],
        ["prepare", "table", "--table", "t.csv", "--out", "s", "--workers", "0"],
        ["prepare", "table", "--table", "t.csv", "--out", "s", "--size", "0"],
        ["phantom", "p", "--workers", "-1"],
        ["phantom", "p", "--seed", "-1"],
        ["phantom", "p", "--patients", "0"],
        ["tune", "--experiment", "baseline", "--data", "s", "--out", "o", "--trials", "0"],
        ["tune", "--experiment", "baseline", "--data", "s", "--out", "o", "--trials", "1", "--jobs", "-1"],
        ["reproduce", "--data", "s", "--out", "o", "--jobs", "0"],
        ["reproduce", "--data", "s", "--out", "o", "--seeds", "-3"],
        ["reproduce", "--data", "s", "--out", "o", "--seed", "4294967296"],
        ["explain", "run", "x.png", "--out", "o", "--batch-size", "0"],
        ["predict", "run", "x.png", "--out", "o.csv", "--batch-size", "0"],
        ["evaluate", "run", "--resamples", "0"],
        ["compare", "run", "run", "--out", "o", "--resamples", "99999999999999999999"],
        ["compare", "a", "b", "--out", "o", "--resamples", "-1"],
        ["audit", "run", "--out", "o", "--cases", "0"],
        ["inspect", "s", "--out", "o", "--each", "-1"],
    ],
)
def test_a_number_out_of_range_is_refused_with_the_option(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    assert arguments[-2].removeprefix("--").replace("-", "_") in said.replace("-", "_")
