"""The cases of a table of labels: image, patient, split and classes of each record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from radgaze.console import note
from radgaze.errors import UserError
from radgaze.sources.contents import SPLITS
from radgaze.sources.delimited import column_names, is_missing, place, read_columns, tell_first
from radgaze.sources.keys import alike, called, composed
from radgaze.sources.streaming import LINE
from radgaze.sources.table.classes import Classes, Words, classes_of, refuse_repeats, said, words_of
from radgaze.sources.table.columns import CASES, LABEL, chosen_columns, plain
from radgaze.sources.table.ids import numbered
from radgaze.sources.table.matching import stem
from radgaze.sources.table.options import TableOptions
from radgaze.sources.table.twins import divided, twins_of

SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validate", "validation", "valid", "val", "dev"), "validate"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Words for a split, in lower case, and its name."""


@dataclass(frozen=True)
class Sheet:
    """A table of labels.

    Attributes:
        records: Table with a row for each record, in the order of the file: case_id, name (id in the table,
            or name of the image file without extension), image (as in the table), patient (a key counted from
            0), split (or null), classes (a list, or null where they are unknown) and line.
        names: Names of all classes.
        exclusive: Whether each case has exactly one class.
        twins: Table of the records that are twins, see `twins_of`.
    """

    records: pl.DataFrame
    names: tuple[str, ...]
    exclusive: bool
    twins: pl.DataFrame


def read_cases(path: Path, options: TableOptions) -> Sheet:
    """Read the table of labels. Without a column of ids, cases get numbered ids.

    Args:
        path: CSV or Parquet file.
        options: Columns, labels and classes.

    Raises:
        UserError: A column or value is missing, two records contradict each other, or a patient is in two
            splits.
    """
    refuse_repeats("labels", options.labels)
    refuse_repeats("classes", options.classes)
    words = words_of(options.present, options.absent, options.missing)
    columns = chosen_columns(path, "columns", options.columns, CASES, needed=("image",))
    if "patient" not in columns and "patient=" not in options.columns:
        raise UserError(
            f"{path}: no column tells the patient; name it with `columns=patient=COLUMN`, or give "
            "`columns=patient=` if no patient has two images"
        )
    labels = [called(name) for name in options.labels] or _guessed_labels(
        path, taken=set(columns.values()), words=words, multi_label=options.multi_label
    )
    table = read_columns(path, list(dict.fromkeys([*columns.values(), *labels])), archive="a table of labels")
    if table.is_empty():
        raise UserError(f"{path} has no records")
    tell_first(table, path, columns["image"], pl.col(columns["image"]).is_null(), "an image file expected")
    table, twins = divided(table, columns)
    classes = classes_of(table, path, labels, options.classes, words=words, multi_label=options.multi_label)
    records = _records(table, path, columns, classes)
    _check_repeated(records, path)
    if "split" in columns:
        _check_patients_stay(records, path)
    of_twins = twins_of(twins, records, path, columns, classes.names)
    return Sheet(records.drop("patient_id"), classes.names, classes.exclusive, of_twins)


def _records(table: pl.DataFrame, path: Path, columns: dict[str, str], classes: Classes) -> pl.DataFrame:
    """`Sheet.records`, and patient_id (as in the table)."""
    image = pl.col(columns["image"])
    name, patient = image.map_elements(stem, pl.String), image
    if "case" in columns:
        name = pl.col(columns["case"])
        tell_first(table, path, columns["case"], name.is_null() | is_missing(name), "an id expected")
    if "patient" in columns:
        patient = pl.col(columns["patient"])
        bad = patient.is_null() | is_missing(patient)
        tell_first(table, path, columns["patient"], bad, "a patient expected")
        _say_patients_alike(table, path, columns["patient"])
    records = table.select(line=LINE, name=composed(name), image=image, patient_id=composed(patient))
    records = records.with_columns(classes.of_records)
    case_id = records["name"] if "case" in columns else numbered(records["name"], "case")
    records = records.with_columns(case_id.alias("case_id"))
    keys = records.select(pl.col("patient_id").unique(maintain_order=True)).with_row_index("patient")
    return records.join(keys, on="patient_id", how="left", maintain_order="left").with_columns(
        pl.col("patient").cast(pl.Int32), _splits(table, path, columns.get("split")).alias("split")
    )


def _guessed_labels(path: Path, taken: set[str], *, words: Words, multi_label: bool) -> list[str]:
    """The columns of labels: one with a usual name, or those with 0 and 1 that look like classes."""
    names = [name for name in column_names(path) if name not in taken]
    usual = [name for name in names if plain(name) in map(plain, LABEL)]
    if len(usual) == 1:
        note(f"{path.name}: classes are named in column “{usual[0]}”")
        return usual
    table = read_columns(path, names, archive="a table of labels") if names else pl.DataFrame()
    meanings = {
        name: {words.get(key, key) for key in set(said(table, [name]).to_series()) - {""}} for name in names
    }
    flags = [name for name, values in meanings.items() if values - {None} == {0, 1}]
    # Flags that are exclusive are classes; others may mean anything, unless the user states that they are.
    ones = [key for key, meaning in words.items() if meaning == 1]
    most = (
        said(table, flags).select(pl.sum_horizontal(pl.all().is_in(ones)).max()).item()
        if len(flags) > 1
        else 0
    )
    if most == 1 or (most and multi_label):
        note(f"{path.name}: a class each is in the columns {', '.join(f'“{name}”' for name in flags)}")
        return flags
    raise UserError(
        f"{path}: which columns are the labels? Name them with `labels`: one with 0 and 1 for each class, or "
        f"one of class names; there are {', '.join(names)}"
    )


def _say_patients_alike(table: pl.DataFrame, path: Path, column: str) -> None:
    """Report patients whose names are alike: if they are one patient, two splits may share that patient."""
    patients = table.select(line=LINE, name=composed(pl.col(column))).unique("name", maintain_order=True)
    twins = patients.with_columns(plain=alike(pl.col("name"))).filter(pl.col("plain").is_duplicated())
    if len(twins):
        lines = twins.sort("plain", maintain_order=True)["line"].to_list()
        note(
            f"{path.name}: {len(twins)} patients are written as another but for letter case or spaces, as in "
            f"{place(path)}s {lines[0]} and {lines[1]}; they are kept apart: write them alike if they are one"
        )


def _splits(table: pl.DataFrame, path: Path, column: str | None) -> pl.Series:
    if column is None:
        return pl.Series([None] * len(table), dtype=pl.String)
    word = pl.col(column).str.to_lowercase()
    valid = word.is_in(list(SPLIT_WORDS)).fill_null(False)
    tell_first(table, path, column, ~valid, f"{', '.join(SPLITS)} expected")
    return table.select(word.replace_strict(SPLIT_WORDS, return_dtype=pl.String)).to_series()


def _check_repeated(records: pl.DataFrame, path: Path) -> None:
    """Raise UserError where two images have the same id, or an image has different classes."""
    first: dict[str, tuple[int, str, list[str] | None]] = {}
    repeated = records.filter(pl.col("name").is_duplicated())
    for line, case, image, classes in repeated.select("line", "name", "image", "classes").iter_rows():
        first_line, first_image, first_classes = first.setdefault(case, (line, image, classes))
        where = f"{path}, {place(path)}s {first_line} and {line}"
        if image != first_image:
            raise UserError(
                f"{where}: two images would be the case {case!r}; name a column of ids with "
                "`columns=case=COLUMN`"
            )
        if classes is not None and first_classes is not None and classes != first_classes:
            raise UserError(
                f"{where}: the case {case!r} is {_in_words(first_classes)} and {_in_words(classes)}; give "
                "several classes of a case in one record: in columns with 0 and 1, or as names with | "
                "between them"
            )


def _in_words(classes: list[str]) -> str:
    return " and ".join(classes) or "none of the classes"


def _check_patients_stay(records: pl.DataFrame, path: Path) -> None:
    """Raise UserError where a patient is in several splits."""
    first: dict[str, tuple[int, str]] = {}
    several = records.filter(pl.col("split").n_unique().over("patient_id") > 1)
    for line, patient, split in several.select("line", "patient_id", "split").iter_rows():
        first_line, first_split = first.setdefault(patient, (line, split))
        if split != first_split:
            raise UserError(
                f"{path}, {place(path)}s {first_line} and {line}: one patient is in {first_split} and in "
                f"{split}; `columns=split=` has patients split again"
            )
