"""Mask files of a table's images: listed in a further table, or in folders and named like the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from pathlib import Path

import polars as pl

from radgaze.console import note, say
from radgaze.errors import UserError
from radgaze.sources.contents import NO_REGIONS
from radgaze.sources.delimited import is_missing, read_columns, tell_first
from radgaze.sources.filenames import in_utf8
from radgaze.sources.keys import composed
from radgaze.sources.table.columns import MASKS, chosen_columns, names_images
from radgaze.sources.table.matching import PICTURES, Matcher, file_of, stem
from radgaze.sources.table.options import TableOptions

ENDINGS = ("_mask", "-mask", "_seg", "-seg")
"""Suffixes, before the extension, by which the name of a mask may differ from that of its image."""
UNNAMED = "mask"


def masks_of(
    options: TableOptions, sheet: pl.DataFrame, cases: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Find the masks of cases.

    Args:
        options: Table or folder of the masks, None for no masks. The table has case, file (relative to the
            folder of the table) and name; the folder has files named like the images, with or without one of
            `ENDINGS`, either directly or in a subfolder for each name.
        sheet: Table of case_id, name, image (as in the table) and file of all records.
        cases: Table of case_id of the accepted cases.

    Returns:
        `Cohort.regions`, in the order of the cases; and rejections of masks that are missing or belong to no
        record: reason, case_id, key (name of the image, where it is not a case) and detail.

    Raises:
        UserError: There is no such file or folder, it has no mask, or none belongs to a case.
    """
    if options.masks is None:
        return pl.DataFrame(schema=NO_REGIONS), pl.DataFrame(schema=_REJECTIONS)
    path = Path(options.masks).absolute()
    if path.is_dir():
        if options.mask_columns:
            raise UserError(f"`mask_columns` is for a table of masks; {path} is a folder")
        masks, by_image = _in_folder(path, sheet), True
    else:
        columns = chosen_columns(path, "mask_columns", options.mask_columns, MASKS, ("case", "file"))
        masks, by_image = _in_table(path, columns), names_images(columns["case"])
    matcher = Matcher(path, sheet, by_image=by_image)
    masks = matcher.matched(masks.with_columns(composed(pl.col("key"))))
    matcher.check()
    strangers = masks.filter(pl.col("case_id").is_null()).select(
        pl.lit("mask_without_case").alias("reason"),
        "key",
        pl.lit("of an image that is not in the table").alias("detail"),
    )
    order = cases.select("case_id", pl.int_range(pl.len()).alias("case"))
    masks = masks.join(order, on="case_id", maintain_order="left").sort("case", maintain_order=True)
    exists = pl.Series([Path(file).is_file() for file in masks["file"]], dtype=pl.Boolean)
    lost = masks.filter(~exists).select(
        pl.lit("unreadable_mask").alias("reason"),
        "case_id",
        pl.lit("there is no file where the table says").alias("detail"),
    )
    return masks.filter(exists).select(*NO_REGIONS), pl.concat([strangers, lost], how="diagonal")


def _in_table(path: Path, columns: Mapping[str, str]) -> pl.DataFrame:
    """Table of key, label and file of each record."""
    table = read_columns(path, tuple(dict.fromkeys(columns.values())), archive="a table of masks")
    for name in ("case", "file"):
        tell_first(table, path, columns[name], pl.col(columns[name]).is_null(), f"a {name} expected")
    if table.is_empty():
        note(f"{path.name} has no records: there are no masks in it")
    label = pl.lit(UNNAMED)
    if "name" in columns:
        given = pl.col(columns["name"])
        label = pl.when(~is_missing(given)).then(given).fill_null(UNNAMED)
    files = pl.Series([file_of(path.parent, file) for file in table[columns["file"]]], dtype=pl.String)
    return table.select(key=pl.col(columns["case"]), label=label, file=files)


def _in_folder(folder: Path, sheet: pl.DataFrame) -> pl.DataFrame:
    """Table of key, label and file of all pictures in a folder and its subfolders, except the images."""
    images = {str(Path(file).resolve()) for file in sheet["file"]}
    kinds = {stem(image) for image in sheet["image"]}, set(sheet["name"])
    inside = sorted([*folder.glob("*"), *folder.glob("*/*")])
    rows = []
    for file in in_utf8([each for each in inside if each.suffix.lower() in PICTURES and each.is_file()]):
        if str(file.resolve()) not in images:
            label = UNNAMED if file.parent == folder else file.parent.name
            rows.append((_key(file.name, kinds), label, str(file)))
    if not rows:
        raise UserError(f"{folder} has no mask: a PNG, JPEG or TIFF named as its image is expected")
    masks = pl.DataFrame(rows, schema={"key": pl.String, "label": pl.String, "file": pl.String}, orient="row")
    names = masks["label"].unique(maintain_order=True)
    say(f"{folder.name}: {len(masks)} masks, of {', '.join(f'“{name}”' for name in names)}")
    return masks


def _key(name: str, kinds: Sequence[Set[str]]) -> str:
    """The key of a mask by the name of its file: that with the ending, if there is such a key."""
    key = stem(name)
    shorter = next((key.removesuffix(end) for end in ENDINGS if key.endswith(end)), key)
    return next((each for keys in kinds for each in (key, shorter) if each in keys), shorter)


_REJECTIONS = dict.fromkeys(("reason", "case_id", "detail"), pl.String)
