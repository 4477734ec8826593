"""Schemas of the tables of a cohort.

Imports pandera, and with it pandas: a second or two, which only the making of a cohort needs.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pandera.polars as pa
import polars as pl

from radgaze.sources.contents import NO_REGIONS, NO_TWINS, REASONS, SHAPES, SPLITS, VIEWS

Columns = dict[str, pa.Column]


def schema(name: str, columns: Collection[str], classes: Sequence[str]) -> pa.DataFrameSchema:
    """The schema of a table of a cohort.

    Args:
        name: Name of the table, a field of `Cohort`.
        columns: Columns of the table, which tell whether it has the optional ones.
        classes: Classes of the cohort.
    """
    further: Columns = {}
    if name == "cases":
        label = pa.Column(pl.Int8, pa.Check.isin([0, 1]), nullable=False)
        further = {f"label_{each}": label for each in classes}
    if name == "mentions":
        further = {"label": pa.Column(pl.String, pa.Check.isin(classes), nullable=False)}
    # A table has all of its optional columns or none.
    optional = OPTIONAL.get(name, {})
    further |= optional if set(optional) & set(columns) else {}
    return pa.DataFrameSchema({**TABLES[name], **further}, name=name, unique=UNIQUE.get(name), strict=True)


def _text(*, nullable: bool = False) -> pa.Column:
    return pa.Column(pl.String, nullable=nullable)


def _number(*, least: float | None = None) -> pa.Column:
    """A finite number, at least `least`."""
    checks = [pa.Check(lambda data: data.lazyframe.select(pl.col(data.key).is_finite()), name="finite")]
    if least is not None:
        checks.append(pa.Check.ge(least))
    return pa.Column(pl.Float64, checks, nullable=False)


def _count() -> pa.Column:
    return pa.Column(pl.Int32, pa.Check.ge(0), nullable=False)


TABLES: dict[str, Columns] = {
    "cases": {
        "case_id": _text(),
        "patient": _count(),
        "split": pa.Column(pl.String, pa.Check.isin(SPLITS), nullable=False),
        "image": _text(),
    },
    "readings": {
        "reading_id": _text(),
        "case_id": _text(),
        "reader": _text(nullable=True),
        "recorded": _count(),
        "duration": _number(least=0),
    },
    "fixations": {
        "reading_id": _text(),
        "index": _count(),
        "x": _number(least=0),
        "y": _number(least=0),
        "onset": _number(),
        "duration": _number(least=0),
    },
    "boxes": {"case_id": _text(), "label": _text(), **{name: _number() for name in ("x1", "y1", "x2", "y2")}},
    "regions": {name: _text() for name in NO_REGIONS},
    "twins": {name: _text(nullable=name in ("confounder", "shows", "original_shows")) for name in NO_TWINS},
    "mentions": {
        "reading_id": _text(),
        "index": _count(),
        "label": _text(),
        "share": pa.Column(pl.Float64, [pa.Check.gt(0), pa.Check.le(1)], nullable=False),
    },
    "rejections": {
        "reason": pa.Column(pl.String, pa.Check.isin(REASONS), nullable=False),
        "case_id": _text(nullable=True),
        "reading_id": _text(nullable=True),
        "detail": _text(),
    },
}
OPTIONAL: dict[str, Columns] = {
    "cases": {"origin": _text()},
    "fixations": {
        name: pa.Column(pl.Float64, pa.Check.gt(0) if name.startswith("degree") else None, nullable=False)
        for name in VIEWS
    },
    "boxes": {"shape": pa.Column(pl.String, pa.Check.isin(SHAPES), nullable=False)},
}
UNIQUE = {
    "cases": ["case_id"],
    "readings": ["reading_id"],
    "mentions": ["reading_id", "index", "label"],
    "twins": ["case_id"],
}
"""Columns whose values identify a row."""
