"""Assignment of a table's columns, as given or guessed by their names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from radgaze.console import note
from radgaze.errors import UserError
from radgaze.sources.delimited import column_names
from radgaze.sources.keys import called
from radgaze.words import listed

IMAGE = ("image", "image_path", "path", "file", "filename", "image_file", "image_index", "image_id")
PATIENT = ("patient", "patient_id", "subject", "subject_id", "patient_key")
CASE = ("case", "case_id")
TWIN = ("twin_of", "confounder", "shows", "original_shows")
CASES = {
    "image": IMAGE,
    "patient": PATIENT,
    "case": CASE,
    "split": ("split", "subset", "partition"),
    **{name: (name,) for name in TWIN},
}
FIXATIONS = {
    "case": (*CASE, *IMAGE, "dicom_id"),
    "x": ("x", "x_position", "fixation_x"),
    "y": ("y", "y_position", "fixation_y"),
    "onset": ("onset", "start", "timestamp_start_fixation", "time"),
    "duration": ("duration", "fixation_duration"),
    "reader": ("reader", "reader_id", "radiologist", "subject"),
}
BOXES = {
    "case": (*CASE, *IMAGE, "dicom_id"),
    "x1": ("x1", "xmin", "x_min", "left"),
    "y1": ("y1", "ymin", "y_min", "top"),
    "x2": ("x2", "xmax", "x_max", "right"),
    "y2": ("y2", "ymax", "y_max", "bottom"),
    "x": ("x",),
    "y": ("y",),
    "width": ("width", "w"),
    "height": ("height", "h"),
    "name": ("name", "label", "bbox_name", "finding", "finding_label", "class", "class_name"),
}
LABEL = (
    *("label", "labels", "class", "classes", "class_name", "diagnosis", "finding", "findings"),
    *("finding_label", "finding_labels", "target"),
)
"""Usual names of columns, by which they are guessed."""
MASKS = {
    "case": (*CASE, "image", "image_path", "image_file", "image_index", "image_id", "dicom_id"),
    "file": ("mask", "mask_path", "mask_file", "file", "filename", "path"),
    "name": ("name", "label", "finding", "finding_label", "class", "class_name"),
}


def chosen_columns(
    path: Path, option: str, given: Sequence[str], keys: Mapping[str, Sequence[str]], needed: Sequence[str]
) -> dict[str, str]:
    """Determine the column of each key, as given or guessed by its name, and report guessed ones.

    Args:
        path: CSV or Parquet file.
        option: Name of the setting of `given`, for messages.
        given: Columns as KEY=COLUMN; KEY= for a key without a column.
        keys: Usual names of the column of each key.
        needed: Keys that must have a column.

    Raises:
        UserError: There is no such key or column, or a needed key has no column.
    """
    names = column_names(path)
    columns: dict[str, str] = {}
    denied = set()
    for word in map(called, given):
        key, equals, column = word.partition("=")
        if key not in keys or not equals:
            raise UserError(f"`{option}={word}` must be KEY=COLUMN, with a KEY of {', '.join(keys)}")
        if not column:
            denied.add(key)
        elif column not in names:
            raise UserError(f"`{option}={word}`: {path} has no such column; it has {', '.join(names)}")
        else:
            columns[key] = column
    by_name = {plain(name): name for name in reversed(names)}
    guessed = {
        key: match
        for key, likely in keys.items()
        if key not in columns and key not in denied
        if (match := next((by_name[plain(n)] for n in likely if plain(n) in by_name), None)) is not None
    }
    if guessed:
        note(f"{path.name}: " + ", ".join(f"{key} is column “{name}”" for key, name in guessed.items()))
    missing = [key for key in needed if key not in columns and key not in guessed]
    if missing:
        it, flags = ("it", "") if len(missing) == 1 else ("each", " …")
        raise UserError(
            f"{path}: which column is the {listed(missing)}? Name {it} with "
            f"`{option}={missing[0]}=COLUMN`{flags}; there are {', '.join(names)}"
        )
    return columns | guessed


def names_images(column: str) -> bool:
    """Return whether a column by its name holds images rather than ids."""
    return plain(column) in map(plain, IMAGE)


def plain(name: str) -> str:
    """Normalise the name of a column: in lower case, without spaces and punctuation."""
    return re.sub(r"[\W_]+", "", name).casefold()
