"""Ids of our own for cases and for what belongs to none: a file's name may tell who the patient is."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from radgaze.errors import UserError
from radgaze.files import written
from radgaze.tables import csv_text, read_csv

KEY = {"id": pl.String, "name": pl.String}
"""Columns of a key: an id of ours, and what the table, or the file beside it, calls it."""


def numbered(names: pl.Series, what: str) -> pl.Series:
    """An id for each name, by its first place among them: case-000001 and so on.

    Args:
        names: Of the things, in the order of their table.
        what: Their kind, e.g. "case".
    """
    first = names.unique(maintain_order=True).drop_nulls()
    digits = max(6, len(str(len(first))))
    ids = [f"{what}-{number:0{digits}d}" for number in range(1, len(first) + 1)]
    return names.replace_strict(first, pl.Series(ids, dtype=pl.String), default=None, return_dtype=pl.String)


def digest(names: Sequence[str]) -> str:
    """Of all names together, so that another list of files is told from this one. It is slow to take, so that
    a short list cannot be found by trying.
    """
    together = hashlib.sha256(repr(list(names)).encode("utf-8", "surrogatepass")).digest()
    return hashlib.scrypt(together, salt=b"radgaze table names", n=2**14, r=8, p=1, dklen=32).hex()


def write_key(path: str | Path, key: pl.DataFrame) -> None:
    """Write which id is which name, for the owner's eyes alone; nothing where it is there already.

    Raises:
        UserError: Another file is there, or it cannot be written.
    """
    path = Path(path)
    told = f"--key {path}"
    try:
        if path.exists():
            try:
                same = path.is_file() and read_csv(path).equals(key)
            except pl.exceptions.PolarsError:
                same = False
            if not same:
                raise UserError(
                    f"{told}: something else is there, perhaps the key of another store; name another"
                )
            return
        with written(path, mode=0o600) as aside:
            aside.write_text(csv_text(key), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{told} cannot be written: {error.strerror or error}") from error
