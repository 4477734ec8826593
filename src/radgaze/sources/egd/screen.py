"""Gaze of egd-cxr on the screen: samples to fixations, the calibration shift, and the way to the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from radgaze.console import progress
from radgaze.errors import UserError
from radgaze.sources.fixations import by_dispersion, by_velocity

WIDTH, HEIGHT = 1920, 1080
"""Of the screen, in pixels."""
LOOK = ("session", "media", "case_id")
"""What tells one image on the screen from the next."""


@dataclass(frozen=True)
class Thresholds:
    """Of the filters.

    Attributes:
        kind: "idt" or "ivt".
        dispersion: In degrees of visual angle.
        velocity: In degrees a second.
        duration: Of the shortest fixation, in seconds.
        pixels_per_degree: Of the screen.

    Raises:
        UserError: One is not above 0.
    """

    kind: Literal["idt", "ivt"]
    dispersion: float
    velocity: float
    duration: float
    pixels_per_degree: float

    def __post_init__(self) -> None:
        for option in ("dispersion", "velocity", "pixels_per_degree"):
            if not getattr(self, option) > 0:
                raise UserError(f"--{option.replace('_', '-')} {getattr(self, option)}: it must be above 0")
        if not self.duration >= 0:
            raise UserError(f"--least-duration {self.duration}: it must be 0 or more")


def filtered(samples: pl.DataFrame, thresholds: Thresholds, *, shift: bool, whole: int) -> pl.DataFrame:
    """Samples as `read_samples` gives them to fixations as `read_gaze` does, without recorded positions.

    A fixation is where its samples are on average, from the first of them to the last.

    Args:
        samples: The samples.
        thresholds: Of the filter.
        shift: Whether each session is shifted by its calibration frames.
        whole: Length of an image's id; a shorter one is a calibration frame's.
    """
    if shift:
        samples = shifted(samples, whole=whole)
    looks = samples.group_by(LOOK, maintain_order=True).agg(
        "place", "count", "time", "screen_x", "screen_y", "valid"
    )
    rows = list[tuple[object, ...]]()
    scale = thresholds.pixels_per_degree
    with progress("Filtering gaze samples", total=looks.height) as bar:
        for session, media, case_id, place, count, time, x, y, valid in looks.iter_rows():
            order = np.argsort(np.array(time, dtype=np.float64), kind="stable")
            t, sx, sy = (np.array(v, dtype=np.float64)[order] for v in (time, x, y))
            good = np.array(valid, dtype=bool)[order]
            px, py = np.nan_to_num(sx) * WIDTH, np.nan_to_num(sy) * HEIGHT
            if thresholds.kind == "idt":
                limit = thresholds.dispersion * scale
                spans = by_dispersion(t, px, py, good, dispersion=limit, duration=thresholds.duration)
            else:
                limit = thresholds.velocity * scale
                spans = by_velocity(t, px, py, good, velocity=limit, duration=thresholds.duration)
            for first, last in spans.tolist():
                own = slice(first, last + 1)
                at = int(order[last])
                middle = (float(sx[own].mean()), float(sy[own].mean()))
                length = float(t[last] - t[first])
                rows.append((place[at], session, media, case_id, count[at], *middle, float(t[first]), length))
            bar.advance()
    schema = {
        "place": pl.UInt32,
        **dict.fromkeys(LOOK, pl.String),
        **dict.fromkeys(("count", "screen_x", "screen_y", "onset", "duration"), pl.Float64),
    }
    found = pl.DataFrame(rows, schema=schema, orient="row").sort("place", maintain_order=True)
    nothing = pl.lit(None, pl.Float64)
    return found.with_columns(recorded_x=nothing, recorded_y=nothing)


def shifted(gaze: pl.DataFrame, *, whole: int) -> pl.DataFrame:
    """Gaze with each session moved by the middle of the screen less the mean of its last looks at calibration
    frames.

    The data set's authors had this, off. A session without such a frame stays where it is.
    """
    there = pl.col("screen_x").is_not_null() & pl.col("screen_y").is_not_null()
    if "valid" in gaze.columns:
        there &= pl.col("valid")
    frames = gaze.filter((pl.col("case_id").str.len_chars() != whole) & (pl.col("case_id") != "") & there)
    last = frames.sort("place").group_by(LOOK, maintain_order=True).last()
    moves = last.group_by("session").agg(
        move_x=0.5 - pl.col("screen_x").mean(), move_y=0.5 - pl.col("screen_y").mean()
    )
    return (
        gaze.join(moves, on="session", how="left", maintain_order="left")
        .with_columns(
            screen_x=pl.col("screen_x") + pl.col("move_x").fill_null(0),
            screen_y=pl.col("screen_y") + pl.col("move_y").fill_null(0),
        )
        .drop("move_x", "move_y")
    )


def on_image(gaze: pl.DataFrame) -> pl.DataFrame:
    """Gaze with x, y in image pixels, and whether it is `inside` the image, from the screen.

    The authors' mapping: with columns and rows padded to even numbers, x = (1920·sx − left) · columns / (1920
    − left − right), and y likewise; inside where 1920·sx lies between the borders. Where a size is not known
    they are pixels of the screen.

    Args:
        gaze: With screen_x, screen_y (shares), rows, columns, left, right, top, bottom.
    """

    def axis(screen: str, length: int, before: str, after: str, size: str) -> tuple[pl.Expr, pl.Expr]:
        at, shown = length * pl.col(screen), length - pl.col(before) - pl.col(after)
        # An image whose header cannot be read will not be in a store either: the screen's pixels do for it.
        padded = (pl.col(size) + pl.col(size) % 2).fill_null(shown)
        return (at - pl.col(before)) * padded / shown, (at > pl.col(before)) & (at < length - pl.col(after))

    x, in_x = axis("screen_x", WIDTH, "left", "right", "columns")
    y, in_y = axis("screen_y", HEIGHT, "top", "bottom", "rows")
    return gaze.with_columns(
        x=x, y=y, inside=(in_x & in_y & x.is_not_null() & y.is_not_null()).fill_null(False)
    )
