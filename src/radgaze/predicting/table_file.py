"""The file of a table of predictions. Does not import torch."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from radgaze.errors import UserError
from radgaze.files import written
from radgaze.outputs import check_folder
from radgaze.tables import write_csv, write_parquet

FORMATS = (".csv", ".parquet", ".json")


def write(table: pl.DataFrame, out: Path) -> None:
    """Write a table as CSV, Parquet or JSON (a list of rows), by the ending of the file."""
    match out.suffix.lower():
        case ".csv":
            write_csv(table, out)
        case ".parquet":
            write_parquet(table, out)
        case _:
            with written(out) as aside:
                table.write_json(aside)


def check_file(out: Path, *, overwrite: bool) -> None:
    """Check that the table can be written, and replaces nothing else.

    Raises:
        UserError: It cannot, or does.
    """
    if out.suffix.lower() not in FORMATS:
        raise UserError(f"`out` must end with {', '.join(FORMATS[:-1])} or {FORMATS[-1]}, got {out}")
    if out.is_dir():
        raise UserError(f"`out={out}` is a folder; name a file in it, such as {out / 'predictions.csv'}")
    check_folder(out.parent)
    if out.exists() and not overwrite:
        raise UserError(f"{out} exists; name another file, or set `overwrite=True`")
