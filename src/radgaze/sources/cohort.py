"""The result of reading a source: typed, validated tables, and rejections with reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import polars as pl

from radgaze.errors import UserError
from radgaze.sources.contents import (
    NO_BOXES,
    NO_FIXATIONS,
    NO_MENTIONS,
    NO_READINGS,
    NO_REGIONS,
    NO_REJECTIONS,
    NO_TWINS,
    Schema,
)
from radgaze.sources.external_sort import slices
from radgaze.words import listed

RESERVED = frozenset({"macro", "multiclass", "validation", "nss", "pointing_game", "energy_inside", "iou"})
"""Names that no class can have: in tables of results another figure has them, in the place of a class."""


def _none(schema: Schema) -> Callable[[], pl.DataFrame]:
    return partial(pl.DataFrame, schema=schema)


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """The tables of a source, checked when the cohort is created.

    Each reading, fixation and box belongs to a case of the cohort, and a patient is in one split only. Tables
    are listed by their columns; "image px" are pixels of the original image.

    Attributes:
        source: Name of the source, e.g. "egd".
        classes: Names of the classes, in the order of the label columns.
        cases: Table of case_id, patient (a key counted from 0, not the id of the source), split, image
            (absolute path, in memory only: it may reveal the patient), label_<class> (0 or 1) for each class;
            and, for merged stores, origin, the store that the case comes from.
        readings: Table of reading_id, case_id, reader (or null), recorded (number of fixations, off-image
            ones included), duration (s).
        fixations: Table of the fixations on the image: reading_id, index (position in the reading, off-image
            ones counted), x, y (image px from the top left, pixel centres at +0.5), onset, duration (s), and
            `contents.VIEWS` where the source recorded them. Lazy, since it may be larger than memory: a table
            in memory, or the result of `spooled`.
        boxes: Table of case_id, label, x1, y1, x2, y2 (image px); and shape, one of `contents.SHAPES`, where
            not all are boxes: an ellipse touches the four sides.
        rejections: Table of reason (one of `contents.REASONS`), case_id or null, reading_id or null, and
            detail; one row for each rejected item.
        parameters: Settings that the cohort depends on; JSON values that reveal nothing about a patient.
        exclusive: Whether each case has exactly one of the classes, rather than any number of them.
        regions: Table of case_id, label, file (absolute path of a mask, in memory only): parts of images
            that are marked pixel by pixel.
        mentions: Table of reading_id, index, label, share: an index into `fixations` by class. Each row is a
            fixation that belongs to a class which the report of the reader mentions, with the share of its
            duration, in (0, 1], that does; label is one of `classes`.
        twins: Table of case_id, twin_of (the case that it is a twin of), image (as in `cases`), confounder
            (what differs, such as "marker"), shows and original_shows (the class whose confounder the twin
            and the original show); the last three may be null. A twin is an image of the same patient that
            differs in one confounder. It is no case: it has no split and counts nowhere.

    Raises:
        UserError: A class has one of the `RESERVED` names.
        pandera.errors.SchemaError: A table has other columns, types or values than described here.
        ValueError: Two tables contradict each other.
    """

    source: str
    classes: tuple[str, ...]
    cases: pl.DataFrame
    readings: pl.DataFrame = field(default_factory=_none(NO_READINGS))
    fixations: pl.LazyFrame = field(default_factory=partial(pl.LazyFrame, schema=NO_FIXATIONS))
    boxes: pl.DataFrame = field(default_factory=_none(NO_BOXES))
    rejections: pl.DataFrame = field(default_factory=_none(NO_REJECTIONS))
    parameters: Mapping[str, object]
    exclusive: bool = True
    regions: pl.DataFrame = field(default_factory=_none(NO_REGIONS))
    mentions: pl.DataFrame = field(default_factory=_none(NO_MENTIONS))
    twins: pl.DataFrame = field(default_factory=_none(NO_TWINS))

    @property
    def images(self) -> pl.Series:
        """Path of each image: those of the cases, and then those of the twins."""
        return pl.concat([self.cases["image"], self.twins["image"]])

    def __post_init__(self) -> None:
        if taken := RESERVED.intersection(self.classes):
            raise UserError(
                f"{listed(sorted(taken))} cannot be the name of a class: tables of results have another "
                "figure of this name in the place of a class; rename it"
            )
        for name in ("cases", "readings", "boxes", "regions", "rejections", "mentions", "twins"):
            self._check_table(name, getattr(self, name))
        self._check_fixations()
        self._check_that_tables_agree()
        self._check_twins()
        if strange := unmatched_mentions(self.mentions, self.fixations):
            raise ValueError(f"{strange} mentions are of no fixation")

    def _check_table(self, name: str, table: pl.DataFrame) -> None:
        from radgaze.sources.schemas import schema  # imports pandera, which those who open a store do without

        schema(name, table.columns, self.classes).validate(table)

    def _check_fixations(self) -> None:
        # Each recorded fixation has a number over all readings, which must be taken at most once.
        recorded = pl.col("recorded").cast(pl.Int64)
        places = self.readings.select("reading_id", "recorded", first=recorded.cum_sum() - recorded)
        taken = np.zeros(int(self.readings["recorded"].sum()), np.bool_)
        wrong = Counter[str]()
        for part in slices(self.fixations):
            self._check_table("fixations", part)
            placed = part.join(places, on="reading_id", how="left", maintain_order="left")
            orphan, late = placed["first"].is_null(), placed["index"] >= placed["recorded"]
            wrong["have a reading_id that is nowhere else"] += int(orphan.sum())
            wrong["have an index past the number that was recorded"] += int(late.sum())
            place = placed.filter(~(orphan | late)).select(pl.col("first") + pl.col("index")).to_series()
            once = place.unique().to_numpy()
            wrong["repeat another's index in its reading"] += len(place) - len(once) + int(taken[once].sum())
            taken[once] = True
        for fault, count in wrong.items():
            if count:
                raise ValueError(f"{count} fixations {fault}")

    def _check_twins(self) -> None:
        orphans = self.twins.join(self.cases, left_on="twin_of", right_on="case_id", how="anti").height
        if orphans:
            raise ValueError(f"{orphans} twins are of no case")
        if self.twins.join(self.cases, on="case_id", how="semi").height:
            raise ValueError("a twin has the id of a case")
        shown = pl.concat([self.twins["shows"], self.twins["original_shows"]]).drop_nulls()
        if not shown.is_in(self.classes).all():
            raise ValueError("a twin shows the confounder of no class")

    def _check_that_tables_agree(self) -> None:
        if self.exclusive:
            wrong = self.cases.filter(
                pl.sum_horizontal(pl.col(f"label_{name}") for name in self.classes) != 1
            )
            if len(wrong):
                raise ValueError(f"{len(wrong)} cases have not exactly one of the exclusive classes")
        for name, key, owners in (
            ("readings", "case_id", self.cases),
            ("boxes", "case_id", self.cases),
            ("regions", "case_id", self.cases),
        ):
            orphans = getattr(self, name).join(owners, on=key, how="anti")
            if len(orphans):
                raise ValueError(f"{len(orphans)} {name} have a {key} that is nowhere else")

        splits = self.cases.group_by("patient").agg(pl.col("split").n_unique()).filter(pl.col("split") > 1)
        if len(splits):
            raise ValueError(f"{len(splits)} patients are in more than one split")


def unmatched_mentions(mentions: pl.DataFrame, fixations: pl.LazyFrame) -> int:
    """Count the rows of `mentions` whose fixation is missing."""
    if mentions.is_empty():
        return 0
    keys = ["reading_id", "index"]
    matched = fixations.select(keys).join(mentions.lazy().select(keys), on=keys)
    return mentions.height - int(matched.select(pl.len()).collect().item())
