"""Boxes and ellipses of a table, in pixels of the images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from radgaze.console import note
from radgaze.errors import UserError
from radgaze.sources.contents import NO_BOXES
from radgaze.sources.delimited import is_missing, numbers, read_parts, tell_first
from radgaze.sources.keys import composed
from radgaze.sources.sizes import image_sizes
from radgaze.sources.streaming import LINE
from radgaze.sources.table.columns import BOXES, chosen_columns, names_images
from radgaze.sources.table.matching import Matcher
from radgaze.sources.table.options import TableOptions
from radgaze.sources.table.units import Fractions, frame_of, scaled

CORNERS, SIZED = ("x1", "y1", "x2", "y2"), ("x", "y", "width", "height")
"""The two alternative sets of columns that describe a box."""


def boxes_of(
    options: TableOptions, sheet: pl.DataFrame, cases: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Read the boxes of cases, clipped to the images; ellipses are not clipped, to keep their shape.

    Args:
        options: File of the boxes, None for no boxes, and the settings of its reading.
        sheet: Table of case_id, name and image (as in the table) of all records.
        cases: Table of case_id and image (a path) of the accepted cases.

    Returns:
        `Cohort.boxes`; and rejections of boxes that are off the image or belong to no record.

    Raises:
        UserError: A file or column is missing, a value is malformed, or no box belongs to a record.
    """
    frame = frame_of(options.box_frame, "box_frame")
    if options.boxes is None:
        return pl.DataFrame(schema=NO_BOXES), pl.DataFrame(schema=_REJECTIONS)
    path, shape = Path(options.boxes), options.box_shape
    columns = chosen_columns(path, "box_columns", options.box_columns, BOXES, ("case",))
    matcher = Matcher(path, sheet, by_image=names_images(columns["case"]))
    records = matcher.matched(pl.concat(read_boxes(path, columns, framed=frame is not None)))
    matcher.check()
    marked = cases.with_row_index("case").join(records, on="case_id", how="semi", maintain_order="left")
    sizes = marked.select("case_id", "case").join(image_sizes(marked), on="case_id", maintain_order="left")
    boxes = records.join(sizes, on="case_id", maintain_order="left")
    boxes = scaled(boxes, frame, ("x1", "x2"), ("y1", "y2")).sort("case", maintain_order=True)
    cut = {name: pl.col(name).clip(0, pl.col("columns")) for name in ("x1", "x2")}
    cut |= {name: pl.col(name).clip(0, pl.col("rows")) for name in ("y1", "y2")}
    boxes = boxes.with_columns(seen=(cut["x2"] > cut["x1"]) & (cut["y2"] > cut["y1"]))
    added = {"shape": pl.lit(shape)} if shape == "ellipse" else cut
    boxes = boxes.with_columns(**added)
    lost = boxes.filter(~pl.col("seen")).select(
        pl.lit("off_image_box").alias("reason"), "case_id", pl.format("record {}", LINE).alias("detail")
    )
    strangers = records.filter(pl.col("case_id").is_null()).select(
        pl.lit("box_without_case").alias("reason"),
        "key",
        pl.format("record {}, of an image that is not in the table", LINE).alias("detail"),
    )
    names = [*NO_BOXES, *(["shape"] if shape == "ellipse" else [])]
    return boxes.filter("seen").select(names), pl.concat([lost, strangers], how="diagonal")


def read_boxes(path: Path, columns: Mapping[str, str], *, framed: bool = False) -> Iterator[pl.DataFrame]:
    """Read boxes in parts, in the order of the file.

    Records in which all sides are blank, as for images without a finding, are left out, and are reported.

    Args:
        path: CSV or Parquet file.
        columns: Column of each key of `BOXES` that has one.
        framed: Whether the size of the picture to which positions refer is given, so that positions may be
            fractions.

    Yields:
        Table of key (name of the case), label ("box" where there is no name), x1, y1, x2, y2 and `LINE`.

    Raises:
        UserError: A file or column is missing, or a value is malformed; at the end, positions cannot be in
            pixels.
    """
    fractions, records, blank = Fractions(), 0, 0
    sides = next((names for names in (CORNERS, SIZED) if all(name in columns for name in names)), None)
    if sides is None:
        present = [columns[name] for name in (*CORNERS, *SIZED) if name in columns]
        raise UserError(
            f"{path}: a box is x1, y1, x2, y2 or x, y, width, height; found are "
            f"{', '.join(present) or 'none of them'}: name the columns with `box_columns=x1=COLUMN` …"
        )
    names = [columns[name] for name in sides]
    label = pl.lit("box")
    if "name" in columns:
        given_name = pl.col(columns["name"])
        label = pl.when(~is_missing(given_name)).then(given_name).fill_null("box")
    none = pl.all_horizontal(pl.col(name).is_null() | is_missing(pl.col(name)) for name in names)
    key = pl.col(columns["case"])
    needed = dict.fromkeys([columns["case"], *names, *([columns["name"]] if "name" in columns else [])])
    for part in read_parts(path, tuple(needed), archive="a table of boxes"):
        tell_first(part, path, columns["case"], key.is_null(), "a case expected")
        records, blank = records + len(part), blank + len(part.filter(none))
        boxes = numbers(part.filter(~none), path, names)
        x, y, second_x, second_y = (pl.col(name) for name in names)
        if sides is CORNERS:
            tell_first(boxes, path, names[2], second_x <= x, f"more than {names[0]} expected")
            tell_first(boxes, path, names[3], second_y <= y, f"more than {names[1]} expected")
        else:
            for name in names[2:]:
                tell_first(boxes, path, name, pl.col(name) <= 0, "more than 0 expected")
            second_x, second_y = x + second_x, y + second_y
        boxes = boxes.select(LINE, key=composed(key), label=label, x1=x, y1=y, x2=second_x, y2=second_y)
        fractions.add(boxes, columns=CORNERS)
        yield boxes
    if blank:
        note(f"{path.name}: {blank:,} of {records:,} records have blanks for all sides, and are no boxes")
    elif not records:
        note(f"{path.name} has no records: there are no boxes in it")
    if not framed:
        fractions.check(path, "box_frame")


_REJECTIONS = dict.fromkeys(("reason", "case_id", "detail"), pl.String)
