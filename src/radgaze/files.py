"""Files of runs, stores and results: written atomically, and validated when they are read."""

from __future__ import annotations

import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from radgaze.errors import UserError, shortened

if TYPE_CHECKING:
    import polars as pl

SUFFIX = ".part"
"""Suffix of a file that is being written."""

LARGEST = 64 * 2**20
"""Maximum size of a JSON file, in bytes."""

LARGEST_YAML = 2**20
"""Maximum size of a YAML file, in bytes."""

NODES = 20_000
"""Maximum number of values of a YAML file; those that aliases repeat count each time."""


@contextmanager
def written(path: Path, *, mode: int = 0o666, lasting: bool = True) -> Iterator[Path]:
    """Write a file atomically: yield the path of a new file, which replaces `path` when the block succeeds.

    A reader sees the old file or the new one, also after a kill. A link is replaced, not the file that it
    points to; a device or an open file such as /dev/stdout is written to. The new file is in the same folder,
    since a move between file systems is a copy that can be interrupted.

    Args:
        path: Path of the file.
        mode: Permissions of the file, which the process's mask restricts.
        lasting: Whether to wait until the file is on the disk.

    Raises:
        OSError: The file cannot be written; with the system's error number and `path`, whatever library
            wrote it.
    """
    with disk_faults(path):
        if _is_device(path):
            yield path
            return
        aside = path.with_name(f"{_begin(path.name)}{secrets.token_hex(4)}{SUFFIX}")
        os.close(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
        try:
            yield aside
            if lasting:
                with aside.open("rb+") as file:
                    os.fsync(file.fileno())
            aside.replace(path)
        except BaseException:
            with suppress(OSError):
                aside.unlink(missing_ok=True)
            raise


def write_text(text: str, path: Path) -> None:
    """Write a text file atomically."""
    write_bytes(text.encode(), path)


def write_bytes(content: bytes, path: Path) -> None:
    """Write a file atomically."""
    with written(path) as aside:
        aside.write_bytes(content)


def make_private(database: Path) -> None:
    """Let only its owner read an SQLite database, and the files of its log, which have the permissions that
    it had when it was opened.

    Raises:
        OSError: It belongs to another account.
    """
    for ending in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            database.with_name(f"{database.name}{ending}").chmod(0o600)


@contextmanager
def disk_faults(path: Path) -> Iterator[None]:
    """Turn a library's error about a fault of the disk into the `OSError` that Python itself raises.

    Polars and safetensors give the system's error number only in the text of their errors; torch raises an
    error about its position in the file while it closes it.
    """
    try:
        yield
    except Exception as error:
        code = _number(error, path)
        if code is None:
            raise
        raise OSError(code, os.strerror(code), str(path)) from error


def _number(error: Exception, path: Path) -> int | None:
    """The system's number of an error about a file; None for another file, or no fault of the disk."""
    if isinstance(error, OSError) and error.errno is not None:
        named = None if error.filename is None else Path(str(error.filename))
        is_this = named is None or named == path or is_leftover(named, path.name)
        return error.errno if is_this else None
    number = re.search(r"\(os error (\d+)\)", str(error))
    if number is not None:
        return int(number[1])
    inner = error.__context__
    if isinstance(error, RuntimeError) and "inline_container" in str(error) and isinstance(inner, OSError):
        return inner.errno
    return None


def is_leftover(path: Path, name: str) -> bool:
    """Whether a file is an unfinished one of a killed process, for the file of that name."""
    return path.name.startswith(_begin(name)) and path.name.endswith(SUFFIX)


def is_any_leftover(path: Path) -> bool:
    """Whether a file is an unfinished one of a killed process, or one that a process is writing."""
    return re.fullmatch(rf"\..*\.[0-9a-f]{{8}}\{SUFFIX}", path.name) is not None and not path.is_dir()


def clear_leftovers(folder: Path) -> None:
    """Remove the unfinished files of killed processes from a folder, in which no other process may write."""
    for path in filter(is_any_leftover, folder.glob(f".*{SUFFIX}")):
        path.unlink(missing_ok=True)


def as_path(value: object, name: str) -> Path:
    """Return an argument that is a path, or its text.

    Raises:
        UserError: It is none.
    """
    if not isinstance(value, str | Path):
        got = shortened(" ".join(repr(value).split()), 80)
        raise UserError(f"`{name}` must be a path, got {got}")
    return Path(value)


def stay_within(folder: Path) -> None:
    """Check that writing into a folder does not write elsewhere.

    Raises:
        UserError: A link in it leads out of it.
    """
    root = folder.resolve()
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent, name)
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                raise UserError(
                    f"{path} is a link that leads out of {folder}: nothing is read or written through it; "
                    "replace it by the file or folder that it points to"
                )


def read_yaml(path: Path) -> Any:
    """Read a YAML file of plain values.

    Raises:
        FileNotFoundError: There is no such file.
        UserError: It is not YAML, or too large, also by its aliases.
    """
    try:
        if path.stat().st_size > LARGEST_YAML:
            raise UserError(f"{path} is larger than {LARGEST_YAML:,} bytes: no file of settings")
        return parse_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        # ValueError: not UTF-8, or a number or date that is none.
        raise UserError(f"{path} is not YAML that can be read: {_short(error)}") from error


def parse_yaml(text: str) -> object:
    """Parse a YAML text like `yaml.safe_load`, with a limit on the values that aliases repeat.

    Raises:
        yaml.YAMLError: It is not YAML, or has too many values.
        ValueError: A value is malformed.
        RecursionError: It is nested too deep.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _size(node, {}) > NODES:
            raise yaml.YAMLError(f"more than {NODES:,} values, counting those that aliases repeat")
        return loader.construct_document(node)
    finally:
        loader.dispose()


def read_json(path: Path, fits: Callable[[Any], bool], advice: str) -> Any:
    """Read a JSON file.

    Args:
        path: Path of the file.
        fits: Says whether its content is of the expected form.
        advice: What to do about a damaged file; the end of the message.

    Raises:
        UserError: It is cut, damaged, or something else.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError("too large")
        content = json.loads(path.read_text(encoding="utf-8-sig"))  # as some editors save it
    except (ValueError, RecursionError, OSError) as error:
        raise UserError(f"{path} cannot be read, it is cut or damaged ({_short(error)}); {advice}") from error
    if not fits(content):
        raise UserError(f"{path} does not hold what it should; {advice}")
    return content


def read_parquet(path: Path, needs: Sequence[str], advice: str) -> pl.DataFrame:
    """Read a Parquet table.

    Args:
        path: Path of the file.
        needs: Columns that it must have.
        advice: What to do about a damaged file; the end of the message.

    Raises:
        UserError: It is cut, damaged, or something else.
    """
    import polars as pl  # most of the time that a verb takes to tell a mistake

    return _table(path, lambda: pl.read_parquet(path, glob=False), needs, advice)


def read_csv(path: Path, needs: Sequence[str], advice: str) -> pl.DataFrame:
    """Read a table of comma-separated values; see `read_parquet`."""
    import polars as pl

    return _table(path, lambda: pl.read_csv(path, glob=False), needs, advice)


def _table(path: Path, read: Callable[[], pl.DataFrame], needs: Sequence[str], advice: str) -> pl.DataFrame:
    import polars as pl

    try:
        table = read()
    # Polars panics on a fault in a column's pages; a panic is no Exception.
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read, it is cut or damaged; {advice}") from error
    missing = [name for name in needs if name not in table.columns]
    if missing:
        raise UserError(f"{path} has no column {', '.join(missing[:3])}; {advice}")
    return table


def _is_device(path: Path) -> bool:
    """Whether a path is a device, a pipe or an open file, or a link to one: no file may replace it."""
    try:
        kind = path.stat().st_mode
        if path.is_symlink() and str(path.readlink()).startswith("/proc/"):
            return True  # as /dev/stdout is, the one of the whole machine
    except OSError:
        return False
    return stat.S_ISCHR(kind) or stat.S_ISBLK(kind) or stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)


def _begin(name: str) -> str:
    return f".{name[:40]}."  # in bytes it may be four times as long, and 255 are the most


def _size(node: yaml.Node, sizes: dict[int, int]) -> int:
    """Count the values that a node makes, with those that its aliases repeat."""
    key = id(node)
    if key not in sizes:
        sizes[key] = NODES + 1  # for a node that contains itself
        inner: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            inner = node.value
        elif isinstance(node, yaml.MappingNode):
            inner = [part for pair in node.value for part in pair]
        sizes[key] = 1 + sum(_size(part, sizes) for part in inner)
    return sizes[key]


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
