"""A table of labels, of fixations and of boxes, whatever their columns are called, under names of our own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import polars as pl

from radgaze.console import say
from radgaze.errors import UserError
from radgaze.sources.cohort import SPLITS
from radgaze.sources.delimited import column_names, numbers, place, read_columns, read_parts, tell_first
from radgaze.sources.table_classes import class_lists, named
from radgaze.sources.table_ids import numbered

IMAGE = ("image", "image_path", "path", "file", "filename", "image_file", "image_index", "image_id")
PATIENT = ("patient", "patient_id", "subject", "subject_id", "patient_key")
CASE = ("case", "case_id")
CASES = {"image": IMAGE, "patient": PATIENT, "case": CASE, "split": ("split", "subset", "partition")}
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
LABEL = ("label", "class", "diagnosis", "finding", "target")
"""What columns are called that need not be named."""

SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validate", "validation", "valid", "val", "dev"), "validate"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def read_cases(
    path: Path,
    columns: Sequence[str],
    labels: Sequence[str],
    classes: Sequence[str],
    *,
    multi_label: bool = False,
) -> tuple[pl.DataFrame, tuple[str, ...], bool]:
    """The table of labels in the file's order, what there is of classes, and whether they exclude each other.

    Its columns are case_id, name (what the table calls the case: its id, or the image file's name without
    extension), image (as it stands there), patient (a key counted from 0), split (or null), classes (a list,
    or null where they are not known) and line. Without a column of ids, case_id is one of our own.

    Args:
        path: CSV or Parquet.
        columns: KEY=COLUMN for keys of `CASES`; the others are guessed. KEY= for one that is not there.
        labels: A column with 0 and 1 for each class, or one column of class names; guessed if empty.
        classes: Of a column of class names those to take, in this order; if empty all, sorted.
        multi_label: A case may have several classes, or none; else so where a record has several.
    """
    found = chosen_columns(path, "--columns", columns, CASES, needed=("image",))
    if "patient" not in found and "patient=" not in columns:
        raise UserError(
            f"{path}: no column tells the patient; name it with --columns patient=COLUMN, or give "
            "--columns patient= if no patient has two images"
        )
    labels = labels or _guessed_labels(path, taken=set(found.values()), multi_label=multi_label)
    wanted = list(dict.fromkeys([*found.values(), *labels]))
    read = read_columns(path, wanted, archive="a table of labels")
    if read.is_empty():
        raise UserError(f"{path} has no records")
    tell_first(read, path, found["image"], pl.col(found["image"]).is_null(), "an image file expected")
    of_class, names, exclusive = class_lists(read, path, labels, classes, multi_label=multi_label)
    image = pl.col(found["image"])
    name = pl.col(found["case"]) if "case" in found else image.map_elements(stem, pl.String)
    if "case" in found:
        tell_first(read, path, found["case"], pl.col(found["case"]).is_null(), "an id expected")
    patient = image if "patient" not in found else pl.col(found["patient"])
    if "patient" in found:
        tell_first(read, path, found["patient"], patient.is_null(), "a patient expected")
    table = read.select("line", name=name, image=image, patient_id=patient).with_columns(of_class)
    own = table["name"] if "case" in found else numbered(table["name"], "case")
    table = table.with_columns(own.alias("case_id"))
    keys = table.select(pl.col("patient_id").unique(maintain_order=True)).with_row_index("patient")
    table = table.join(keys, on="patient_id", how="left", maintain_order="left").with_columns(
        pl.col("patient").cast(pl.Int32), _splits(read, path, found.get("split")).alias("split")
    )
    _check_repeated(table, path)
    if "split" in found:
        _check_patients_stay(table, path)
    return table.drop("patient_id"), names, exclusive


def read_fixations(path: Path, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Fixations in the file's order, part after part: key (what names the case), reader (or null), x, y (null
    where blank), onset, duration (s).
    """
    needed = ("case", "x", "y", "onset", "duration")
    found = chosen_columns(path, "--fixation-columns", columns, FIXATIONS, needed)
    reader = pl.col(found["reader"]) if "reader" in found else pl.lit(None, pl.String)
    own = {name: pl.col(found[name]) for name in needed[1:]}
    for part in read_parts(path, tuple(dict.fromkeys(found.values())), archive="a table of fixations"):
        tell_first(part, path, found["case"], pl.col(found["case"]).is_null(), "a case expected")
        read = numbers(part, path, (found["onset"], found["duration"]))
        read = numbers(read, path, (found["x"], found["y"]), blank=True)
        tell_first(read, path, found["duration"], pl.col(found["duration"]) < 0, "a duration expected")
        yield read.select(key=pl.col(found["case"]), reader=reader, **own)


def read_boxes(path: Path, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Boxes in the file's order, part after part: key, label ("box" where there is no name), x1, y1, x2, y2,
    line.
    """
    found = chosen_columns(path, "--box-columns", columns, BOXES, ("case",))
    corners, sized = (("x1", "y1", "x2", "y2"), ("x", "y", "width", "height"))
    sides = next((way for way in (corners, sized) if all(name in found for name in way)), None)
    if sides is None:
        raise UserError(
            f"{path}: a box is x1, y1, x2, y2 or x, y, width, height; found are "
            f"{', '.join(found[name] for name in (*corners, *sized) if name in found) or 'none of them'}: "
            "name the columns with --box-columns x1=COLUMN …"
        )
    own = [found[name] for name in sides]
    wanted = tuple(dict.fromkeys([found["case"], *own, *([found["name"]] if "name" in found else [])]))
    label = pl.col(found["name"]).fill_null("box") if "name" in found else pl.lit("box")
    key = pl.col(found["case"])
    for part in read_parts(path, wanted, archive="a table of boxes"):
        tell_first(part, path, found["case"], key.is_null(), "a case expected")
        read = numbers(part, path, own)
        x, y, second_x, second_y = (pl.col(name) for name in own)
        if sides is corners:
            tell_first(read, path, own[2], second_x <= x, f"more than {own[0]} expected")
            tell_first(read, path, own[3], second_y <= y, f"more than {own[1]} expected")
        else:
            for name in own[2:]:
                tell_first(read, path, name, pl.col(name) <= 0, "more than 0 expected")
            second_x, second_y = x + second_x, y + second_y
        yield read.select("line", key=key, label=label, x1=x, y1=y, x2=second_x, y2=second_y)


def chosen_columns(
    path: Path, option: str, given: Sequence[str], known: Mapping[str, Sequence[str]], needed: Sequence[str]
) -> dict[str, str]:
    """Which column is which: as given (KEY=COLUMN), else by its name, with a notice of what was guessed."""
    names = column_names(path)
    found: dict[str, str] = {}
    denied = set()
    for word in given:
        key, equals, column = word.partition("=")
        if key not in known or not equals:
            raise UserError(f"{option} {word}: KEY=COLUMN is expected, with a KEY of {', '.join(known)}")
        if not column:
            denied.add(key)
        elif column not in names:
            raise UserError(f"{option} {word}: {path} has no such column; it has {', '.join(names)}")
        else:
            found[key] = column
    by_name = {_plain(name): name for name in reversed(names)}
    guessed = {
        key: match
        for key, likely in known.items()
        if key not in found and key not in denied
        if (match := next((by_name[_plain(n)] for n in likely if _plain(n) in by_name), None)) is not None
    }
    if guessed:
        say(f"{path.name}: " + ", ".join(f"{key} is column “{name}”" for key, name in guessed.items()))
    missing = [key for key in needed if key not in found and key not in guessed]
    if missing:
        raise UserError(
            f"{path}: which column is the {missing[0]}? Name it with {option} {missing[0]}=COLUMN; "
            f"there are {', '.join(names)}"
        )
    return found | guessed


def of_cases(read: pl.DataFrame, sheet: pl.DataFrame, path: Path) -> pl.DataFrame:
    """With case_id by `key`, see `cases_by_key`; null where there is none."""
    named = read.join(cases_by_key(sheet), on="key", how="left", maintain_order="left")
    if len(named) and named["case_id"].null_count() == len(named):
        raise nothing_belongs(path, named["key"][0], sheet)
    return named


def cases_by_key(sheet: pl.DataFrame) -> pl.DataFrame:
    """key and case_id: what the table calls a case, its image as the table has it, or that file's name with or
    without its extension; where two records have one, it is that of the first.
    """
    image = pl.col("image")
    keys = (
        pl.col("name"),  # not case_id: an id of our own may be another file's name
        image,
        image.str.replace_all("\\", "/", literal=True).str.split("/").list.last(),
        image.map_elements(stem, pl.String),
    )
    row = pl.int_range(pl.len(), dtype=pl.UInt32)
    each = [sheet.select(key=key, place=len(keys) * row + k) for k, key in enumerate(keys)]
    # Sorting takes half the memory of grouping.
    first = pl.concat(each).sort("key", "place").filter(pl.col("key").ne_missing(pl.col("key").shift()))
    return first.select("key", case_id=sheet["case_id"].gather(first["place"] // len(keys)))


def nothing_belongs(path: Path, key: str, sheet: pl.DataFrame) -> UserError:
    """The error where no record belongs to a case."""
    return UserError(
        f"{path}: no record belongs to a case of the table; they are of {key!r} and so on, "
        f"the table's cases are {sheet['name'][0]!r} and so on"
    )


def stem(image: str) -> str:
    """The name of an image file without folder and extension."""
    name = PurePosixPath(image.replace("\\", "/")).name
    return name.rpartition(".")[0] or name


def _guessed_labels(path: Path, taken: set[str], *, multi_label: bool) -> list[str]:
    names = [name for name in column_names(path) if name not in taken and name != "line"]
    named = [name for name in names if _plain(name) in map(_plain, LABEL)]
    if len(named) == 1:
        say(f"{path.name}: classes are named in column “{named[0]}”")
        return named
    read = read_columns(path, names, archive="a table of labels") if names else pl.DataFrame()
    flags = [name for name in names if set(read[name].drop_nulls()) == {"0", "1"}]
    # Flags that exclude each other are classes; others may be anything, if nobody says so.
    most = read.select(pl.sum_horizontal(pl.col(flags) == "1").max()).item() if len(flags) > 1 else 0
    if most == 1 or (most and multi_label):
        say(f"{path.name}: a class each is in the columns {', '.join(f'“{name}”' for name in flags)}")
        return flags
    raise UserError(
        f"{path}: which columns are the labels? Name them with --labels: one with 0 and 1 for each class, or "
        f"one of class names; there are {', '.join(names)}"
    )


def _splits(read: pl.DataFrame, path: Path, column: str | None) -> pl.Series:
    if column is None:
        return pl.Series([None] * len(read), dtype=pl.String)
    word = pl.col(column).str.to_lowercase()
    known = word.is_in(list(SPLIT_WORDS)).fill_null(False)
    tell_first(read, path, column, ~known, f"{', '.join(SPLITS)} expected")
    return read.select(word.replace_strict(SPLIT_WORDS, return_dtype=pl.String)).to_series()


def _check_repeated(table: pl.DataFrame, path: Path) -> None:
    """Refuse two images under one id, and an image under two classes."""
    first: dict[str, tuple[int, str, list[str] | None]] = {}
    repeated = table.filter(pl.col("name").is_duplicated())
    for line, case, image, name in repeated.select("line", "name", "image", "classes").iter_rows():
        at, before, of = first.setdefault(case, (line, image, name))
        where = f"{path}, {place(path)}s {at} and {line}"
        if image != before:
            raise UserError(
                f"{where}: two images would be the case {case!r}; name a column of ids with "
                "--columns case=COLUMN"
            )
        if name is not None and of is not None and name != of:
            raise UserError(
                f"{where}: the case {case!r} is {named(of)} and {named(name)}; several classes of a case "
                "stand in one record: in columns with 0 and 1, or as names with | between them"
            )


def _check_patients_stay(table: pl.DataFrame, path: Path) -> None:
    first: dict[str, tuple[int, str]] = {}
    several = table.filter(pl.col("split").n_unique().over("patient_id") > 1)
    for line, patient, split in several.select("line", "patient_id", "split").iter_rows():
        at, before = first.setdefault(patient, (line, split))
        if split != before:
            raise UserError(
                f"{path}, {place(path)}s {at} and {line}: one patient stands in {before} and in {split}; "
                "--columns split= has patients split anew"
            )


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()
