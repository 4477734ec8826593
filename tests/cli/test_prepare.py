"""`radgaze prepare egd` from archives to a store: what was planted is what the manifest counts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import get_type_hints

import pytest
from PIL import Image

from radgaze.cli import build_parser, main
from radgaze.cli.options import chosen
from radgaze.sources.cohort import Cohort
from radgaze.sources.contents import REASONS
from radgaze.sources.registry import SOURCES, find
from radgaze.store.options import PrepareOptions
from radgaze.store.store import Store
from tests.sources.trees import BROKEN, SEEN, TWIN, write_tree


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_tree(tmp_path_factory.mktemp("archives"))


def prepare(tree: tuple[Path, Path], out: Path, *options: str) -> int:
    egd, mimic = tree
    arguments = ["prepare", "egd", "--egd", egd, "--mimic", mimic, "--out", out, "--size", 32, "--workers", 1]
    return main([*map(str, arguments), *options])


def test_a_tree_written_by_hand_becomes_a_store(
    tree: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(tree, tmp_path / "store") == 0
    store = Store.open(tmp_path / "store")
    assert store.cases["case_id"].to_list() == [SEEN, TWIN]
    assert store.manifest["counts"] == {
        "cases": 2,
        "readings": 3,
        "fixations": 6,
        "regions": 4,
        "rejections": dict.fromkeys(REASONS, 0)
        | {
            "missing_image": 1,
            "unreadable_image": 1,
            "no_gaze": 2,
            "gaze_without_case": 1,
            "calibration_frame": 3,
            "off_image_fixation": 2,
            "box_without_case": 0,
            "off_image_box": 0,
            "not_in_keep_list": 0,
            "duplicate_case": 1,
            "no_label": 2,
            "unreadable_mask": 1,
            "size_mismatch": 1,
        },
    }
    shown = capsys.readouterr().out
    assert "2 cases, 3 readings, 6 fixations, 4 masks" in shown
    assert "calibration_frame" in shown
    assert "not_in_keep_list" not in shown
    assert shown.split()[-1] == str(tmp_path / "store")


def test_no_patient_of_the_archives_is_in_the_store(tree: tuple[Path, Path], tmp_path: Path) -> None:
    prepare(tree, tmp_path / "store")
    store = Store.open(tmp_path / "store")
    text = "".join(
        table.write_csv() for table in (store.cases, store.readings, store.fixations, store.rejections)
    )
    text += json.dumps(store.manifest)
    for secret in ("12345678", "1580000", ".dcm", "files/", str(tree[0])):
        assert secret not in text.replace(store.manifest["identity"]["content"], "")


@pytest.mark.parametrize("seed", [3, 4])
def test_manifest_counts_are_exactly_what_the_phantom_planted(tmp_path: Path, seed: int) -> None:
    from radgaze.simulation import SimulationOptions, simulate

    planted = simulate(SimulationOptions(tmp_path / "made", patients=14, pixels=64, seed=seed, workers=1))[
        "counts"
    ]
    assert prepare((tmp_path / "made/egd", tmp_path / "made/mimic"), tmp_path / "store") == 0
    found = json.loads((tmp_path / "store/manifest.json").read_text())["counts"]
    assert found == {**planted, "rejections": dict.fromkeys(REASONS, 0) | planted["rejections"]}


def test_the_phantoms_split_is_the_one_that_is_read(tmp_path: Path) -> None:
    import polars as pl

    from radgaze.simulation import SimulationOptions, simulate

    simulate(SimulationOptions(tmp_path / "made", patients=14, pixels=64, seed=5, workers=1))
    prepare((tmp_path / "made/egd", tmp_path / "made/mimic"), tmp_path / "store")
    planned = dict(pl.read_csv(tmp_path / "made/truth.csv").select("case_id", "split").iter_rows())
    found = dict(Store.open(tmp_path / "store").cases.select("case_id", "split").iter_rows())
    assert found == {case_id: planned[case_id] for case_id in found}


def test_options_reach_the_cohort_and_the_store(tree: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "keep.csv").write_text(f",filename\n1,{TWIN}.dcm\n2,{BROKEN}.dcm\n")
    prepare(
        tree,
        tmp_path / "store",
        *("--keep-ids", str(tmp_path / "keep.csv"), "--without-gaze", "keep", "--vertical-correction"),
        *("--split", "stratified", "--seed", "9", "--voi", "none"),
    )
    store = Store.open(tmp_path / "store")
    assert store.cases["case_id"].to_list() == [TWIN]
    parameters = store.manifest["parameters"]
    assert str(parameters.pop("keep_ids")).startswith("2 ids")
    assert parameters == {
        "without_gaze": "keep",
        "vertical_correction": True,
        "split": "stratified",
        "seed": 9,
        "size": 32,
        "voi": "none",
    }


def test_another_store_is_replaced_only_when_asked(
    tree: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(tree, tmp_path / "store") == 0
    assert prepare(tree, tmp_path / "store", "--voi", "none") == 2
    assert "add --overwrite" in capsys.readouterr().err
    assert prepare(tree, tmp_path / "store", "--voi", "none", "--overwrite") == 0


def test_a_mistake_is_one_line_and_exit_code_2(
    tree: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare((tree[1], tree[0]), tmp_path / "store") == 2
    error = capsys.readouterr().err
    assert error.startswith("radgaze prepare: --egd and --mimic look swapped")
    assert error.count("\n") == 1
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("arguments", "source"),
    [
        (["prepare", "--help"], "egd"),
        (["prepare", "egd", "--help"], "egd"),
        (["prepare", "table", "--help"], "table"),
    ],
)
def test_help_has_an_example(arguments: list[str], source: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 0
    assert f"Example: radgaze prepare {source}" in capsys.readouterr().out


def test_every_source_reads_its_own_options_and_its_example_can_be_parsed() -> None:
    for name in SOURCES:
        source = find(name)
        assert get_type_hints(source.read) == {"options": source.options, "return": Cohort}
        words = source.example.split()
        assert words[:3] == ["radgaze", "prepare", name]
        given = build_parser(words[1:]).parse_args(words[1:]).prepare[name]
        assert isinstance(chosen(source.options, given), source.options)
        assert chosen(PrepareOptions, given, fitted=source.fitted).out == "store"


def test_a_table_becomes_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "abcd":
        Image.new("L", (30, 40), 100).save(tmp_path / f"{name}.png")
    rows = "".join(f"{name}.png,{k},{'xy'[k % 2]}\n" for k, name in enumerate("abcd"))
    (tmp_path / "labels.csv").write_text("image,patient,label\n" + rows)
    (tmp_path / "boxes.csv").write_text("image,x,y,width,height\na.png,2,2,8,8\n")
    given = ["--table", tmp_path / "labels.csv", "--boxes", tmp_path / "boxes.csv", "--box-frame", "60x80"]
    out = ["--out", tmp_path / "store", "--size", 32, "--workers", 1]
    assert main(["prepare", "table", *map(str, [*given, *out])]) == 0
    store = Store.open(tmp_path / "store")
    assert store.classes == ("x", "y")
    assert store.boxes.rows() == [("case-000001", "box", 1, 1, 5, 5)]
    assert "4 cases, 0 readings, 0 fixations" in capsys.readouterr().out
    assert main(["prepare", "table", *map(str, [*given[:-1], "big", *out])]) == 2
    assert "--box-frame big must be WIDTHxHEIGHT" in capsys.readouterr().err


def test_a_missing_or_unknown_source_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["prepare"], ["prepare", "nowhere"], ["prepare", "egd"]):
        assert main(arguments) == 2
        assert "egd" in capsys.readouterr().err


@pytest.mark.parametrize(("where", "kept"), [("_read_images", 0), ("finish", 2)])
def test_ctrl_c_is_told_in_one_line_and_the_same_command_goes_on(
    tree: tuple[Path, Path],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    kept: int,
) -> None:
    def stopped(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"radgaze.store.preparation.{where}", stopped)
    assert prepare(tree, tmp_path / "store") == 130
    last = capfd.readouterr().err.splitlines()[-1]
    kept_in = f"{kept} of 3 images are kept in {tmp_path / 'store.partial'}"
    assert last == f"radgaze prepare: stopped: {kept_in}, and the same command goes on from there"
    monkeypatch.undo()
    assert prepare(tree, tmp_path / "store", "--resume") == 0
    assert f"{kept} of 3 images are done" in capfd.readouterr().err


SLOWLY = """
import sys, time
from radgaze.cli import build_parser, main
from radgaze.cli.options import chosen
from radgaze.store.partial import Partial

put = Partial.put

def slowly(self, i, image):
    time.sleep(0.15)
    return put(self, i, image)
Partial.put = slowly

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="it has no pseudo-terminals")
def test_a_terminal_shows_rate_and_time_left_and_ctrl_c_ends_in_one_line(tmp_path: Path) -> None:
    import pty

    rows = ["image,patient,label"]
    for k in range(60):
        Image.new("L", (40, 40), k).save(tmp_path / f"i{k}.png")
        rows.append(f"i{k}.png,{k},{'ab'[k % 2]}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    (tmp_path / "slowly.py").write_text(SLOWLY)
    command = [
        sys.executable,
        str(tmp_path / "slowly.py"),
        "prepare",
        "table",
        "--size",
        "32",
        "--workers",
        "1",
    ]
    command += ["--table", str(tmp_path / "labels.csv"), "--out", str(tmp_path / "store")]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "100", "TERM": "xterm"},
        preexec_fn=partial(_in_terminal, theirs),
    )
    os.close(theirs)
    shown, sent = "", False
    with suppress(OSError):  # what a terminal's last reader gets when all have closed it
        while part := os.read(ours, 65536):
            shown += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", part.decode(errors="ignore"))
            if not sent and re.search(r" 1\d/60 \d+\.\d images/s 0:00:\d\d 0:00:\d\d", shown):
                os.write(ours, b"\x03")
                sent = True
    os.close(ours)
    assert process.wait(30) == 130
    assert sent
    lines = [line for line in re.split(r"[\r\n]+", shown) if line.strip()]
    assert re.match(r"radgaze prepare: stopped: 1\d of 60 images are kept in .*", lines[-1])
    assert lines[-2].startswith("Reading images")
    assert "Traceback" not in shown
    assert not (tmp_path / "store").exists()


def _in_terminal(terminal: int) -> None:
    """Let the new process have the terminal, so that its Ctrl-C is its SIGINT."""
    import fcntl
    import termios

    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
