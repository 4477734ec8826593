"""Numbered ids of cases and of other images, since the name of a file may reveal the patient."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from radgaze.errors import UserError
from radgaze.files import written
from radgaze.tables import csv_text, read_csv

KEY = {"id": pl.String, "name": pl.String}
"""Columns of a key file: an id, and the name in the table or of the file."""


def numbered(names: pl.Series, kind: str) -> pl.Series:
    """Return an id for each name, numbered by first occurrence: case-000001 and so on; null for null.

    Args:
        names: Names in the order of their table.
        kind: Beginning of the ids, e.g. "case".
    """
    first = names.unique(maintain_order=True).drop_nulls()
    digits = max(6, len(str(len(first))))
    ids = [f"{kind}-{number:0{digits}d}" for number in range(1, len(first) + 1)]
    return names.replace_strict(first, pl.Series(ids, dtype=pl.String), default=None, return_dtype=pl.String)


def digest(names: Sequence[str]) -> str:
    """Compute a joint digest of names, which distinguishes lists of files.

    It is slow to compute, so that a short list cannot be guessed by trying.
    """
    together = hashlib.sha256(repr(list(names)).encode("utf-8", "surrogatepass")).digest()
    return hashlib.scrypt(together, salt=b"radgaze table names", n=2**14, r=8, p=1, dklen=32).hex()


def write_key(path: str | Path, key: pl.DataFrame) -> None:
    """Write a key file, which only its owner may read; an equal file is made so.

    Args:
        path: Path of the file.
        key: Table with the columns of `KEY`.

    Raises:
        UserError: A different file exists, or the file cannot be written.
    """
    path = Path(path)
    setting = f"`key={path}`"
    try:
        if path.exists():
            try:
                same = path.is_file() and read_csv(path).equals(key)
            except pl.exceptions.PolarsError:
                same = False
            if not same:
                raise UserError(
                    f"{setting}: another file is there, perhaps the key of another store; name another one"
                )
            path.chmod(0o600)
            return
        with written(path, mode=0o600) as aside:
            aside.write_text(csv_text(key), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{setting} cannot be written: {error.strerror or error}") from error
