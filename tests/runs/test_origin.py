"""A run knows the store it was trained on, and its files are read without trust."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import yaml
from PIL import Image

from radgaze import files, records
from radgaze.cli import compare as comparing
from radgaze.cli import main
from radgaze.errors import UserError
from radgaze.files import parse_yaml
from radgaze.reproduction import grid, state
from radgaze.reproduction import planning as reproduction
from radgaze.reproduction.options import ReproduceOptions
from radgaze.runs import origin, settings
from radgaze.runs.run import Run
from radgaze.store.digest import file_digest
from radgaze.store.manifest import seal
from radgaze.store.opening import MANIFEST
from radgaze.store.store import Store
from radgaze.training import fitting, run_folder
from radgaze.training.train import train
from radgaze.tuning import planning as tuning
from radgaze.tuning import search, study
from radgaze.tuning.options import TuneOptions
from tests.training.conftest import TINY


@pytest.fixture(scope="module")
def whole(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
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
    """Write a table of a store again, as another preparation would."""
    table.write_parquet(store / f"{name}.parquet")
    rehash(store, f"{name}.parquet")


def rehash(store: Path, name: str) -> None:
    """Put the hash of a file of a store into its manifest."""
    manifest = json.loads((store / MANIFEST).read_text())
    manifest["hashes"][name] = file_digest(store / name)
    (store / MANIFEST).write_text(json.dumps(seal(manifest)))


def test_the_same_store_elsewhere_is_the_same(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(place / "run"), "--resamples", "20"]) == 0


def change(what: str, store: Path) -> str:
    """Prepare a store otherwise, with the same names of files; the words that a user is told it by."""
    cases, looks = (pl.read_parquet(store / f"{name}.parquet") for name in ("cases", "fixations"))
    other = {
        "splits": cases.with_columns(pl.col("split").replace({"train": "test", "test": "train"})),
        "labels": cases.with_columns(label_CHF=pl.col("label_Normal"), label_Normal=pl.col("label_CHF")),
        "cases": cases.with_columns(case_id="n" + pl.col("case_id")),
        "patients": cases.with_columns(patient=pl.col("patient").reverse()),
    }
    if what == "images":
        shard = np.load(store / "images" / "shard-00000.npy", mmap_mode="r+")
        shard[0, 0, 0] ^= 1
        shard.flush()
        rehash(store, "images/shard-00000.npy")
    elif what == "gaze":
        changed(store, "fixations", looks.with_columns(x=pl.col("x") + 1))
    elif what == "boxes":
        boxes = pl.read_parquet(store / "boxes.parquet")
        changed(store, "boxes", boxes.with_columns(x1=pl.col("x1") + 1))
    else:
        changed(store, "cases", other[what])
    return origin.PARTS[what]


VERBS = {
    "evaluate": ["evaluate", "RUN", "--resamples", "20"],
    "evaluate --reject": ["evaluate", "RUN", "--reject", "--resamples", "20"],
    "train --resume": ["train", "--resume", "RUN", "--trainer.max_epochs", "2"],
    "audit": ["audit", "RUN", "--out", "OUT"],
    "explain": ["explain", "RUN", "CASE", "--out", "OUT"],
    "predict": ["predict", "RUN", "CASE", "--out", "OUT.csv"],
    "compare": ["compare", "RUN", "RUN", "--out", "OUT"],
    "report": ["report", "RUN"],
    "tune --resume": [
        *("tune", "--experiment", "baseline", "--data", "STORE", "--trials", "1"),
        *("--out", "SEARCH", "--resume"),
    ],
    "reproduce --resume": [
        *("reproduce", "--data", "STORE", "--only", "baseline", "--seeds", "1"),
        *("--out", "GRID", "--resume"),
    ],
}


def begin_both(place: Path) -> None:
    """A search and a grid on the store, begun and killed before anything was trained."""
    store = str(place / "store")
    with study.opened(tuning.plan("baseline", store, TuneOptions(trials=2)), place / "search", resume=False):
        pass
    (place / "grid").mkdir()
    options = ReproduceOptions(only=("baseline",), seeds=1)
    state.begin(reproduction.plan(store, options), place / "grid", resume=False)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("what", ["images", "labels"])
def test_every_verb_tells_what_of_the_store_is_another(
    what: str, verb: str, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = place / "store"
    case = pl.read_parquet(store / "cases.parquet")["case_id"][0]
    names = {"RUN": place / "run", "STORE": store, "OUT": place / "out", "CASE": case}
    names |= {"SEARCH": place / "search", "GRID": place / "grid", "OUT.csv": place / "out.csv"}
    arguments = [str(names.get(word, word)) for word in VERBS[verb]]
    begin_both(place)
    before = {path: path.read_bytes() for path in (place / "run").rglob("*") if path.is_file()}
    words = change(what, store)
    for module, name in ((search, "run_trial"), (grid, "_run"), (fitting, "_fit")):
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("it goes on"))
    assert main(arguments) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert words in said
    assert "is not the one" in said or "is another store than it was" in said
    # The one thing, and not the others.
    assert [part for part in origin.PARTS.values() if f" {part}" in said] == [words]
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("what", ["splits", "gaze", "cases", "patients", "boxes"])
def test_each_part_of_a_store_is_compared_and_named(
    what: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begin_both(place)
    words = change(what, place / "store")
    for verb in ("evaluate", "tune --resume", "reproduce --resume"):
        names = {"RUN": "run", "STORE": "store", "SEARCH": "search", "GRID": "grid"}
        arguments = [str(place / names[word]) if word in names else word for word in VERBS[verb]]
        assert main(arguments) == 2
        assert words in capsys.readouterr().err.strip().splitlines()[-1]


def test_a_report_without_its_store_says_that_nothing_was_compared(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = place / "run" / "report.html"
    assert "could not be compared" not in page.read_text()  # made with the store at hand
    (place / "store").rename(place / "elsewhere")
    assert main(["report", str(place / "run"), "--each", "0"]) == 0
    assert origin.GONE in page.read_text()


def test_a_comparison_without_stores_says_that_nothing_was_compared(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "compare_and_report", lambda *_, **__: None)
    (place / "store").rename(place / "elsewhere")
    assert main(["compare", *[str(place / "run")] * 2, "--out", str(place / "out")]) == 0
    assert "could not be compared" in " ".join(capsys.readouterr().err.split())


def test_maps_of_a_file_are_made_and_the_change_is_told(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = change("labels", place / "store")
    picture = place / "chest.png"
    Image.fromarray(np.full((64, 64), 90, np.uint8)).save(picture)
    arguments = ["explain", str(place / "run"), str(picture), "--methods", "grad_cam", "--device", "cpu"]
    assert main([*arguments, "--out", str(place / "maps")]) == 0
    assert words in " ".join(capsys.readouterr().err.split())


def test_a_job_of_a_grid_does_not_train_on_another_store(place: Path) -> None:
    begin_both(place)
    assert state.load_job(place / "grid", "baseline", 42).number == 42
    change("labels", place / "store")
    with pytest.raises(UserError, match="the labels differ"):
        state.load_job(place / "grid", "baseline", 42)


@pytest.mark.parametrize("kept", [True, False])
def test_a_split_that_is_drawn_otherwise_than_it_was_is_told(
    kept: bool, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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
        assert "this version of radgaze draws the split" in said, said


def test_another_store_in_the_configuration_is_told_too(
    place: Path, tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
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
def test_a_configuration_that_is_cut_is_no_run_of_defaults(text: str, place: Path) -> None:
    path = place / "run" / "config.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"config\.yaml"):
        Run.open(place / "run")


def test_a_configuration_cut_anywhere_is_told(place: Path) -> None:
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
def test_a_hostile_configuration_is_one_line(
    change: dict[str, object], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = place / "run" / "config.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **change}))
    assert main(["evaluate", str(place / "run")]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_aliases_that_make_millions_of_few_lines_are_refused_at_once() -> None:
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
def test_a_damaged_file_of_a_run_is_told_in_a_line_by_its_name(
    name: str, how: str, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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


def test_resuming_with_a_garbled_history_is_told_before_training(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "run" / "history.csv").write_text("epoch\nx\n\x00")
    assert main(["train", "--resume", str(place / "run"), "--trainer.max_epochs", "2"]) == 2
    assert "history.csv" in capsys.readouterr().err


def test_a_run_of_before_is_still_read(place: Path) -> None:
    (place / "run" / "store.json").unlink()
    run = Run.open(place / "run")
    assert run.store.cases.height == 36
    assert replace(run).check_store() is None


def test_overwrite_removes_what_runs_write_and_nothing_else(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = place / "run"
    assert {path.name for path in run.iterdir()} <= run_folder.FILES
    for name in ("thesis.txt", "notes/thesis.txt"):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text("years of work")
    (place / "outside").mkdir()
    (place / "outside" / "thesis.txt").write_text("years of work")
    shutil.rmtree(run / "figures")
    (run / "figures").symlink_to(place / "outside")
    run_folder.make(run, resume=False)
    assert sorted(path.relative_to(run).as_posix() for path in run.rglob("*")) == [
        *("notes", "notes/thesis.txt", "thesis.txt")
    ]
    assert (place / "outside" / "thesis.txt").read_text() == "years of work"
    assert "notes, thesis.txt is left as it is" in " ".join(capsys.readouterr().err.split())


NEW = {
    "train": ["train", "--experiment", "no_decoder", "--data", "STORE", "--config", "TINY", "--out", "OUT"],
    "tune": ["tune", "--experiment", "baseline", "--data", "STORE", "--trials", "1", "--out", "OUT"],
    "reproduce": ["reproduce", "--data", "STORE", "--only", "baseline", "--seeds", "1", "--out", "OUT"],
    "inspect": ["inspect", "STORE", "--out", "OUT"],
    "phantom": ["phantom", "OUT", "--patients", "12", "--pixels", "64", "--workers", "1"],
    "prepare": ["prepare", "table", "--table", "TABLE", "--columns", "patient=", "--out", "OUT"],
    "demo": ["demo", "--out", "OUT", "--quick"],
    "explain": ["explain", "RUN", "CASE", "--methods", "grad_cam", "--out", "OUT"],
    "predict": ["predict", "RUN", "CASE", "--out", "OUT.csv"],
    "compare": ["compare", "RUN", "RUN2", "--resamples", "20", "--out", "OUT"],
    "audit": [
        *("audit", "RUN", "--methods", "grad_cam", "--probed", "2", "--resamples", "20", "--out", "OUT"),
    ],
}
WRITING = {
    **{name: words for name, words in VERBS.items() if name not in NEW and "--resume" not in name},
    "train --resume": VERBS["train --resume"],
    **NEW,
}


@pytest.mark.parametrize("fault", [errno.ENOSPC, pytest.param(errno.EROFS, marks=pytest.mark.slow)])
@pytest.mark.parametrize("verb", WRITING)
def test_a_disk_that_cannot_be_written_is_a_line_in_every_verb(
    verb: str, fault: int, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(place / "run", place / "run2")
    case = pl.read_parquet(place / "store" / "cases.parquet")["case_id"][0]
    for name in ("a.png", "b.png"):
        Image.fromarray(np.full((64, 64), ord(name[0]), np.uint8)).save(place / name)
    (place / "table.csv").write_text("image,label\na.png,A\nb.png,B\n")
    (place / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    names = {"RUN": place / "run", "RUN2": place / "run2", "STORE": place / "store", "CASE": case}
    names |= {
        "OUT": place / "out",
        "OUT.csv": place / "out.csv",
        "TABLE": place / "table.csv",
        "TINY": place / "tiny.yaml",
    }

    def full(path: object, *_: object) -> int:
        raise OSError(fault, os.strerror(fault), str(path))

    monkeypatch.setattr(files, "os", SimpleNamespace(**{**vars(os), "open": full}))
    assert main([str(names.get(word, word)) for word in WRITING[verb]]) in (1, 2)
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert os.strerror(fault) in said.strip().splitlines()[-1]
    assert not re.search(r"\.part\b(?!ial)", said.strip().splitlines()[-1])


@pytest.mark.parametrize(("recorded", "excludes"), [(False, False), (True, True), (None, True)])
def test_whether_classes_exclude_each_other_is_the_stores_to_say(
    place: Path, recorded: bool | None, excludes: bool
) -> None:
    run = Run.open(place / "run")
    known = recorded_of(run.path)
    assert known.exclusive is True
    assert run.exclusive
    # The labels of a store of several classes may happen to be one of each case.
    records.write(replace(known, exclusive=recorded), run.path / origin.FILE)
    objective = replace(run.config.objective, classification="sigmoid")
    run = Run(run.path, replace(run.config, objective=objective))
    assert (run.predictions().select(f"label_{name}" for name in run.classes).sum_horizontal() == 1).all()
    assert run.exclusive is excludes


def test_other_twins_are_another_store_except_for_runs_from_before_they_were_recorded() -> None:
    now = dict.fromkeys(origin.PARTS, "same")
    earlier = {part: digest for part, digest in now.items() if part != "twins"}
    assert origin.differences(now, {**now, "twins": "other"}) == "the twins differ"
    assert origin.differences(earlier, now) == ""
    assert origin.differences(earlier, {**now, "boxes": "other"}) == "the boxes and masks differ"


def test_the_table_of_twins_belongs_to_what_is_compared(place: Path) -> None:
    store = Store.open(place / "store")
    found = [
        origin.contents(
            replace(
                store,
                manifest={**store.manifest, "hashes": {**store.manifest["hashes"], "twins.parquet": each}},
            )
        )
        for each in ("1" * 64, "2" * 64)
    ]
    assert origin.differences(*found) == "the twins differ"


def test_a_record_from_before_twins_were_recorded_is_read(place: Path) -> None:
    recorded = recorded_of(place / "run")
    contents = {part: digest for part, digest in recorded.contents.items() if part != "twins"}
    records.write(replace(recorded, contents=contents), place / "run" / origin.FILE)
    assert recorded_of(place / "run").contents == contents
    assert Run.open(place / "run").check_store() is None
    records.write(replace(recorded, contents={"cases": "x"}), place / "run" / origin.FILE)
    with pytest.raises(UserError, match="does not hold what it should"):
        origin.read(place / "run")


def recorded_of(run: Path) -> origin.Origin:
    recorded = origin.read(run)
    assert recorded is not None
    return recorded
