"""Matching of records of further tables to cases, and of names in a table to files."""

from __future__ import annotations

import unicodedata
from pathlib import Path, PurePosixPath

import polars as pl

from radgaze.console import note
from radgaze.errors import UserError
from radgaze.sources.keys import composed, respelled


def of_cases(records: pl.DataFrame, sheet: pl.DataFrame, path: Path) -> pl.DataFrame:
    """Add case_id to records by their `key`, see `cases_by_key`; null where no case has this key.

    Args:
        records: Table with key.
        sheet: Table of case_id, name and image of all records of the table of labels.
        path: File of the records, for messages.

    Raises:
        UserError: No record belongs to a case.
    """
    keys = cases_by_key(sheet)
    records = records.with_columns(composed(pl.col("key")))
    if spellings := respelled(records["key"], keys):
        say_respelled(path, int(records["key"].is_in(list(spellings)).sum()))
        records = records.with_columns(pl.col("key").replace(spellings))
    records = records.join(keys, on="key", how="left", maintain_order="left")
    if len(records) and records["case_id"].null_count() == len(records):
        raise nothing_belongs(path, records["key"][0], sheet)
    return records


def cases_by_key(sheet: pl.DataFrame) -> pl.DataFrame:
    """Return a table of key and case_id.

    The keys of a case are its name in the table, its image as in the table, and the name of this file with
    and without its extension. A key of two records belongs to the first.

    Args:
        sheet: Table of case_id, name and image of all records of the table of labels.
    """
    image = pl.col("image")
    keys = (
        pl.col("name"),  # not case_id: a numbered id may be the name of another file
        image,
        image.str.replace_all("\\", "/", literal=True).str.split("/").list.last(),
        image.map_elements(stem, pl.String),
    )
    row = pl.int_range(pl.len(), dtype=pl.UInt32)
    each = [sheet.select(key=composed(key), place=len(keys) * row + k) for k, key in enumerate(keys)]
    # Sorting takes half the memory of grouping.
    first = pl.concat(each).sort("key", "place").filter(pl.col("key").ne_missing(pl.col("key").shift()))
    return first.select("key", case_id=sheet["case_id"].gather(first["place"] // len(keys)))


def say_respelled(path: Path, records: int) -> None:
    """Report how many records spell their case differently from the table."""
    note(
        f"{path.name}: {records:,} records write their case with another letter case or other spaces than "
        "the table and are matched to it"
    )


def nothing_belongs(path: Path, key: str, sheet: pl.DataFrame) -> UserError:
    """Return the error for a file none of whose records belongs to a case.

    Args:
        path: The file.
        key: Key of its first record.
        sheet: Table of the names of the cases.
    """
    return UserError(
        f"{path}: no record belongs to a case of the table; they are of {key!r} and so on, "
        f"the table's cases are {sheet['name'][0]!r} and so on"
    )


def file_of(folder: Path, image: str) -> str:
    """Return the path of a file that a table names.

    Where there is no such file, spellings with / in place of \\ and in other Unicode forms are tried.

    Args:
        folder: Folder to which names are relative.
        image: Name in the table.
    """
    slashed = image.replace("\\", "/")
    spellings = [image, *(unicodedata.normalize(form, slashed) for form in ("NFC", "NFD")), slashed]
    return str(next((path for one in spellings if (path := folder / one).is_file()), folder / slashed))


def stem(image: str) -> str:
    """Return the name of a file without folder and extension."""
    name = PurePosixPath(image.replace("\\", "/")).name
    return name.rpartition(".")[0] or name
