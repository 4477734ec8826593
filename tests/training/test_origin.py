"""A run knows the store it was trained on, and its files are read without trust."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import yaml

from radgaze.cli import main
from radgaze.errors import UserError
from radgaze.files import parse_yaml
from radgaze.store.digest import file_digest
from radgaze.store.intact import seal
from radgaze.store.store import MANIFEST
from radgaze.training import settings
from radgaze.training.run import Run
from radgaze.training.train import train


@pytest.fixture(scope="module")
def whole(store, tmp_path_factory) -> Path:
    from tests.training.conftest import TINY

    folder = tmp_path_factory.mktemp("origin")
    shutil.copytree(store.path, folder / "store")
    trainer = {**TINY["trainer"], "max_epochs": 1}
    config = settings.resolve("no_decoder", data=str(folder / "store"), **{**TINY, "trainer": trainer})
    train(config, folder / "run")
    assert main(["evaluate", str(folder / "run"), "--resamples", "20"]) == 0
    return folder


@pytest.fixture
def place(whole: Path, tmp_path: Path) -> Path:
    """A copy of run and store, the one of the other."""
    shutil.copytree(whole, tmp_path / "place")
    path = tmp_path / "place" / "run" / "config.yaml"
    path.write_text(path.read_text().replace(str(whole / "store"), str(tmp_path / "place" / "store")))
    return tmp_path / "place"


def changed(store: Path, name: str, table: pl.DataFrame) -> None:
    """Write a table of a store anew, as another preparation would."""
    table.write_parquet(store / f"{name}.parquet")
    manifest = json.loads((store / MANIFEST).read_text())
    manifest["hashes"][f"{name}.parquet"] = file_digest(store / f"{name}.parquet")
    (store / MANIFEST).write_text(json.dumps(seal(manifest)))


def test_the_same_store_elsewhere_is_the_same(place, capsys):
    assert main(["evaluate", str(place / "run"), "--resamples", "20"]) == 0


@pytest.mark.parametrize("what", ["splits", "labels", "gaze", "cases"])
def test_every_verb_tells_what_of_the_store_is_another(what, place, capsys):
    store, run = place / "store", place / "run"
    cases, looks = (pl.read_parquet(store / f"{name}.parquet") for name in ("cases", "fixations"))
    swapped = cases.with_columns(pl.col("split").replace({"train": "test", "test": "train"}))
    relabelled = cases.with_columns(label_CHF=pl.col("label_Normal"), label_Normal=pl.col("label_CHF"))
    if what == "gaze":
        changed(store, "fixations", looks.with_columns(x=pl.col("x") + 1))
    else:
        other = {
            "splits": swapped,
            "labels": relabelled,
            "cases": cases.with_columns(case_id="n" + pl.col("case_id")),
        }
        changed(store, "cases", other[what])
    words = {"splits": "who trains", "labels": "the labels", "gaze": "the gaze", "cases": "the cases"}[what]
    for verb in (
        ["evaluate", str(run), "--resamples", "20"],
        ["train", "--resume", str(run), "--trainer.max_epochs", "2"],
        ["audit", str(run), "--out", str(place / "audit")],
        ["explain", str(run), cases["case_id"][0], "--out", str(place / "maps")],
        ["compare", str(run), str(run), "--out", str(place / "comparison")],
        ["report", str(run)],
    ):
        assert main(verb) == 2, verb
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert "is not the one" in said or "no case" in said, verb
        assert words in said or "no case" in said, verb


@pytest.mark.parametrize("kept", [True, False])
def test_a_split_that_is_drawn_otherwise_than_it_was_is_told(kept, place, capsys):
    """As by another version of radgaze: here by another kind of split in the run's configuration."""
    run = place / "run"
    config = settings.read(run / "config.yaml")
    settings.write(replace(config, split=replace(config.split, kind="stratified")), run / "config.yaml")
    verbs = [["evaluate", str(run)], ["audit", str(run), "--out", str(place / "audit")]]
    if kept:
        verbs += [["train", "--resume", str(run)]]
    else:  # a run of an older version
        known = json.loads((run / "store.json").read_text())
        del known["drawn"]
        (run / "store.json").write_text(json.dumps(known))
    for verb in verbs:
        assert main(verb) == 2, verb
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert "drawn otherwise by this version" in said, said


def test_another_store_in_the_configuration_is_told_too(place, tmp_path, store, capsys):
    cases = store.cases.with_columns(case_id="n" + pl.col("case_id"))
    shutil.copytree(store.path, tmp_path / "other")
    changed(tmp_path / "other", "cases", cases)
    path = place / "run" / "config.yaml"
    path.write_text(path.read_text().replace(str(place / "store"), str(tmp_path / "other")))
    assert main(["evaluate", str(place / "run")]) == 2
    assert "is not the one" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["", "---\n", "null\n", "[]\n", "experiment: baseline\n", "{", "a: &a [*a]\n"]
)
def test_a_configuration_that_is_cut_is_no_run_of_defaults(text, place):
    path = place / "run" / "config.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"config\.yaml"):
        Run.open(place / "run")


def test_a_configuration_cut_anywhere_is_told(place):
    path = place / "run" / "config.yaml"
    lines = path.read_text().splitlines(keepends=True)
    for end in range(0, len(lines) - 1, 5):
        path.write_text("".join(lines[:end]))
        with pytest.raises(UserError, match=r"config\.yaml"):
            Run.open(place / "run")


@pytest.mark.parametrize(
    "change",
    [
        {"trainer": {"class_path": "os.system", "init_args": {"command": "true"}}},
        {"trainer": "other.yaml"},
        {"model": None},
        {"objective": ["a"]},
        {"extra": 1},
        {"seed": {"a": 1}},
    ],
)
def test_a_hostile_configuration_is_one_line(change, place, capsys):
    path = place / "run" / "config.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **change}))
    assert main(["evaluate", str(place / "run")]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_aliases_that_make_millions_of_few_lines_are_refused_at_once():
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, 9)]
    started = time.perf_counter()
    with pytest.raises(yaml.YAMLError, match="more than"):
        parse_yaml("\n".join(levels))
    assert time.perf_counter() - started < 2


DAMAGED = {
    "predictions.parquet": ["evaluate"],
    "metrics.json": ["report", "compare"],
    "agreement.parquet": ["compare", "report"],
    "history.csv": ["report"],
}


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.parametrize("how", ["cut", "empty", "garbled"])
def test_a_damaged_file_of_a_run_is_told_in_a_line_by_its_name(name, how, place, tmp_path, capsys):
    path = place / "run" / name
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[: len(whole) // 3], "empty": b"", "garbled": b"\x00\xffa,b\n{[" * 9}[how])
    for verb in DAMAGED[name]:
        runs = [str(place / "run")] * (2 if verb == "compare" else 1)
        rest = ["--out", str(tmp_path / "out")] if verb == "compare" else []
        if verb == "compare":
            shutil.copytree(place / "run", place / "run2", dirs_exist_ok=True)
            runs[1] = str(place / "run2")
        assert main([verb, *runs, *rest]) == 2, verb
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert name in said
        assert "Traceback" not in said


def test_resuming_with_a_garbled_history_is_told_before_training(place, capsys):
    (place / "run" / "history.csv").write_text("epoch\nx\n\x00")
    assert main(["train", "--resume", str(place / "run"), "--trainer.max_epochs", "2"]) == 2
    assert "history.csv" in capsys.readouterr().err


def test_a_run_of_before_is_still_read(place):
    (place / "run" / "store.json").unlink()
    run = Run.open(place / "run")
    assert run.store.cases.height == 36
    assert replace(run).check_store() is None
