"""Files of a run or another folder of ours: written whole or not at all, and read without trust."""

from __future__ import annotations

import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from radgaze.errors import UserError

SUFFIX = ".part"
"""Of a file that is being written."""

LARGEST = 64 * 2**20
"""Bytes of a JSON file at most."""

LARGEST_YAML = 2**20
NODES = 20_000
"""Values of a YAML file at most, those that an alias repeats counted each time."""


@contextmanager
def written(path: Path, *, mode: int = 0o666, lasting: bool = True) -> Iterator[Path]:
    """The name of a new file beside `path`, which takes its place when the block ends well.

    A reader, or whoever comes after a kill, sees the old file or the new one. A link is replaced, and not
    what it points at; a device is written to. It is written in the same folder, for a move between file
    systems is a copy that can be cut.

    Args:
        path: The file.
        mode: Its permissions, of which the process's mask takes away.
        lasting: Wait until it is on the disk.

    Raises:
        OSError: It cannot be written, whatever library did, with the system's number and `path`.
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
    """Write a file of text, whole or not at all."""
    write_bytes(text.encode(), path)


def write_bytes(content: bytes, path: Path) -> None:
    """Write a file, whole or not at all."""
    with written(path) as aside:
        aside.write_bytes(content)


@contextmanager
def disk_faults(path: Path) -> Iterator[None]:
    """Turn what a library makes of a fault of the disk into the `OSError` that Python itself raises.

    Polars and safetensors have the system's number in the words of their errors alone, torch an error about
    its own place in the file, raised while it closes what it could not write.
    """
    try:
        yield
    except Exception as error:
        code = _number(error, path)
        if code is None:
            raise
        raise OSError(code, os.strerror(code), str(path)) from error


def _number(error: Exception, path: Path) -> int | None:
    """The system's number of what befell a file; None where it was another one, or no fault of the disk."""
    if isinstance(error, OSError) and error.errno is not None:
        named = None if error.filename is None else Path(str(error.filename))
        own = named is None or named == path or is_leftover(named, path.name)
        return error.errno if own else None
    found = re.search(r"\(os error (\d+)\)", str(error))
    if found is not None:
        return int(found[1])
    inner = error.__context__
    if isinstance(error, RuntimeError) and "inline_container" in str(error) and isinstance(inner, OSError):
        return inner.errno
    return None


def is_leftover(path: Path, name: str) -> bool:
    """Whether a file is what a killed process left of the one of that name."""
    return path.name.startswith(_begin(name)) and path.name.endswith(SUFFIX)


def clear_leftovers(folder: Path) -> None:
    """Remove what a killed process left of a file that it was writing here."""
    for path in folder.glob(f".*{SUFFIX}"):
        if not path.is_dir():
            path.unlink(missing_ok=True)


def stay_within(folder: Path) -> None:
    """See to it that what is written into a folder stays there.

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
                    "put what it points at in its place"
                )


def read_yaml(path: Path) -> Any:
    """What a YAML file holds, built of plain values alone.

    Raises:
        FileNotFoundError: There is none.
        UserError: It is not YAML, too large, or aliases make it so.
    """
    try:
        if path.stat().st_size > LARGEST_YAML:
            raise UserError(f"{path} is larger than {LARGEST_YAML:,} bytes: no file of settings")
        return parse_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        # The last: not UTF-8, or a number or date that is none.
        raise UserError(f"{path} is not YAML that can be read: {_short(error)}") from error


def parse_yaml(text: str) -> Any:
    """The values of a YAML text; as `yaml.safe_load`, where aliases do not make many of few.

    Raises:
        yaml.YAMLError: It is not YAML, or has too many values.
        ValueError: A value in it is none.
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
    """What a JSON file holds.

    Args:
        path: The file.
        fits: Whether that is what it should hold.
        advice: What to do where it is not, as a user is told it.

    Raises:
        UserError: It is cut, damaged, or something else.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError("too large")
        found = json.loads(path.read_text(encoding="utf-8-sig"))  # as some editors save it
    except (ValueError, RecursionError, OSError) as error:
        raise UserError(f"{path} cannot be read, it is cut or damaged ({_short(error)}); {advice}") from error
    if not fits(found):
        raise UserError(f"{path} does not hold what it should; {advice}")
    return found


def read_parquet(path: Path, needs: Sequence[str], advice: str) -> pl.DataFrame:
    """A Parquet table.

    Args:
        path: The file.
        needs: Columns that it must have.
        advice: What to do where it cannot be read, as a user is told it.

    Raises:
        UserError: It is cut, damaged, or something else.
    """
    return _table(path, lambda: pl.read_parquet(path, glob=False), needs, advice)


def read_csv(path: Path, needs: Sequence[str], advice: str) -> pl.DataFrame:
    """A table of comma-separated values; else as `read_parquet`."""
    return _table(path, lambda: pl.read_csv(path, glob=False), needs, advice)


def _table(path: Path, read: Callable[[], pl.DataFrame], needs: Sequence[str], advice: str) -> pl.DataFrame:
    try:
        table = read()
    # A fault in a column's pages is a panic of polars, which is no Exception.
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read, it is cut or damaged; {advice}") from error
    missing = [name for name in needs if name not in table.columns]
    if missing:
        raise UserError(f"{path} has no column {', '.join(missing[:3])}; {advice}")
    return table


def _is_device(path: Path) -> bool:
    """Whether a name is of a device or a pipe, which a file must not take the place of."""
    try:
        kind = path.lstat().st_mode
    except OSError:
        return False
    return stat.S_ISCHR(kind) or stat.S_ISBLK(kind) or stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)


def _begin(name: str) -> str:
    return f".{name[:40]}."  # in bytes it may be four times as long, and 255 are the most


def _size(node: yaml.Node, known: dict[Hashable, int]) -> int:
    """How many values a node makes, with those that its aliases repeat."""
    own = id(node)
    if own not in known:
        known[own] = NODES + 1  # of a node that holds itself
        inner: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            inner = node.value
        elif isinstance(node, yaml.MappingNode):
            inner = [part for pair in node.value for part in pair]
        known[own] = 1 + sum(_size(part, known) for part in inner)
    return known[own]


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
