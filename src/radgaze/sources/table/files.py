"""A table of labels, of fixations and of boxes, whatever their columns are called, under names of our own."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import polars as pl

from radgaze.console import say
from radgaze.errors import UserError
from radgaze.sources.cohort import SPLITS
from radgaze.sources.delimited import (
    column_names,
    is_missing,
    numbers,
    place,
    read_columns,
    read_parts,
    tell_first,
)
from radgaze.sources.keys import alike, called, composed, respelled
from radgaze.sources.table.classes import WORDS, Words, class_lists, named, once, said
from radgaze.sources.table.ids import numbered
from radgaze.sources.table.units import Fractions, Times, units_of

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
LABEL = (
    *("label", "labels", "class", "classes", "class_name", "diagnosis", "finding", "findings"),
    *("finding_label", "finding_labels", "target"),
)
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
    words: Words = WORDS,
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
        words: What flags say.
        multi_label: A case may have several classes, or none; else so where a record has several.
    """
    once("--labels", labels)
    once("--classes", classes)
    found = chosen_columns(path, "--columns", columns, CASES, needed=("image",))
    if "patient" not in found and "patient=" not in columns:
        raise UserError(
            f"{path}: no column tells the patient; name it with --columns patient=COLUMN, or give "
            "--columns patient= if no patient has two images"
        )
    labels = [called(name) for name in labels] or _guessed_labels(
        path, taken=set(found.values()), words=words, multi_label=multi_label
    )
    wanted = list(dict.fromkeys([*found.values(), *labels]))
    read = read_columns(path, wanted, archive="a table of labels")
    if read.is_empty():
        raise UserError(f"{path} has no records")
    tell_first(read, path, found["image"], pl.col(found["image"]).is_null(), "an image file expected")
    of_class, names, exclusive = class_lists(
        read, path, labels, classes, words=words, multi_label=multi_label
    )
    image = pl.col(found["image"])
    name = pl.col(found["case"]) if "case" in found else image.map_elements(stem, pl.String)
    if "case" in found:
        tell_first(read, path, found["case"], name.is_null() | is_missing(name), "an id expected")
    patient = image if "patient" not in found else pl.col(found["patient"])
    if "patient" in found:
        tell_first(
            read, path, found["patient"], patient.is_null() | is_missing(patient), "a patient expected"
        )
        _tell_patients_alike(read, path, found["patient"])
    table = read.select("line", name=composed(name), image=image, patient_id=composed(patient)).with_columns(
        of_class
    )
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


def read_fixations(
    path: Path, columns: Sequence[str], units: Sequence[str] = (), *, framed: bool = False
) -> Iterator[pl.DataFrame]:
    """Fixations in the file's order, part after part: key (what names the case), reader (or null), x, y (null
    where blank), onset, duration (s).

    Args:
        path: CSV or Parquet.
        columns: KEY=COLUMN where names do not tell.
        units: KEY=UNIT of onset and duration where these are not seconds, see `units_of`.
        framed: Whether the picture that positions refer to is given, and they may be fractions of it.

    Raises:
        UserError: A missing file or column, a value that is none; and, at the end, positions or times that
            cannot be in pixels or seconds.
    """
    seconds = units_of(units, "--fixation-units")
    times, fractions, records = Times(seconds), Fractions(), 0
    needed = ("case", "x", "y", "onset", "duration")
    found = chosen_columns(path, "--fixation-columns", columns, FIXATIONS, needed)
    reader = pl.col(found["reader"]) if "reader" in found else pl.lit(None, pl.String)
    own = {name: pl.col(found[name]) for name in needed[1:]}
    for part in read_parts(path, tuple(dict.fromkeys(found.values())), archive="a table of fixations"):
        tell_first(part, path, found["case"], pl.col(found["case"]).is_null(), "a case expected")
        read = numbers(part, path, (found["onset"], found["duration"]))
        read = numbers(read, path, (found["x"], found["y"]), blank=True)
        tell_first(read, path, found["duration"], pl.col(found["duration"]) < 0, "a duration expected")
        named = {"key": composed(pl.col(found["case"])), "reader": pl.when(~is_missing(reader)).then(reader)}
        read = read.select(**named, **own)
        # Not where it is 1: a product with it may be another number to the last bit.
        read = read.with_columns(pl.col(key) * by for key, by in seconds.items() if by != 1)
        times.look(read)
        fractions.look(read, far=("x", "y"))
        records += len(read)
        yield read
    if not records:
        say(f"{path.name} has no records: there is no gaze in it")
    times.judge(path, "--fixation-units")
    if not framed:
        fractions.judge(path, "--fixation-frame")


def read_boxes(path: Path, columns: Sequence[str], *, framed: bool = False) -> Iterator[pl.DataFrame]:
    """Boxes in the file's order, part after part: key, label ("box" where there is no name), x1, y1, x2, y2,
    line. Records without any side, as of images without a finding, are none, as a notice tells.

    Args:
        path: CSV or Parquet.
        columns: KEY=COLUMN where names do not tell.
        framed: Whether the picture that positions refer to is given, and they may be fractions of it.
    """
    fractions, records, blank = Fractions(), 0, 0
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
    label = pl.lit("box")
    if "name" in found:
        label = pl.when(~is_missing(pl.col(found["name"]))).then(pl.col(found["name"])).fill_null("box")
    none = pl.all_horizontal(pl.col(name).is_null() | is_missing(pl.col(name)) for name in own)
    key = pl.col(found["case"])
    for part in read_parts(path, wanted, archive="a table of boxes"):
        tell_first(part, path, found["case"], key.is_null(), "a case expected")
        records, blank = records + len(part), blank + len(part.filter(none))
        read = numbers(part.filter(~none), path, own)
        x, y, second_x, second_y = (pl.col(name) for name in own)
        if sides is corners:
            tell_first(read, path, own[2], second_x <= x, f"more than {own[0]} expected")
            tell_first(read, path, own[3], second_y <= y, f"more than {own[1]} expected")
        else:
            for name in own[2:]:
                tell_first(read, path, name, pl.col(name) <= 0, "more than 0 expected")
            second_x, second_y = x + second_x, y + second_y
        read = read.select("line", key=composed(key), label=label, x1=x, y1=y, x2=second_x, y2=second_y)
        fractions.look(read, far=("x1", "y1", "x2", "y2"))
        yield read
    if blank:
        say(f"{path.name}: {blank:,} of {records:,} records have blanks for all sides, and are no boxes")
    elif not records:
        say(f"{path.name} has no records: there are no boxes in it")
    if not framed:
        fractions.judge(path, "--box-frame")


def chosen_columns(
    path: Path, option: str, given: Sequence[str], known: Mapping[str, Sequence[str]], needed: Sequence[str]
) -> dict[str, str]:
    """Which column is which: as given (KEY=COLUMN), else by its name, with a notice of what was guessed."""
    names = column_names(path)
    given = [called(word) for word in given]
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
    known = cases_by_key(sheet)
    read = read.with_columns(composed(pl.col("key")))
    if own := respelled(read["key"], known):
        tell_respelled(path, int(read["key"].is_in(list(own)).sum()))
        read = read.with_columns(pl.col("key").replace(own))
    named = read.join(known, on="key", how="left", maintain_order="left")
    if len(named) and named["case_id"].null_count() == len(named):
        raise nothing_belongs(path, named["key"][0], sheet)
    return named


def cases_by_key(sheet: pl.DataFrame) -> pl.DataFrame:
    """key and case_id: what the table calls a case, its image as the table has it, or that file's name with
    or without its extension; where two records have one, it is that of the first.
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


def tell_respelled(path: Path, records: int) -> None:
    say(
        f"{path.name}: {records:,} records write their case with another letter case or other spaces than "
        "the table and are taken for its"
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
    ways = [image, *(unicodedata.normalize(form, slashed) for form in ("NFC", "NFD")), slashed]
    return str(next((path for way in ways if (path := folder / way).is_file()), folder / slashed))


def stem(image: str) -> str:
    """The name of an image file without folder and extension."""
    name = PurePosixPath(image.replace("\\", "/")).name
    return name.rpartition(".")[0] or name


def _guessed_labels(path: Path, taken: set[str], *, words: Words, multi_label: bool) -> list[str]:
    names = [name for name in column_names(path) if name not in taken and name != "line"]
    named = [name for name in names if _plain(name) in map(_plain, LABEL)]
    if len(named) == 1:
        say(f"{path.name}: classes are named in column “{named[0]}”")
        return named
    read = read_columns(path, names, archive="a table of labels") if names else pl.DataFrame()
    says = {
        name: {words.get(key, key) for key in set(said(read, [name]).to_series()) - {""}} for name in names
    }
    flags = [name for name, own in says.items() if own - {None} == {0, 1}]
    # Flags that exclude each other are classes; others may be anything, if nobody says so.
    ones = [key for key, of in words.items() if of == 1]
    most = (
        said(read, flags).select(pl.sum_horizontal(pl.all().is_in(ones)).max()).item()
        if len(flags) > 1
        else 0
    )
    if most == 1 or (most and multi_label):
        say(f"{path.name}: a class each is in the columns {', '.join(f'“{name}”' for name in flags)}")
        return flags
    raise UserError(
        f"{path}: which columns are the labels? Name them with --labels: one with 0 and 1 for each class, or "
        f"one of class names; there are {', '.join(names)}"
    )


def _tell_patients_alike(read: pl.DataFrame, path: Path, column: str) -> None:
    """Tell of patients whose names are alike; they may be one, who must not be in two parts."""
    patients = read.select("line", own=composed(pl.col(column))).unique("own", maintain_order=True)
    twins = patients.with_columns(plain=alike(pl.col("own"))).filter(pl.col("plain").is_duplicated())
    if len(twins):
        lines = twins.sort("plain", maintain_order=True)["line"].to_list()
        say(
            f"{path.name}: {len(twins)} patients are written as another but for letter case or spaces, as in "
            f"{place(path)}s {lines[0]} and {lines[1]}; they are kept apart: write them alike if they are one"
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
