"""The classes of a table's records: from columns with 0 and 1, or from one column of names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from radgaze.console import note
from radgaze.errors import UserError
from radgaze.sources.delimited import MISSING, place, tell_first
from radgaze.sources.keys import alike, called
from radgaze.sources.streaming import LINE

SEPARATOR = "|"
"""Separator of several classes in one column of names, as in ChestX-ray14 and REFLACX."""

Words = Mapping[str, int | None]
WORDS: Words = {"0": 0, "false": 0, "1": 1, "true": 1}
"""Values of a label column, in lower case, numbers in their shortest form; 1 where the class is present."""


@dataclass(frozen=True)
class Classes:
    """The classes of a table.

    Attributes:
        of_records: Series `classes`: a list of the classes of each record, null where they are unknown. For
            exclusive classes they are unknown where none is present; otherwise where the name, or any of the
            0s and 1s, is blank.
        names: Names of all classes.
        exclusive: Whether each record has exactly one class.
    """

    of_records: pl.Series
    names: tuple[str, ...]
    exclusive: bool


@dataclass(frozen=True)
class _Matrix:
    """Classes by record.

    Attributes:
        names: Names of all classes.
        present: A column of booleans for each class, in this order.
        is_known: Series of whether the classes of each record are known.
    """

    names: tuple[str, ...]
    present: pl.DataFrame
    is_known: pl.Series


def words_of(present: Sequence[str] = (), absent: Sequence[str] = (), missing: Sequence[str] = ()) -> Words:
    """Return `WORDS` with additional values.

    Args:
        present: Values for which a class is present.
        absent: Values for which a class is absent; "" for a blank.
        missing: Values for which it is unknown, which have the meaning None.

    Raises:
        UserError: A value is given two meanings.
    """
    words: dict[str, int | None] = {}
    settings = (("present", present, 1), ("absent", absent, 0), ("missing", missing, None))
    for setting, values, meaning in settings:
        for value in values:
            key = _shortest(value)
            if key in words and words[key] != meaning:
                raise UserError(f"`{setting}={value or '(a blank)'}`: another option has that value too")
            words[key] = meaning
    return {**WORDS, **words}


def said(table: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Convert columns of text to keys of `Words`, "" where blank."""
    text = pl.col(columns).fill_null("").str.to_lowercase()
    number = text.cast(pl.Float64, strict=False)
    whole = number.is_in([-1.0, 0.0, 1.0])
    return table.select(
        pl.when(whole).then(number.cast(pl.Int8, strict=False).cast(pl.String)).otherwise(text)
    )


def refuse_repeats(setting: str, values: Sequence[str]) -> None:
    """Check that no value is given twice.

    Args:
        setting: Name of the setting, for the message.
        values: Values of the setting.

    Raises:
        UserError: A value is repeated.
    """
    for value in values:
        if values.count(value) > 1:
            raise UserError(f"`{setting}={value}` is named {values.count(value)} times; name it once")


def classes_of(
    table: pl.DataFrame,
    path: Path,
    labels: Sequence[str],
    classes: Sequence[str],
    *,
    words: Words,
    multi_label: bool,
) -> Classes:
    """Determine the classes of the records of a table.

    Args:
        table: Records, as text, with `LINE`.
        path: File of the records, for messages.
        labels: Columns with 0 and 1, one for each class, or one column of class names.
        classes: Classes to use from a column of names, in this order; all of them, sorted, if empty.
        words: Meaning of the values of label columns.
        multi_label: Whether a record may have any number of classes; otherwise this is assumed only if a
            record has several.

    Raises:
        UserError: A value has no meaning, a class does not occur, or there are fewer than two classes.
    """
    matrix = _matrix(table, path, labels, classes, words=words, multi_label=multi_label)
    if len(matrix.names) < 2:
        raise UserError(
            f"{path}, column {labels[0]}: one class, {matrix.names[0]}, is all there is; two are needed"
        )
    count = matrix.present.select(pl.sum_horizontal(pl.all().cast(pl.UInt32))).to_series()
    lines = table[LINE].filter(count > 1)
    exclusive = not (multi_label or len(lines))
    if len(lines) and not multi_label:
        note(
            f"{path.name}: {place(path)} {lines[0]}"
            + (f" and {len(lines) - 1:,} more have" if len(lines) > 1 else " has")
            + " several of the classes, so these do not exclude each other (`multi_label`)"
        )
    if exclusive and (none := int((matrix.is_known & (count == 0)).sum())):
        note(
            f"{path.name}: {none:,} records have none of the classes and are left out; with `multi_label` "
            "they are cases without a finding"
        )
    lists = pl.concat_list(
        pl.when(column).then(pl.lit(name)) for column, name in zip(matrix.present, matrix.names, strict=True)
    ).list.drop_nulls()
    is_known = (count > 0) if exclusive else matrix.is_known
    of_records = matrix.present.select(pl.when(is_known).then(lists).alias("classes")).to_series()
    return Classes(of_records, matrix.names, exclusive)


def _matrix(
    table: pl.DataFrame,
    path: Path,
    labels: Sequence[str],
    classes: Sequence[str],
    *,
    words: Words,
    multi_label: bool,
) -> _Matrix:
    """Classes from columns with 0 and 1, or from a column of names, depending on the values of `labels`."""
    values = set(said(table, labels[:1]).to_series()) - {""} if len(labels) == 1 else set()
    if not classes and {"-1"} < values <= {"-1", "0", "1"} and "-1" not in words:
        raise UserError(
            f"{path}, column {labels[0]}: of -1, 0 and 1, `present`, `absent` or `missing` says what -1 "
            "stands for; `classes=('-1', '0', '1')` takes them for names"
        )
    if len(labels) == 1 and not values - MISSING <= set(words):
        return _named(table[labels[0]], path, labels[0], classes, words)
    if classes:
        raise UserError("`classes` chooses among class names; columns with 0 and 1 are chosen by `labels`")
    if multi_label and len(labels) < 2:
        raise UserError(f"`multi_label` needs several classes; `labels` is {labels[0]} alone")
    return _flagged(table, path, labels, words)


def _named(values: pl.Series, path: Path, column: str, classes: Sequence[str], words: Words) -> _Matrix:
    """Classes from a column of names."""
    classes = [called(name) for name in classes]
    parts = values.fill_null("").str.normalize("NFC").str.split(SEPARATOR)
    parts = parts.list.eval(pl.element().str.strip_chars())
    counts: dict[str, int] = dict(parts.explode().value_counts().iter_rows())
    counts.pop("", None)
    blanks: set[str] = {*MISSING, "?", *(word for word, meaning in words.items() if meaning is None)}
    gone = {str(name) for name in counts if _shortest(name) in blanks and name not in classes}
    if gone:
        lost = sum(counts[name] for name in gone)
        note(
            f"{path.name}: {lost:,} of column “{column}” taken for a missing label: "
            f"{', '.join(f'“{name}”' for name in sorted(gone))}; if it is a class, name all with `classes`"
        )
        parts = parts.list.eval(pl.element().filter(~pl.element().is_in(sorted(gone))))
    spellings = _one_spelling({name: k for name, k in counts.items() if name not in gone}, classes)
    for name, other in sorted(spellings.items()):
        note(
            f"{path.name}: “{name}” of column “{column}” is taken for “{other}” ({counts[name]:,} records); "
            "to keep both, name both with `classes`"
        )
    if spellings:
        parts = parts.list.eval(pl.element().replace(spellings))
    every = {spellings.get(name, name) for name in counts if name not in gone}
    absent = [name for name in classes if name not in every]
    if absent:
        raise UserError(f"`classes={absent[0]}`: no record of {path} has it in column {column}")
    names = tuple(classes) or tuple(sorted(every))
    present = pl.DataFrame([parts.list.contains(name).alias(name) for name in names])
    return _Matrix(names, present, parts.list.eval(pl.element() != "").list.any())


def _one_spelling(counts: Mapping[str, int], classes: Sequence[str]) -> dict[str, str]:
    """The name by which each other name that is alike, see `alike`, is replaced: the chosen one or, if none
    is chosen, the most frequent. Names are kept if all of them are chosen.
    """
    every = pl.Series("name", list(dict.fromkeys([*classes, *counts])), pl.String).to_frame()
    spellings: dict[str, str] = {}
    for _, group in every.with_columns(plain=alike(pl.col("name"))).group_by("plain"):
        names = group["name"].to_list()
        if len(names) < 2:
            continue
        chosen = [name for name in names if name in classes]
        best = min(chosen or names, key=lambda name: (-counts.get(name, 0), name))
        if len(chosen) > 1 and len(chosen) < len(names):
            continue
        spellings |= {name: best for name in names if name != best and name not in chosen}
    return spellings


def _shortest(value: str) -> str:
    """A value as a key of `Words`."""
    return str(said(pl.DataFrame({"value": [value.strip()]}), ["value"]).item())


def _flagged(table: pl.DataFrame, path: Path, labels: Sequence[str], words: Words) -> _Matrix:
    """Classes from columns with 0 and 1; for a single column, 0 is a class too."""
    words = {"": None, **dict.fromkeys(MISSING), **words}
    keys = said(table, labels)
    for name in labels:
        odd = table.select(LINE, name).filter(~keys[name].is_in(list(words)))
        expected = "0 or 1 expected; `present`, `absent` or `missing` says what else there may be"
        tell_first(odd, path, name, pl.lit(True), expected)
    if lost := sum(int(keys[name].is_in(list(MISSING)).sum()) for name in labels):
        note(f"{path.name}: {lost:,} of the 0s and 1s are words such as nan or N/A, taken for missing")
    numbers = {word: meaning for word, meaning in words.items() if meaning is not None}
    values = keys.select(pl.all().replace_strict(numbers, default=None, return_dtype=pl.Int8))
    is_known = values.select(pl.all_horizontal(pl.all().is_not_null())).to_series()
    if len(labels) > 1:
        return _Matrix(tuple(labels), values.select(pl.all() == 1).fill_null(False), is_known)
    flag = pl.col(labels[0])
    present = values.select((flag == 0).alias("no"), flag == 1).fill_null(False)
    return _Matrix((f"no {labels[0]}", labels[0]), present, is_known)
