"""What positions and times of a table are measured in: told where they cannot be pixels or seconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from radgaze.errors import UserError

SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
"""Units of time, in seconds."""
TIMES = ("onset", "duration")
LONG = 10.0
"""Seconds that no fixation takes; they take tenths."""
ENOUGH = 10
"""Steps from one onset to the next from which these are judged."""


def units_of(given: Sequence[str], option: str) -> dict[str, float]:
    """How many seconds the unit of each of `TIMES` is, where it is given as KEY=UNIT.

    Raises:
        UserError: It is not given so.
    """
    found = {}
    for word in given:
        key, _, unit = word.partition("=")
        if key not in TIMES or unit not in SECONDS:
            raise UserError(
                f"{option} {word}: KEY=UNIT is expected, with a KEY of {', '.join(TIMES)} and a UNIT of "
                f"{', '.join(SECONDS)}"
            )
        found[key] = SECONDS[unit]
    return found


class Fractions:
    """Whether most of positions lie in the first pixel, as fractions of the image would."""

    def __init__(self) -> None:
        self._few = self._all = 0

    def look(self, places: pl.DataFrame, *, far: Sequence[str]) -> None:
        """Count places whose coordinates, columns `far`, are from 0 to 1; (0, 0) is of a lost sample."""
        there = places.select(far).drop_nulls().filter(pl.any_horizontal(pl.all() != 0))
        self._all += len(there)
        self._few += len(there.filter(pl.all_horizontal(pl.all().is_between(0, 1))))

    def judge(self, path: Path, option: str) -> None:
        """Raise UserError where most are fractions."""
        if self._few * 2 > self._all:
            raise UserError(
                f"{path}: {self._few:,} of {self._all:,} positions are from 0 to 1, as fractions of the "
                f"image are: {option} 1x1 takes them so; {option} WIDTHxHEIGHT if of another picture"
            )


class Times:
    """Durations, and steps from onset to onset, counted by whether they are too long for seconds."""

    def __init__(self, given: dict[str, float]) -> None:
        self._given = given
        self._counts = {key: [0, 0] for key in TIMES}

    def look(self, part: pl.DataFrame) -> None:
        """Count those of a part with key, reader, onset and duration (s)."""
        same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift()) for name in ("key", "reader"))
        step = part.select(pl.col("onset").diff().filter(same.fill_null(False))).to_series()
        for key, values in (("duration", part["duration"]), ("onset", step)):
            more = values.filter(values > 0)
            self._counts[key][0] += int((more > LONG).sum())
            self._counts[key][1] += len(more)

    def judge(self, path: Path, option: str) -> None:
        """Raise UserError where most are too long, and nobody has said that they are seconds."""
        for key, least in (("duration", 1), ("onset", ENOUGH)):
            long, every = self._counts[key]
            if key not in self._given and every >= least and 2 * long > every:
                what = "durations" if key == "duration" else "steps from one onset to the next"
                raise UserError(
                    f"{path}: {long:,} of {every:,} {what} are more than {LONG:g} s; {option} {key}=ms if "
                    f"they are milliseconds, {key}=s if they are seconds indeed"
                )
