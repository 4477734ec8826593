"""Matching of records of further tables to cases, and of names in a table to files."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import polars as pl

from radgaze.console import note
from radgaze.errors import UserError
from radgaze.sources.keys import composed, respelled

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
DICOM = (".dcm", ".dicom")
"""Endings of the names of images."""


class Matcher:
    """Find the case of records by their `key`, see `cases_by_key`.

    Args:
        path: File of the records, for messages.
        sheet: Table of case_id, name and image of all records of the table of labels.
        by_image: Whether a key that may be an id or an image is an image.
    """

    def __init__(self, path: Path, sheet: pl.DataFrame, *, by_image: bool) -> None:
        self._path, self._sheet = path, sheet
        self._keys = cases_by_key(sheet, by_image=by_image)
        self._records = self._matched = self._respelled = 0
        self._first: str | None = None
        self._contested: str | None = None
        self._otherwise: str | None = None

    def matched(self, records: pl.DataFrame) -> pl.DataFrame:
        """Add case_id to some of the records, null where no case has their key.

        Args:
            records: Table with key, in composed form.

        Raises:
            UserError: Several cases have the same key.
        """
        self._first = self._first or next(iter(records["key"]), None)
        if spellings := respelled(records["key"], self._keys):
            self._respelled += int(records["key"].is_in(list(spellings)).sum())
            records = records.with_columns(pl.col("key").replace(spellings))
        records = records.join(self._keys, on="key", how="left", maintain_order="left")
        self._refuse_shared(records)
        self._records += len(records)
        self._matched += records["case_id"].count()
        self._contested = self._contested or next(iter(records.filter("contested")["key"]), None)
        self._otherwise = self._otherwise or next(iter(records.filter("otherwise")["key"]), None)
        return records.drop("other", "contested", "otherwise")

    def check(self) -> None:
        """Report how many of all records spell their case differently from the table.

        Raises:
            UserError: No record belongs to a case, or some are named by ids and others by images although an
                id is the image of another case.
        """
        if self._respelled:
            note(
                f"{self._path.name}: {self._respelled:,} records write their case with another letter case "
                "or other spaces than the table and are matched to it"
            )
        if self._records and not self._matched:
            raise UserError(
                f"{self._path}: no record belongs to a case of the table; they are of {self._first!r} and so "
                f"on, the table's cases are {self._sheet['name'][0]!r} and so on"
            )
        if self._contested is not None and self._otherwise is not None:
            raise UserError(
                f"{self._path}: {self._contested!r} is the id of one case and the image of another, and "
                f"others, such as {self._otherwise!r}, do not tell which is meant: name all cases by their "
                "ids, or all by their images as the table writes them"
            )

    def _refuse_shared(self, records: pl.DataFrame) -> None:
        shared = records.filter(pl.col("other").is_not_null())
        if shared.height:
            key, *ids = shared.select("key", "case_id", "other").row(0)
            one, other = (self._sheet.filter(pl.col("case_id") == case_id)["name"][0] for case_id in ids)
            raise UserError(
                f"{self._path}: {key!r} is an image of {one!r} and of {other!r} of the table; name each case "
                "as the table does"
            )


def cases_by_key(sheet: pl.DataFrame, *, by_image: bool) -> pl.DataFrame:
    """Find the cases that keys stand for.

    A key is the name of a case in the table; or else its image as in the table, the name of this file, or
    that without its extension, in this order. With `by_image`, these go before the name.

    Args:
        sheet: Table of case_id, name and image of all records of the table of labels.
        by_image: Whether a key that may be a name or an image is an image.

    Returns:
        Table of key; case_id; other, another case of which this is equally the key, or null; contested,
        whether the key is the name of one case and the image of another; and otherwise, whether it is an
        image without `by_image`, or a name with it.
    """
    image = pl.col("image")
    images = (
        image,
        image.str.replace_all("\\", "/", literal=True).str.split("/").list.last(),
        image.map_elements(stem, pl.String),
    )
    # The name is not case_id: a numbered id may be the name of another file.
    of_name, of_image = _first_kinds(sheet, [pl.col("name")]), _first_kinds(sheet, images)
    first, second = (of_image, of_name) if by_image else (of_name, of_image)
    both = first.join(second, on="key", how="full", coalesce=True)
    otherwise = pl.col("case_id").is_null()
    return both.select(
        "key",
        case_id=pl.coalesce("case_id", "case_id_right"),
        other=pl.when(otherwise).then("other_right").otherwise("other"),
        contested=(pl.col("case_id") != pl.col("case_id_right")).fill_null(False),
        otherwise=otherwise,
    )


def _first_kinds(sheet: pl.DataFrame, kinds: Sequence[pl.Expr]) -> pl.DataFrame:
    """Table of key, case_id and other, where a key of several kinds is of the first of them."""
    of_kinds = [
        sheet.select("case_id", key=composed(key), kind=pl.lit(k, pl.UInt8)) for k, key in enumerate(kinds)
    ]
    # Sorting takes half the memory of grouping.
    keys = (
        pl.concat(of_kinds).sort("key", "kind", "case_id").filter(~_repeats("key", "kind", "case_id", by=1))
    )
    other = pl.when(_repeats("key", "kind", by=-1)).then(pl.col("case_id").shift(-1))
    return keys.with_columns(other=other).filter(~_repeats("key", by=1)).drop("kind")


def _repeats(*names: str, by: int) -> pl.Expr:
    """Whether these columns are the same in the row that is so many rows before."""
    return pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift(by)) for name in names)


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


def image_name(key: str) -> str:
    """Return the name of an image without folder and extension, or an id, which may have points, whole."""
    name = PurePosixPath(key.replace("\\", "/")).name
    return stem(name) if PurePosixPath(name).suffix.lower() in (*PICTURES, *DICOM) else name


def stem(image: str) -> str:
    """Return the name of a file without folder and extension."""
    name = PurePosixPath(image.replace("\\", "/")).name
    return name.rpartition(".")[0] or name
