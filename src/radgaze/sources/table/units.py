"""Units of a table's positions and times, and checks that these can be in pixels and seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from radgaze.errors import UserError

SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
"""Units of time, in seconds."""
TIMES = ("onset", "duration")
LONG = 10.0
"""Duration in seconds that is too long for a fixation; usual durations are tenths of a second."""
ENOUGH = 10
"""Least number of steps from one onset to the next for a check of onsets."""


def frame_of(text: str | None, option: str) -> tuple[int, int] | None:
    """Parse the size of the picture to which positions refer.

    Args:
        text: Size as WIDTHxHEIGHT, or None.
        option: Name of the setting, for messages.

    Returns:
        Width and height in pixels; None for the image itself.

    Raises:
        UserError: The text is not WIDTHxHEIGHT.
    """
    if text is None:
        return None
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise UserError(f"`{option}={text}` must be WIDTHxHEIGHT in pixels, such as 1024x1024")
    return int(width), int(height)


def scaled(
    table: pl.DataFrame, frame: tuple[int, int] | None, across: Sequence[str], down: Sequence[str]
) -> pl.DataFrame:
    """Scale the positions of a table to pixels of the images.

    Args:
        table: Table with positions, and rows and columns of the images.
        frame: Width and height of the picture to which positions refer; None for the image itself.
        across: Columns with positions along the width.
        down: Columns with positions along the height.
    """
    if frame is None:
        return table
    zoom = {
        **dict.fromkeys(across, pl.col("columns") / frame[0]),
        **dict.fromkeys(down, pl.col("rows") / frame[1]),
    }
    return table.with_columns(pl.col(name) * by.fill_null(1) for name, by in zoom.items())


def units_of(given: Sequence[str]) -> dict[str, float]:
    """Parse the units of `TIMES`, given as KEY=UNIT; return the given ones, in seconds.

    Raises:
        UserError: There is no such key or unit.
    """
    units = {}
    for word in given:
        key, _, unit = word.partition("=")
        if key not in TIMES or unit not in SECONDS:
            raise UserError(
                f"`fixation_units={word}` must be KEY=UNIT, with a KEY of {', '.join(TIMES)} and a UNIT of "
                f"{', '.join(SECONDS)}"
            )
        units[key] = SECONDS[unit]
    return units


class Fractions:
    """Count of positions with coordinates from 0 to 1, which may be fractions of the image."""

    def __init__(self) -> None:
        self._few = self._all = 0

    def add(self, places: pl.DataFrame, *, columns: Sequence[str]) -> None:
        """Count positions whose coordinates are all from 0 to 1, except (0, 0), which marks lost samples.

        Args:
            places: Table of positions.
            columns: Columns of the coordinates.
        """
        places = places.select(columns).drop_nulls().filter(pl.any_horizontal(pl.all() != 0))
        self._all += len(places)
        self._few += len(places.filter(pl.all_horizontal(pl.all().is_between(0, 1))))

    def check(self, path: Path, option: str) -> None:
        """Check that most positions are not fractions.

        Args:
            path: File of the table, for the message.
            option: Name of the setting of the frame, for the message.

        Raises:
            UserError: More than half of the positions may be fractions.
        """
        if self._few * 2 > self._all:
            raise UserError(
                f"{path}: {self._few:,} of {self._all:,} positions are from 0 to 1, as fractions of the "
                f"image are: `{option}=1x1` takes them so; `{option}=WIDTHxHEIGHT` if of another picture"
            )


class Times:
    """Count of durations, and of steps from one onset to the next, that are too long to be in seconds.

    Args:
        given: Units that are given, see `units_of`, and need no check.
    """

    def __init__(self, given: Mapping[str, float]) -> None:
        self._given = given
        self._counts = {key: [0, 0] for key in TIMES}

    def add(self, part: pl.DataFrame) -> None:
        """Count the times of a part of a table with key, reader, onset and duration (s)."""
        same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift()) for name in ("key", "reader"))
        step = part.select(pl.col("onset").diff().filter(same.fill_null(False))).to_series()
        for key, values in (("duration", part["duration"]), ("onset", step)):
            positive = values.filter(values > 0)
            self._counts[key][0] += int((positive > LONG).sum())
            self._counts[key][1] += len(positive)

    def check(self, path: Path) -> None:
        """Check that most times are not too long.

        Args:
            path: File of the table, for the message.

        Raises:
            UserError: More than half of the durations or steps are too long, and their unit is not given.
        """
        for key, least in (("duration", 1), ("onset", ENOUGH)):
            long, every = self._counts[key]
            if key not in self._given and every >= least and 2 * long > every:
                kind = "durations" if key == "duration" else "steps from one onset to the next"
                raise UserError(
                    f"{path}: {long:,} of {every:,} {kind} are more than {LONG:g} s; "
                    f"`fixation_units={key}=ms` if they are milliseconds, `fixation_units={key}=s` if they "
                    "are seconds indeed"
                )
