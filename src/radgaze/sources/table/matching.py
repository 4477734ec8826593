"""Which case a record of another table belongs to, and which file one that a table names."""

from __future__ import annotations

import unicodedata
from pathlib import Path, PurePosixPath

import polars as pl

from radgaze.console import say
from radgaze.errors import UserError
from radgaze.sources.keys import composed, respelled


def of_cases(records: pl.DataFrame, sheet: pl.DataFrame, path: Path) -> pl.DataFrame:
    """The records with case_id by `key`, see `cases_by_key`; null where no case has that key.

    Args:
        records: Table with key.
        sheet: case_id, name and image of all records of the table of labels.
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
    """key and case_id: the keys of a case are its name in the table, its image as the table has it, and that
    file's name with and without its extension; a key of two records belongs to the first.
    """
    image = pl.col("image")
    keys = (
        pl.col("name"),  # not case_id: an id of our own may be another file's name
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
    """Say how many records write their case differently from the table."""
    say(
        f"{path.name}: {records:,} records write their case with another letter case or other spaces than "
        "the table and are matched to it"
    )


def nothing_belongs(path: Path, key: str, sheet: pl.DataFrame) -> UserError:
    """The error where no record belongs to a case."""
    return UserError(
        f"{path}: no record belongs to a case of the table; they are of {key!r} and so on, "
        f"the table's cases are {sheet['name'][0]!r} and so on"
    )


def file_of(folder: Path, image: str) -> str:
    """The path of an image, or of another file, that a table names.

    Where there is no such file, one is looked for with / for \\ and in Unicode's other form.
    """
    slashed = image.replace("\\", "/")
    spellings = [image, *(unicodedata.normalize(form, slashed) for form in ("NFC", "NFD")), slashed]
    return str(next((path for one in spellings if (path := folder / one).is_file()), folder / slashed))


def stem(image: str) -> str:
    """The name of an image file without folder and extension."""
    name = PurePosixPath(image.replace("\\", "/")).name
    return name.rpartition(".")[0] or name
