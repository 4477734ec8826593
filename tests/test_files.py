"""Files are written whole or not at all, all of them through one place, and read without trust."""

from __future__ import annotations

import ast
import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, cast

import numpy as np
import polars as pl
import pytest
import torch

import radgaze
from radgaze import files
from radgaze.errors import in_words
from radgaze.files import clear_leftovers, written
from radgaze.tables import write_csv, write_parquet

SOURCES = Path(radgaze.__file__).parent

WRITERS = {
    *("write_text", "write_bytes", "write_csv", "write_parquet", "sink_parquet", "sink_csv", "write_json"),
    *("write_ndjson", "write_ipc", "sink_ipc", "savefig", "imsave", "save_file", "tofile", "to_csv"),
    *("save", "savez", "savez_compressed", "savetxt", "dump", "touch", "copyfile", "copy2", "save_as"),
}
"""Names that write to a path, or to a file that must have been opened."""

ASIDE = {"aside", "file", "buffer", "_buffer"}
"""What such a call is given within `with written(…) as aside`: the new file, by its name or opened."""

MOVED = {*ASIDE, "path", "out", "store", "folder", "target", "temporary", "tmp", "part", "os", "new"}
"""What a path is called that is renamed; columns of tables have methods of the same name."""

OURS = {"write_text", "write_bytes", "write_csv", "write_parquet"}
"""Functions of radgaze.files and radgaze.tables, called by these names alone."""

DIRECT = {
    # Locks: they are empty.
    ("locks.py", "open"): 1,
    # Logs: lines are appended, and a line that was cut is passed over when they are read.
    ("execution/process.py", "open"): 1,
    # The worker: a folder of results is written aside and renamed whole; SQLite writes the journal, whose
    # file is made for its owner alone; an image from a PACS is kept only while it is read.
    ("clinic/worker/folders.py", "open"): 1,
    ("clinic/worker/folders.py", "rename"): 1,
    ("clinic/worker/journal.py", "open"): 1,
    ("viewing/study/record.py", "open"): 1,  # a database for its owner alone, which SQLite then fills
    ("clinic/worker/serving.py", "write_bytes"): 1,
    # Optuna's journal, written again beside the old one by Optuna itself.
    ("tuning/study.py", "replace"): 1,
    # Within STORE.partial, which is renamed when whole: journal, pixels by their places.
    ("store/partial.py", "open"): 3,
    ("store/partial.py", "open_memmap"): 1,
    ("store/partial.py", "rename"): 2,
    # The checkpoint before the newest gives its name while the newest has its own still to get.
    ("training/checkpoints.py", "replace"): 1,
    # A phantom is whole where planted.json is, which is written last.
    ("simulation/archive.py", "open"): 3,
    ("simulation/dictation.py", "open"): 1,
    # Into the new folder of an export, which appears complete or not at all.
    ("exporting/export.py", "copyfile"): 1,
    ("exporting/files.py", "save"): 3,
    ("exporting/hub.py", "copyfile"): 1,
    ("exporting/monai_bundle.py", "copyfile"): 1,
    # Of a bundle, in a process without radgaze.
    ("exporting/shipped/inference.py", "open"): 1,
    # Within a folder beside the store, which is renamed when whole.
    ("store/annotating.py", "save"): 1,
    ("store/annotating.py", "copyfile"): 1,
    ("store/pasting.py", "save"): 1,
    ("store/pasting.py", "copyfile"): 1,
    ("simulation/dicom.py", "write_bytes"): 1,
    ("simulation/dicom.py", "save_as"): 1,
    ("simulation/study.py", "write_text"): 1,
    ("simulation/study.py", "write_csv"): 1,
    ("simulation/study.py", "save"): 1,
    ("simulation/twins.py", "save"): 1,
}
"""What may write by itself, with the reason; how often in a file."""


READERS = {
    *("json.loads", "json.load", "pl.read_parquet", "pl.scan_parquet", "pl.read_csv", "pl.scan_csv"),
    *(
        "pl.read_json",
        "pl.read_ndjson",
        "yaml.safe_load",
        "yaml.load",
        "torch.load",
        "load_file",
        "safe_open",
    ),
    *("np.load", "pickle.load", "pickle.loads", "Image.open", "pl.read_ipc"),
}
"""What takes a file's word, and raises whatever it stumbles over."""

RAW = {
    # A cell of the record of a study.
    ("viewing/study/record.py", "json.loads"): 1,
    # Our own values, brought into the form that JSON gives them.
    ("evaluation/audit/cache.py", "json.loads"): 1,
    ("store/annotating.py", "json.loads"): 1,
    ("store/preparation.py", "json.loads"): 1,
    # A value of the command line.
    ("cli/named_sections.py", "yaml.safe_load"): 1,
    # Files of the package itself.
    ("cli/demo_sizes.py", "yaml.safe_load"): 1,
    ("experiments/__init__.py", "yaml.safe_load"): 2,
    # The one place that reads a store, with its own message: what `verify` is for.
    ("store/manifest.py", "json.loads"): 2,
    ("store/intact.py", "pl.read_parquet"): 1,
    ("store/intact.py", "pl.scan_parquet"): 1,
    ("store/intact.py", "np.load"): 1,
    # STORE.partial: a line that is none is passed over, and pixels are compared with their hashes.
    ("store/partial.py", "json.loads"): 1,
    ("store/partial.py", "np.load"): 2,
    # Weights and checkpoints, each in a try that takes every exception.
    ("models/saved.py", "load_file"): 1,
    ("models/weight_files.py", "load_file"): 1,
    ("models/weight_files.py", "torch.load"): 1,
    ("training/checkpoints.py", "torch.load"): 1,
    # What a worker of ours sends, and temporary files of this very process.
    ("dicom/isolate.py", "pickle.loads"): 2,
    ("sources/external_sort.py", "pl.scan_parquet"): 2,
    ("sources/table/gaze.py", "pl.scan_parquet"): 1,
    ("store/pixels.py", "np.load"): 1,
    # The one place that reads pictures, and the one that reads tables of a source, in parts.
    ("dicom/picture.py", "Image.open"): 1,
    ("sources/streaming.py", "pl.scan_parquet"): 1,
    ("sources/streaming.py", "pl.read_csv"): 1,
    # Of a bundle, in a process without radgaze.
    ("exporting/shipped/network.py", "json.loads"): 1,
    ("exporting/shipped/preparation.py", "Image.open"): 1,
    # A figure that was drawn a moment ago.
    ("reporting/page.py", "Image.open"): 1,
    # A marker that the user names, which may be of any format; its size is checked before it is decoded.
    ("store/stamp.py", "Image.open"): 1,
    # A run's picture of training images: no format but PNG, and its size is checked before it is decoded.
    ("runs/training_images.py", "Image.open"): 1,
}
"""What may read by itself, with the reason; how often in a file."""


def raw_reads(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Lines and names of calls that read a file without `radgaze.files`."""
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and (name := ast.unparse(call.func)) in READERS:
            yield call.lineno, name


def direct_writes(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Lines and names of calls that write to a file in place."""
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        of_object = isinstance(call.func, ast.Attribute)
        held = call.func.value if isinstance(call.func, ast.Attribute) else None
        owner = getattr(held, "id", getattr(held, "attr", ""))
        given = [*call.args, *(word.value for word in call.keywords)]
        aside = owner in ASIDE or any(getattr(one, "id", "") in ASIDE for one in given)
        if name in ("open", "fdopen", "open_memmap"):
            modes = [
                one.value for one in given if isinstance(one, ast.Constant) and isinstance(one.value, str)
            ]
            writes = any(set(mode) & set("wax+") and len(mode) <= 3 for mode in modes)
            flags = any("O_CREAT" in ast.dump(one) for one in given)
            if (writes or flags) and not aside:
                yield call.lineno, name
        elif name in WRITERS and not aside:
            own = (not of_object and name in OURS) or owner in ("models", "figures")
            to_text = name == "write_csv" and not call.args  # returns the text
            plain = not of_object and name == "save"  # radgaze.reporting.style.save
            if not (own or to_text or plain):
                yield call.lineno, name
        elif name in ("rename", "replace") and len(call.args) == 1 and owner in MOVED:
            yield call.lineno, name


def test_every_file_is_written_through_the_one_place_that_does_it_whole() -> None:
    compare(direct_writes, DIRECT, "write through radgaze.files or radgaze.tables")


def test_every_file_that_a_user_can_damage_is_read_through_the_one_place_that_tells_it() -> None:
    compare(raw_reads, RAW, "read through radgaze.files")


@pytest.mark.parametrize("name", sorted(READERS))
def test_the_search_for_raw_reads_finds_them(name: str) -> None:
    assert list(raw_reads(ast.parse(f"{name}(path)"))) == [(1, name)]


def compare(
    search: Callable[[ast.AST], Iterator[tuple[int, str]]], known: dict[tuple[str, str], int], advice: str
) -> None:
    """Fail where the package has calls that are not on a list, or no longer those that are."""
    found: dict[tuple[str, str], list[int]] = {}
    for path in sorted(SOURCES.rglob("*.py")):
        name = path.relative_to(SOURCES).as_posix()
        if name not in ("files.py", "tables.py"):
            for line, call in search(ast.parse(path.read_text(encoding="utf-8"))):
                found.setdefault((name, call), []).append(line)
    new = {where: lines for where, lines in found.items() if len(lines) > known.get(where, 0)}
    assert not new, f"{advice}: {new}"
    gone = [where for where, count in known.items() if len(found.get(where, ())) < count]
    assert not gone, f"no longer there, to be taken from the list: {gone}"


@pytest.mark.parametrize(
    "line",
    [
        'path.write_text("a")',
        'open(path, "w")',
        'path.open("ab")',
        'path.open(mode="x")',
        "os.open(path, os.O_CREAT | os.O_WRONLY)",
        "table.write_parquet(path)",
        "table.lazy().sink_parquet(out / name)",
        "figure.savefig(path)",
        "image.save(path)",
        "np.savez(path, a=1)",
        "torch.save(state, path)",
        "json.dump(found, handle)",
        "temporary.replace(path)",
        "path.rename(out)",
    ],
)
def test_the_search_for_direct_writes_finds_them(line: str) -> None:
    assert [line for line, _ in direct_writes(ast.parse(line))] == [1]


def through_polars(path: Path) -> None:
    write_parquet(pl.DataFrame({"a": [1]}), path)


def through_polars_in_parts(path: Path) -> None:
    write_parquet(pl.LazyFrame({"a": [1]}), path)


def as_csv(path: Path) -> None:
    write_csv(pl.DataFrame({"a": [1]}), path)


def as_figure(path: Path) -> None:
    from radgaze.reporting.style import canvas, save

    save(canvas(1, 1), path)


def as_checkpoint(path: Path) -> None:
    with written(path) as aside, aside.open("wb") as file:
        torch.save({"a": torch.zeros(3)}, file)


def as_text(path: Path) -> None:
    files.write_text("new", path)


WAYS = [through_polars, through_polars_in_parts, as_csv, as_figure, as_checkpoint, as_text]


@pytest.mark.parametrize("way", WAYS)
def test_a_write_that_fails_at_its_end_leaves_the_old_file_alone(
    way: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "figures"
    path.write_text("old")

    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space") as caught:
        way(path)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    monkeypatch.undo()
    way(path)
    assert path.read_bytes() != b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_stop_in_the_middle_of_a_write_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text("old")

    def stopped() -> None:
        with written(path) as aside:
            aside.write_text('{"test": {"auc"')
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("raised", "number"),
    [
        (pl.exceptions.ComputeError("No space left on device (os error 28)"), errno.ENOSPC),
        (OSError("Permission denied (os error 13)"), errno.EACCES),
        (ValueError("I/O error: Disk quota exceeded (os error 122)"), errno.EDQUOT),
    ],
)
def test_a_full_disk_is_told_alike_whatever_library_wrote(
    raised: Exception, number: int, tmp_path: Path
) -> None:
    with pytest.raises(OSError, match=os.strerror(number)) as caught, written(tmp_path / "a"):
        raise raised
    assert (caught.value.errno, caught.value.filename) == (number, str(tmp_path / "a"))


def test_what_torch_says_of_a_full_disk_is_told_as_one(tmp_path: Path) -> None:
    class Full:
        """A file on a disk with room for a few bytes, as torch sees it."""

        def __init__(self) -> None:
            self.room = 100

        def write(self, content: bytes) -> int:
            self.room -= len(content)
            if self.room < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return len(content)

        def flush(self) -> None: ...

    with pytest.raises(OSError, match="No space") as caught, written(tmp_path / "last.ckpt"):
        torch.save({"a": torch.zeros(300, 300)}, cast("IO[bytes]", Full()))  # it only writes and flushes
    assert caught.value.errno == errno.ENOSPC


def test_an_error_of_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, written(tmp_path / "a"):
        (tmp_path / "other").read_text()
    assert caught.value.filename == str(tmp_path / "other")


def test_a_name_as_long_as_the_system_allows_can_be_written(tmp_path: Path) -> None:
    for name in ("a" * 255, "肺" * 85):
        files.write_text("whole", tmp_path / name)
        assert (tmp_path / name).read_text() == "whole"


def test_what_a_kill_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    others = [".download.part", ".hidden", "a.part", "metrics.json"]
    for name in (".metrics.json.0a1b2c3d.part", *others):
        (tmp_path / name).touch()
    clear_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == others


def test_a_private_file_is_never_readable_by_others(tmp_path: Path) -> None:
    with written(tmp_path / "key.csv", mode=0o600) as aside:
        assert stat.S_IMODE(aside.stat().st_mode) & 0o077 == 0
        np.savetxt(aside, [1.0])
    assert stat.S_IMODE((tmp_path / "key.csv").stat().st_mode) & 0o077 == 0


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with written(tmp_path / "pipe", lasting=False) as path:
        path.write_text("whole")
    assert os.read(reader, 10) == b"whole"
    os.close(reader)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.parametrize("kind", ["device", "pipe", "file"])
def test_a_link_to_an_open_file_or_a_device_is_written_through_and_not_replaced(
    kind: str, tmp_path: Path
) -> None:
    link = tmp_path / "out"  # like /dev/stdout, on a terminal, into a pipe, and into a file
    reader, writer = os.pipe()
    with (tmp_path / "file").open("w+") as file:
        number = writer if kind == "pipe" else file.fileno()
        link.symlink_to("/dev/null" if kind == "device" else f"/proc/self/fd/{number}")
        with written(link) as path:
            path.write_text("whole")
        assert link.is_symlink()
        assert kind != "pipe" or os.read(reader, 10) == b"whole"
        assert kind != "file" or file.read() == "whole"
    os.close(reader)
    os.close(writer)


def test_a_fault_of_a_file_is_told_in_one_line_without_the_systems_number() -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/last.ckpt")
    assert in_words(full) == "runs/last.ckpt: No space left on device"
    assert in_words(ValueError("a\nb")) == "ValueError: a b"
