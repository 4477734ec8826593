"""The classes of a table's records: from columns with 0 and 1, or from one column of names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from radgaze.console import say
from radgaze.errors import UserError
from radgaze.sources.delimited import place, tell_first

BETWEEN = "|"
"""What parts the names of several classes in one column, as in ChestX-ray14 and REFLACX."""

WORDS = {"0": 0, "0.0": 0, "false": 0, "1": 1, "1.0": 1, "true": 1}


def class_lists(
    read: pl.DataFrame, path: Path, labels: Sequence[str], classes: Sequence[str], *, multi_label: bool
) -> tuple[pl.Series, tuple[str, ...], bool]:
    """Each record's classes, as `classes`; all classes; and whether they exclude each other.

    A record's classes are a list, null where they are not known: of exclusive classes where none of them is
    there, else where a name or any of the 0s and 1s is blank.

    Args:
        read: The records, as text, with `line`.
        path: Their file, for messages.
        labels: A column with 0 and 1 for each class, or one column of class names.
        classes: Of a column of class names those to take, in this order; if empty all, sorted.
        multi_label: A record may have several classes, or none; else so where one has several.
    """
    if len(labels) == 1 and not set(read[labels[0]].drop_nulls().str.to_lowercase()) <= set(WORDS):
        names, has, known = _named_in(read[labels[0]], path, labels[0], classes)
    else:
        if classes:
            raise UserError(
                "--classes chooses among class names; columns with 0 and 1 are chosen by --labels"
            )
        if multi_label and len(labels) < 2:
            raise UserError(f"--multi-label is of several classes; --labels is {labels[0]} alone")
        names = tuple(labels) if len(labels) > 1 else (f"no {labels[0]}", labels[0])
        has, known = _flagged(read, path, labels)
    if len(names) < 2:
        raise UserError(f"{path}, column {labels[0]}: one class, {names[0]}, is all there is; two are needed")
    count = has.select(pl.sum_horizontal(pl.all().cast(pl.UInt32))).to_series()
    many = read["line"].filter(count > 1)
    exclusive = not (multi_label or len(many))
    if len(many) and not multi_label:
        say(
            f"{path.name}: {place(path)} {many[0]}"
            + (f" and {len(many) - 1:,} more have" if len(many) > 1 else " has")
            + " several of the classes, so these do not exclude each other (--multi-label)"
        )
    if exclusive and (none := int((known & (count == 0)).sum())):
        say(
            f"{path.name}: {none:,} records have none of the classes and are left out; with --multi-label "
            "they are cases without a finding"
        )
    ones = pl.concat_list(
        pl.when(column).then(pl.lit(name)) for column, name in zip(has, names, strict=True)
    ).list.drop_nulls()
    kept = has.select(pl.when((count > 0) if exclusive else known).then(ones).alias("classes")).to_series()
    return kept, names, exclusive


def named(classes: Sequence[str]) -> str:
    """A record's classes in words."""
    return " and ".join(classes) or "none of the classes"


def _named_in(
    values: pl.Series, path: Path, column: str, classes: Sequence[str]
) -> tuple[tuple[str, ...], pl.DataFrame, pl.Series]:
    """The classes, which record has which, and of which records that is known."""
    words = values.fill_null("").str.split(BETWEEN).list.eval(pl.element().str.strip_chars())
    every = set(words.explode().unique()) - {""}
    absent = [name for name in classes if name not in every]
    if absent:
        raise UserError(f"--classes {absent[0]}: no record of {path} has it in column {column}")
    names = tuple(classes) or tuple(sorted(every))
    has = pl.DataFrame([words.list.contains(name).alias(name) for name in names])
    return names, has, words.list.eval(pl.element() != "").list.any()


def _flagged(read: pl.DataFrame, path: Path, labels: Sequence[str]) -> tuple[pl.DataFrame, pl.Series]:
    """Which record has which class, and of which records that is known; of one column 0 is a class too."""
    for name in labels:
        known = pl.col(name).str.to_lowercase().is_in(list(WORDS))
        tell_first(read, path, name, pl.col(name).is_not_null() & ~known, "0 or 1 expected")
    values = read.select(
        pl.col(name).str.to_lowercase().replace_strict(WORDS, default=None, return_dtype=pl.Int8)
        for name in labels
    )
    one = pl.col(labels[0])
    has = values.select(*([(one == 0).alias("no"), one == 1] if len(labels) == 1 else [pl.all() == 1]))
    return has.fill_null(False), values.select(pl.all_horizontal(pl.all().is_not_null())).to_series()
