"""Files of a run or another folder of ours: written whole or not at all, and read without trust."""

from __future__ import annotations

import json
import os
import secrets
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
def written(path: Path) -> Iterator[Path]:
    """The name of a new file beside `path`, which takes its place when the block ends well.

    A reader, or whoever comes after a kill, sees the old file or the new one. A link is replaced, and not
    what it points at. It is written in the same folder, for a move between file systems is a copy that can
    be cut.
    """
    aside = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}{SUFFIX}")
    os.close(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield aside
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise


def write_text(text: str, path: Path) -> None:
    """Write a file of text, whole or not at all."""
    with written(path) as aside:
        aside.write_text(text, encoding="utf-8")


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
        found = json.loads(path.read_text(encoding="utf-8"))
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
