"""Twins in a table of labels: records of images that differ from another record's in a confounder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from radgaze.errors import UserError
from radgaze.sources.contents import NO_TWINS
from radgaze.sources.delimited import is_missing, place, tell_first
from radgaze.sources.keys import composed
from radgaze.sources.streaming import LINE
from radgaze.sources.table.ids import numbered


def divided(table: pl.DataFrame, columns: Mapping[str, str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Divide a table into the records of cases and those of twins, by the column of `twin_of`.

    Args:
        table: Table of text, with `LINE`.
        columns: Column of each key.
    """
    if "twin_of" not in columns:
        return table, table.clear()
    name = pl.col(columns["twin_of"])
    is_twin = name.is_not_null() & ~is_missing(name)
    return table.filter(~is_twin), table.filter(is_twin)


def twins_of(
    table: pl.DataFrame,
    records: pl.DataFrame,
    path: Path,
    columns: Mapping[str, str],
    classes: Sequence[str],
) -> pl.DataFrame:
    """Read the records of twins. A twin is of its original's patient, and needs no label and no split.

    An original is named by its id or, in a table without ids, by its image as the table writes it.

    Args:
        table: Records of the twins.
        records: Records of the cases, see `Sheet.records`, with patient_id.
        path: File of the table, for messages.
        columns: Column of each key.
        classes: Names of the classes.

    Returns:
        Table with the columns of `Cohort.twins`, image as in the table, and name (of the twin in the table).

    Raises:
        UserError: The original of a twin is not in the table, is of another patient or a twin itself, or a
            twin shows the confounder of no class.
    """
    if table.is_empty():
        return pl.DataFrame(schema={**NO_TWINS, "name": pl.String})
    has_ids = "case" in columns
    name = pl.col(columns["case"] if has_ids else columns["image"])
    patient = pl.col(columns.get("patient", columns["twin_of"]))
    twins = table.select(
        LINE,
        name=composed(name),
        image=pl.col(columns["image"]),
        original=composed(pl.col(columns["twin_of"])),
        patient_id=composed(patient),
        **{key: _optional(columns, key) for key in ("confounder", "shows", "original_shows")},
    )
    tell_first(twins, path, columns.get("case", columns["image"]), pl.col("name").is_null(), "an id expected")
    key = pl.col("name") if has_ids else composed(pl.col("image"))
    originals = records.select(original=key, twin_of="case_id", of_patient="patient_id")
    originals = originals.unique("original", keep="first")
    twins = twins.join(originals, on="original", how="left", maintain_order="left")
    for shown in ("shows", "original_shows"):
        wrong = ~pl.col(shown).is_in(list(classes)).fill_null(True)
        tell_first(twins, path, columns.get(shown, shown), wrong, f"{', '.join(classes)} or nothing expected")
    _check(twins, path, columns, set(records["name"]) if has_ids else set())
    ids = twins["name"] if has_ids else numbered(twins["name"], "twin")
    return twins.with_columns(ids.alias("case_id")).select(*NO_TWINS, "name")


def _optional(columns: Mapping[str, str], key: str) -> pl.Expr:
    """The value of a key that may be blank, or have no column."""
    if key not in columns:
        return pl.lit(None, pl.String)
    value = pl.col(columns[key])
    return pl.when(~is_missing(value)).then(value)


def _check(twins: pl.DataFrame, path: Path, columns: Mapping[str, str], taken: set[str]) -> None:
    """Raise UserError where a twin has no original, one of another patient, or the name of another image."""
    names = twins["name"].to_list()
    faults = [
        (pl.col("original").is_in(names), "is a twin of a twin; name the original of both"),
        (pl.col("twin_of").is_null(), "is a twin of {}, which is in no record"),
        (pl.col("name").is_duplicated(), "has the id of another twin; give each an id of its own"),
        (pl.col("name").is_in(sorted(taken)), "has the id of a case; give each an id of its own"),
    ]
    if "patient" in columns:
        faults.append((pl.col("patient_id") != pl.col("of_patient"), "is a twin of another patient's {}"))
    for wrong, message in faults:
        of_fault = twins.filter(wrong.fill_null(True))
        if of_fault.height:
            line, original = of_fault.select(LINE, "original").row(0)
            raise UserError(f"{path}, {place(path)} {line}: the image {message.format(repr(original))}")
