"""Options of the source `table`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from radgaze.options import Options, option


@dataclass(frozen=True)
class TableOptions(Options):
    """How a table of images and labels is read.

    Attributes:
        table: CSV or Parquet file with a record for each image.
        images: Folder in which image files are looked for; without it the table's own.
        labels: Columns with 0 and 1, one for each class, or one column of class names; without it guessed.
        classes: Class names to take from one column of names, in this order; without it all, sorted.
        multi_label: Classes do not exclude each other: a case may have several of them, or none. Without it
            that is so only where a record has several.
        present: Values of label columns that say that the case has the class, beside 1 and true.
        absent: Values of label columns that say that it does not, beside 0 and false; '' for a blank.
        missing: Values of label columns that say nothing, beside a blank and words such as nan and N/A.
        columns: Columns that are image, patient, case (an id that the store keeps; without it cases are
            numbered) or split; others are guessed. KEY= for none: split= has patients split again.
        key: CSV file to write, private and no part of the store, that says which id is which image.
        fixations: CSV or Parquet file with case, x, y (image px from the top left, pixel centres at +0.5),
            onset, duration (s), reader.
        fixation_columns: Columns of the fixations; others are guessed.
        fixation_frame: Size of the picture that x and y refer to, 1x1 for fractions; without it the image's
            own.
        fixation_units: Unit of onset and duration, of s, ms and us; without it seconds.
        boxes: CSV or Parquet file with case, x1, y1, x2, y2 or x, y, width, height (image px), name; parts
            off the image are cut away.
        box_columns: Columns of the boxes; others are guessed.
        box_frame: Size of the picture that boxes refer to, 1x1 for fractions; without it the image's own.
        box_shape: Shape with these corners, a box or the ellipse in it.
        masks: Files that mark parts of the images pixel by pixel: a CSV or Parquet file with case, file,
            name; or a folder of files named as the images, or with such a subfolder for each name.
        mask_columns: Columns of the table of masks; others are guessed.
        without_gaze: Whether cases without a fixation on the image are kept or dropped.
        seed: Seed of the split where the table has none.
    """

    table: str | Path = option(metavar="FILE")
    images: str | Path | None = option(None, metavar="DIR")
    labels: Sequence[str] = option((), metavar="COLUMN")
    classes: Sequence[str] = option((), metavar="NAME")
    multi_label: bool = False
    present: Sequence[str] = option((), metavar="VALUE")
    absent: Sequence[str] = option((), metavar="VALUE")
    missing: Sequence[str] = option((), metavar="VALUE")
    columns: Sequence[str] = option((), metavar="KEY=COLUMN")
    key: str | Path | None = option(None, metavar="FILE")
    fixations: str | Path | None = option(None, metavar="FILE")
    fixation_columns: Sequence[str] = option((), metavar="KEY=COLUMN")
    fixation_frame: str | None = option(None, metavar="WxH")
    fixation_units: Sequence[str] = option((), metavar="KEY=UNIT")
    boxes: str | Path | None = option(None, metavar="FILE")
    box_columns: Sequence[str] = option((), metavar="KEY=COLUMN")
    box_frame: str | None = option(None, metavar="WxH")
    box_shape: Literal["box", "ellipse"] = "box"
    masks: str | Path | None = option(None, metavar="PATH")
    mask_columns: Sequence[str] = option((), metavar="KEY=COLUMN")
    without_gaze: Literal["keep", "drop"] = "keep"
    seed: int = 42
