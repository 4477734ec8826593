"""The classes of a table's records: from columns with 0 and 1, or from one column of names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from radgaze.console import say
from radgaze.errors import UserError
from radgaze.sources.delimited import MISSING, place, tell_first
from radgaze.sources.keys import alike, called

BETWEEN = "|"
"""What parts the names of several classes in one column, as in ChestX-ray14 and REFLACX."""

Words = Mapping[str, int | None]
WORDS: Words = {"0": 0, "false": 0, "1": 1, "true": 1}
"""What a flag says, in lower case, numbers in their shortest form; 1 where the class is there."""


def words_of(present: Sequence[str] = (), absent: Sequence[str] = (), missing: Sequence[str] = ()) -> Words:
    """`WORDS` with more: values that say that a class is there, is not, and that say nothing (None).

    Raises:
        UserError: A value is to say two things.
    """
    found: dict[str, int | None] = {}
    for option, values, says in (("present", present, 1), ("absent", absent, 0), ("missing", missing, None)):
        for value in values:
            key = _shortest(value)
            if key in found and found[key] != says:
                raise UserError(f"--{option} {value or '(a blank)'}: another option has that value too")
            found[key] = says
    return {**WORDS, **found}


def said(read: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """The columns as keys of `Words`, "" where blank."""
    text = pl.col(columns).fill_null("").str.to_lowercase()
    number = text.cast(pl.Float64, strict=False)
    whole = number.is_in([-1.0, 0.0, 1.0])
    return read.select(
        pl.when(whole).then(number.cast(pl.Int8, strict=False).cast(pl.String)).otherwise(text)
    )


def once(option: str, values: Sequence[str]) -> None:
    """Raise UserError where a value is given twice."""
    for value in values:
        if values.count(value) > 1:
            raise UserError(f"{option} {value}: it is named {values.count(value)} times; name it once")


def class_lists(
    read: pl.DataFrame,
    path: Path,
    labels: Sequence[str],
    classes: Sequence[str],
    *,
    words: Words,
    multi_label: bool,
) -> tuple[pl.Series, tuple[str, ...], bool]:
    """Each record's classes, as `classes`; all classes; and whether they exclude each other.

    A record's classes are a list, null where they are not known: of exclusive classes where none of them is
    there, else where a name or any of the 0s and 1s is blank.

    Args:
        read: The records, as text, with `line`.
        path: Their file, for messages.
        labels: A column with 0 and 1 for each class, or one column of class names.
        classes: Of a column of class names those to take, in this order; if empty all, sorted.
        words: What flags say.
        multi_label: A record may have several classes, or none; else so where one has several.
    """
    values = set(said(read, labels[:1]).to_series()) - {""} if len(labels) == 1 else set()
    if not classes and {"-1"} < values <= {"-1", "0", "1"} and "-1" not in words:
        raise UserError(
            f"{path}, column {labels[0]}: of -1, 0 and 1, --present, --absent or --missing says what -1 "
            "stands for; --classes -1 0 1 takes them for names"
        )
    if len(labels) == 1 and not values - MISSING <= set(words):
        names, has, known = _named_in(read[labels[0]], path, labels[0], classes, words)
    else:
        if classes:
            raise UserError(
                "--classes chooses among class names; columns with 0 and 1 are chosen by --labels"
            )
        if multi_label and len(labels) < 2:
            raise UserError(f"--multi-label is of several classes; --labels is {labels[0]} alone")
        names = tuple(labels) if len(labels) > 1 else (f"no {labels[0]}", labels[0])
        has, known = _flagged(read, path, labels, words)
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
    values: pl.Series, path: Path, column: str, classes: Sequence[str], words: Words
) -> tuple[tuple[str, ...], pl.DataFrame, pl.Series]:
    """The classes, which record has which, and of which records that is known."""
    classes = [called(name) for name in classes]
    parts = values.fill_null("").str.normalize("NFC").str.split(BETWEEN)
    parts = parts.list.eval(pl.element().str.strip_chars())
    counts: dict[str, int] = dict(parts.explode().value_counts().iter_rows())
    counts.pop("", None)
    nothing: set[str] = {*MISSING, "?", *(word for word, says in words.items() if says is None)}
    gone = {str(name) for name in counts if _shortest(name) in nothing and name not in classes}
    if gone:
        lost = sum(counts[name] for name in gone)
        say(
            f"{path.name}: {lost:,} of column “{column}” taken for a missing label: "
            f"{', '.join(f'“{name}”' for name in sorted(gone))}; if it is a class, name all with --classes"
        )
        parts = parts.list.eval(pl.element().filter(~pl.element().is_in(sorted(gone))))
    one = _one_spelling({name: k for name, k in counts.items() if name not in gone}, classes)
    for name, other in sorted(one.items()):
        say(
            f"{path.name}: “{name}” of column “{column}” is taken for “{other}” ({counts[name]:,} records); "
            "to keep both, name both with --classes"
        )
    if one:
        parts = parts.list.eval(pl.element().replace(one))
    every = {one.get(name, name) for name in counts if name not in gone}
    absent = [name for name in classes if name not in every]
    if absent:
        raise UserError(f"--classes {absent[0]}: no record of {path} has it in column {column}")
    names = tuple(classes) or tuple(sorted(every))
    has = pl.DataFrame([parts.list.contains(name).alias(name) for name in names])
    return names, has, parts.list.eval(pl.element() != "").list.any()


def _one_spelling(counts: Mapping[str, int], classes: Sequence[str]) -> dict[str, str]:
    """Names to that which is alike, see `alike`, and chosen, or the most frequent; unless both are chosen."""
    every = pl.Series("name", list(dict.fromkeys([*classes, *counts])), pl.String).to_frame()
    found: dict[str, str] = {}
    for _, own in every.with_columns(plain=alike(pl.col("name"))).group_by("plain"):
        names = own["name"].to_list()
        if len(names) < 2:
            continue
        chosen = [name for name in names if name in classes]
        best = min(chosen or names, key=lambda name: (-counts.get(name, 0), name))
        if len(chosen) > 1 and len(chosen) < len(names):
            continue
        found |= {name: best for name in names if name != best and name not in chosen}
    return found


def _shortest(value: str) -> str:
    """A value as a key of `Words`."""
    return str(said(pl.DataFrame({"value": [value.strip()]}), ["value"]).item())


def _flagged(
    read: pl.DataFrame, path: Path, labels: Sequence[str], words: Words
) -> tuple[pl.DataFrame, pl.Series]:
    """Which record has which class, and of which records that is known; of one column 0 is a class too."""
    words = {"": None, **dict.fromkeys(MISSING), **words}
    keys = said(read, labels)
    for name in labels:
        odd = read.select("line", name).filter(~keys[name].is_in(list(words)))
        expected = "0 or 1 expected; --present, --absent or --missing says what else there may be"
        tell_first(odd, path, name, pl.lit(True), expected)
    if lost := sum(int(keys[name].is_in(list(MISSING)).sum()) for name in labels):
        say(f"{path.name}: {lost:,} of the 0s and 1s are words such as nan or N/A, taken for missing")
    numbers = {word: says for word, says in words.items() if says is not None}
    values = keys.select(pl.all().replace_strict(numbers, default=None, return_dtype=pl.Int8))
    one = pl.col(labels[0])
    has = values.select(*([(one == 0).alias("no"), one == 1] if len(labels) == 1 else [pl.all() == 1]))
    return has.fill_null(False), values.select(pl.all_horizontal(pl.all().is_not_null())).to_series()
