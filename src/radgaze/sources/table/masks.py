"""Mask files of a table's images: listed in a table of their own, or in folders, named as the images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from radgaze.console import say
from radgaze.errors import UserError
from radgaze.sources.cohort import NO_REGIONS
from radgaze.sources.delimited import read_columns, tell_first
from radgaze.sources.table.files import CASE, chosen_columns, file_of, of_cases, stem

COLUMNS = {
    "case": (*CASE, "image", "image_path", "image_file", "image_index", "image_id", "dicom_id"),
    "file": ("mask", "mask_path", "mask_file", "file", "filename", "path"),
    "name": ("name", "label", "finding", "finding_label", "class", "class_name"),
}
"""What columns are called that need not be named."""
PICTURES = {".png", ".jpg", ".jpeg", ".tif", ".tiff"}
ENDINGS = ("_mask", "-mask", "_seg", "-seg")
UNNAMED = "mask"


def masks_of(
    path: str | Path | None, columns: Sequence[str], sheet: pl.DataFrame, cases: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The masks of the cases in their order, and rejections of those that are not there or of no record.

    Args:
        path: CSV or Parquet with case, file (from the table's folder) and name, if there is one; or a folder
            of mask files named as the images, or as these and `ENDINGS`, at its top or in a subfolder for
            each name.
        columns: KEY=COLUMN of such a table, where names do not tell.
        sheet: case_id, name, image (as the table has it), file: of all records.
        cases: case_id, of those that are kept.

    Returns:
        case_id, label, file; and reason, case_id, key (what names the image, where it is no case), detail.

    Raises:
        UserError: There is no such file or folder, no mask is in it, or none belongs to a case.
    """
    if path is None:
        return pl.DataFrame(schema=NO_REGIONS), pl.DataFrame(schema=_REJECTIONS)
    path = Path(path).absolute()
    if path.is_dir():
        if columns:
            raise UserError(f"--mask-columns is for a table of masks; {path} is a folder")
        read = _in_folder(path, sheet)
    else:
        read = _in_table(path, columns)
    own = of_cases(read, sheet, path)
    strangers = own.filter(pl.col("case_id").is_null()).select(
        pl.lit("mask_without_case").alias("reason"),
        "key",
        pl.lit("of an image that is not in the table").alias("detail"),
    )
    order = cases.select("case_id", pl.int_range(pl.len()).alias("case"))
    own = own.join(order, on="case_id", maintain_order="left").sort("case", maintain_order=True)
    there = pl.Series([Path(file).is_file() for file in own["file"]], dtype=pl.Boolean)
    lost = own.filter(~there).select(
        pl.lit("unreadable_mask").alias("reason"),
        "case_id",
        pl.lit("there is no file where the table says").alias("detail"),
    )
    return own.filter(there).select(*NO_REGIONS), pl.concat([strangers, lost], how="diagonal")


def _in_table(path: Path, columns: Sequence[str]) -> pl.DataFrame:
    """key (what names the case), label, file (absolute)."""
    found = chosen_columns(path, "--mask-columns", columns, COLUMNS, ("case", "file"))
    read = read_columns(path, tuple(dict.fromkeys(found.values())), archive="a table of masks")
    for name in ("case", "file"):
        tell_first(read, path, found[name], pl.col(found[name]).is_null(), f"a {name} expected")
    if read.is_empty():
        say(f"{path.name} has no records: there are no masks in it")
    label = pl.col(found["name"]).fill_null(UNNAMED) if "name" in found else pl.lit(UNNAMED)
    files = pl.Series([file_of(path.parent, file) for file in read[found["file"]]], dtype=pl.String)
    return read.select(key=pl.col(found["case"]), label=label, file=files)


def _in_folder(folder: Path, sheet: pl.DataFrame) -> pl.DataFrame:
    """key, label, file of all pictures at the top and one level below but the images themselves."""
    images = {str(Path(file).resolve()) for file in sheet["file"]}
    known = {key for name, image in sheet.select("name", "image").iter_rows() for key in (name, stem(image))}
    rows = []
    for file in sorted([*folder.glob("*"), *folder.glob("*/*")]):
        if file.suffix.lower() in PICTURES and file.is_file() and str(file.resolve()) not in images:
            label = UNNAMED if file.parent == folder else file.parent.name
            rows.append((_key(file.name, known), label, str(file)))
    if not rows:
        raise UserError(f"{folder} has no mask: a PNG, JPEG or TIFF named as its image is expected")
    read = pl.DataFrame(rows, schema={"key": pl.String, "label": pl.String, "file": pl.String}, orient="row")
    names = read["label"].unique(maintain_order=True)
    say(f"{folder.name}: {len(read)} masks, of {', '.join(f'“{name}”' for name in names)}")
    return read


def _key(name: str, known: set[str]) -> str:
    key = stem(name)
    shorter = next((key.removesuffix(end) for end in ENDINGS if key.endswith(end)), key)
    return key if key in known else shorter


_REJECTIONS = dict.fromkeys(("reason", "case_id", "detail"), pl.String)
