"""Options of the source `table`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from radgaze.errors import UserError
from radgaze.options import Options, changed, option

NEEDS = {
    "fixations": ("fixation_columns", "fixation_frame", "fixation_units"),
    "boxes": ("box_columns", "box_frame", "box_shape"),
    "masks": ("mask_columns",),
}
"""Settings of a further file, by the setting that names it."""


@dataclass(frozen=True)
class TableOptions(Options):
    """Options of the source `table`.

    Attributes:
        table: CSV or Parquet file with a record for each image.
        images: Folder of the image files; without it the folder of the table.
        labels: Columns with 0 and 1, one for each class, or one column of class names; without it they are
            guessed.
        classes: Class names to use from one column of names, in this order; without it all names, sorted.
        multi_label: Treat classes as not exclusive: a case may have any number of them. Without it this is
            assumed only if a record has several.
        present: Values of label columns for cases that have the class, in addition to 1 and true.
        absent: Values of label columns for cases that do not have the class, in addition to 0 and false; ''
            for a blank.
        missing: Values of label columns for unknown labels, in addition to a blank and words such as nan and
            N/A.
        columns: Columns of image, patient, case (an id that is written to the store; without it cases are
            numbered), split, and twin_of, confounder, shows and original_shows (an image that differs from
            the named one in a confounder, see docs/sources.md); columns that are not given are guessed. KEY=
            means that there is no such column: with split= patients are split again.
        key: Private CSV file to write, outside the store, with the image of each id.
        fixations: CSV or Parquet file with case, x, y (image px from the top left, pixel centres at +0.5),
            onset, duration (s), reader. Onsets may be of any clock: those of a reading count from its first.
        fixation_columns: Columns of the fixations; others are guessed.
        fixation_frame: Size of the picture that x and y refer to, 1x1 for fractions; without it the size of
            the image.
        fixation_units: Units of onset and duration: s, ms or us; without it seconds.
        boxes: CSV or Parquet file with case, x1, y1, x2, y2 or x, y, width, height (image px), name; parts
            outside the image are cut off.
        box_columns: Columns of the boxes; others are guessed.
        box_frame: Size of the picture that boxes refer to, 1x1 for fractions; without it the size of the
            image.
        box_shape: Shape with these corners, a box or the ellipse in it.
        masks: Files that mark parts of the images pixel by pixel: a CSV or Parquet file with case, file,
            name; or a folder of files named like the images, or with a subfolder of such files for each name.
        mask_columns: Columns of the table of masks; others are guessed.
        without_gaze: Whether cases without a fixation on the image are kept or dropped.
        seed: Seed of the split if the table has none.
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

    def __post_init__(self) -> None:
        super().__post_init__()
        for needed, names in NEEDS.items():
            if getattr(self, needed) is None and (unused := changed(self, names)):
                raise UserError(f"`{unused[0]}` needs `{needed}`, the file that it is about")
