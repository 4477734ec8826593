"""Gaze of egd-cxr on the screen: filtering of samples, the calibration shift, and mapping to the image."""

from __future__ import annotations

import numpy as np
import polars as pl

from radgaze.console import progress
from radgaze.sources.egd.options import EgdOptions
from radgaze.sources.fixations import by_dispersion, by_velocity

WIDTH, HEIGHT = 1920, 1080
"""Size of the screen, in pixels."""
DISPLAY = ("session", "media", "case_id")
"""Columns that identify one display of an image on the screen."""


def filtered(samples: pl.DataFrame, options: EgdOptions, *, whole: int) -> pl.DataFrame:
    """Filter samples to fixations. The position of a fixation is the mean of its samples.

    Args:
        samples: Gaze samples, from `read_samples`.
        options: Filter, its thresholds, and whether sessions are shifted by their calibration frames.
        whole: Length of the id of an image; that of a calibration frame is shorter.

    Returns:
        Fixations, as from `read_gaze`, with null as recorded positions.
    """
    if options.calibration_shift:
        samples = shifted(samples, whole=whole)
    least = options.least_duration
    displays = samples.group_by(DISPLAY, maintain_order=True).agg(
        "place", "count", "time", "screen_x", "screen_y", "valid"
    )
    rows = list[tuple[object, ...]]()
    scale = options.pixels_per_degree
    with progress("Filtering gaze samples", total=displays.height) as bar:
        for session, media, case_id, place, count, time, x, y, valid in displays.iter_rows():
            order = np.argsort(np.array(time, dtype=np.float64), kind="stable")
            t, sx, sy = (np.array(v, dtype=np.float64)[order] for v in (time, x, y))
            good = np.array(valid, dtype=bool)[order]
            px, py = np.nan_to_num(sx) * WIDTH, np.nan_to_num(sy) * HEIGHT
            if options.filter == "idt":
                limit = options.dispersion * scale
                spans = by_dispersion(t, px, py, good, dispersion=limit, duration=least)
            else:
                limit = options.velocity * scale
                spans = by_velocity(t, px, py, good, velocity=limit, duration=least)
            for first, last in spans.tolist():
                span = slice(first, last + 1)
                at = int(order[last])
                middle = (float(sx[span].mean()), float(sy[span].mean()))
                length = float(t[last] - t[first])
                rows.append((place[at], session, media, case_id, count[at], *middle, float(t[first]), length))
            bar.advance()
    schema = {
        "place": pl.UInt32,
        **dict.fromkeys(DISPLAY, pl.String),
        **dict.fromkeys(("count", "screen_x", "screen_y", "onset", "duration"), pl.Float64),
    }
    fixations = pl.DataFrame(rows, schema=schema, orient="row").sort("place", maintain_order=True)
    nothing = pl.lit(None, pl.Float64)
    return fixations.with_columns(recorded_x=nothing, recorded_y=nothing)


def shifted(gaze: pl.DataFrame, *, whole: int) -> pl.DataFrame:
    """Shift the gaze of each session by the offset of its calibration frames.

    The shift is the centre of the screen minus the mean position of the last gaze point on each calibration
    frame of the session. The code of the data set's authors can do this, but has it disabled. A session
    without such a frame is not shifted.

    Args:
        gaze: Fixations or samples.
        whole: Length of the id of an image; that of a calibration frame is shorter.
    """
    valid = pl.col("screen_x").is_not_null() & pl.col("screen_y").is_not_null()
    if "valid" in gaze.columns:
        valid &= pl.col("valid")
    frames = gaze.filter((pl.col("case_id").str.len_chars() != whole) & (pl.col("case_id") != "") & valid)
    last = frames.sort("place").group_by(DISPLAY, maintain_order=True).last()
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
    """Map gaze from the screen to the image.

    This is the mapping of the data set's authors: with columns and rows rounded up to even numbers, x =
    (1920·sx − left) · columns / (1920 − left − right), and y likewise. A position is inside the image where
    1920·sx, and likewise for y, is between the borders. Where the size of an image is unknown, x and y are in
    pixels of the screen.

    Args:
        gaze: Table with screen_x, screen_y (shares), rows, columns, left, right, top, bottom.

    Returns:
        The table with x and y in image pixels, and `inside`, whether the position is inside the image.
    """

    def axis(screen: str, length: int, before: str, after: str, size: str) -> tuple[pl.Expr, pl.Expr]:
        at, shown = length * pl.col(screen), length - pl.col(before) - pl.col(after)
        # An image whose header cannot be read will not be in a store: the unit does not matter for it.
        padded = (pl.col(size) + pl.col(size) % 2).fill_null(shown)
        return (at - pl.col(before)) * padded / shown, (at > pl.col(before)) & (at < length - pl.col(after))

    x, in_x = axis("screen_x", WIDTH, "left", "right", "columns")
    y, in_y = axis("screen_y", HEIGHT, "top", "bottom", "rows")
    return gaze.with_columns(
        x=x, y=y, inside=(in_x & in_y & x.is_not_null() & y.is_not_null()).fill_null(False)
    )
