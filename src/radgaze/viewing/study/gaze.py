"""The mouse's path, and an eye tracker's, in pixels of the original images."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from radgaze.errors import UserError
from radgaze.viewing.study.record import Recorder

TRACKER = ("time", "x", "y")
"""Columns of an eye tracker's file: seconds since 1970 in UTC, and physical pixels of the screen."""

PLACEMENT = ("ms", "scale", "left", "top", "screen_x", "screen_y", "device")
"""Parts of a placement, see `record.Piece`."""

KEYS = ("reader", "session", "place", "case_id", "condition", "view")


def mouse(recorder: Recorder) -> pl.DataFrame:
    """Make a table of the mouse's path.

    Returns:
        Columns reader, session, place, case_id, condition, view, seconds (since the image appeared in this
        view), x and y (pixels of the original image), and on_image.
    """
    samples = [
        (row["view"], ms / 1000, x, y)
        for row in recorder.rows("SELECT view, mouse FROM pieces ORDER BY view, number")
        for ms, x, y in recorder.parsed(row["mouse"])
    ]
    schema = {"view": pl.String, "seconds": pl.Float64, "x": pl.Float64, "y": pl.Float64}
    table = pl.DataFrame(samples, schema=schema, orient="row")
    return _with_image(table.join(_views(recorder), on="view")).select(*KEYS, "seconds", "x", "y", "on_image")


def eye_tracking(
    recorder: Recorder, tracked: pl.DataFrame, reader: str, *, offset: float = 0.0
) -> pl.DataFrame:
    """Place the samples or fixations of an eye tracker on the images that the reader saw.

    The position of the image on the screen is known from the browser, from each change of zoom or window on.
    Times at which no image was shown, the page was hidden or the time was over are left out.

    Args:
        recorder: The record.
        tracked: Table with `TRACKER`, in any order; its other columns are kept.
        reader: Code of the reader.
        offset: Seconds to add to the tracker's times, for a clock that is behind.

    Returns:
        Columns reader, session, place, case_id, condition, view, seconds (since the image appeared), x and y
        (pixels of the original image), on_image, then those of the tracker, with x and y as screen_x and
        screen_y.

    Raises:
        UserError: A column is missing or no number, the reader is unknown, or no time is within the study.
    """
    if reader not in recorder.design().readers:
        raise UserError(f"the study has no reader {reader!r}; it has {', '.join(recorder.design().readers)}")
    for name in TRACKER:
        if name not in tracked.columns or not tracked[name].dtype.is_numeric():
            raise UserError(
                f"the eye tracker's table needs a column {name} of numbers; see docs/reader_study.md"
            )
    placed = _placements(recorder, reader)
    at = pl.col("time").cast(pl.Float64) + offset
    renamed = {"x": "tracker_x", "y": "tracker_y"}
    taken = {*placed.columns, "seconds", "on_image"} - set(TRACKER)
    renamed |= {name: f"tracker_{name}" for name in tracked.columns if name in taken}
    samples = tracked.drop_nulls(TRACKER).rename(renamed).with_columns(at=at).sort("at")
    joined = samples.join_asof(placed, on="at", strategy="backward").filter(pl.col("at") <= pl.col("until"))
    if joined.is_empty():
        raise UserError(
            f"no time of the eye tracker is within the {len(recorder.answers(reader))} readings of {reader}, "
            "while the image could be seen: "
            "times are seconds since 1970 in UTC, and `offset` is added to them"
        )
    x, y = (
        (pl.col(f"tracker_{axis}") / pl.col("device") - pl.col(f"screen_{axis}") - pl.col(corner))
        / pl.col("scale")
        for axis, corner in (("x", "left"), ("y", "top"))
    )
    joined = _with_image(joined.with_columns(x=x, y=y, seconds=pl.col("at") - pl.col("began")))
    others = [name for name in samples.columns if name not in ("at", "time")]
    return joined.select(*KEYS, "seconds", "x", "y", "on_image", "time", *others)


def read_tracker(path: Path) -> pl.DataFrame:
    """Read an eye tracker's CSV file.

    Raises:
        UserError: There is no such file, or it is no CSV with these columns.
    """
    from radgaze.files import read_csv

    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    return read_csv(path, TRACKER, "docs/reader_study.md says which columns it needs")


def _placements(recorder: Recorder, reader: str) -> pl.DataFrame:
    """Where the image lay on the screen, from each point of time on until another, for the views of a reader.

    Times at which it could not be seen are left out.
    """
    rows, until = [], dict[str, float]()
    for piece in recorder.rows(
        "SELECT view, began, active, hidden, placements FROM pieces JOIN views USING (view) WHERE reader = ? "
        "ORDER BY began, number",
        reader,
    ):
        until[piece["view"]] = piece["began"] + piece["active"] + piece["hidden"]
        for ms, *where in recorder.parsed(piece["placements"]):
            where = where or [None] * (len(PLACEMENT) - 1)
            rows.append((piece["view"], piece["began"], piece["began"] + ms / 1000, *where))
    floats = dict.fromkeys(("began", "at", *PLACEMENT[1:]), pl.Float64)
    table = pl.DataFrame(rows, schema={"view": pl.String, **floats}, orient="row")
    ends = pl.DataFrame(list(until.items()), schema={"view": pl.String, "end": pl.Float64}, orient="row")
    following = pl.col("at").shift(-1).over("view")
    table = table.join(ends, on="view").with_columns(until=pl.min_horizontal(following, "end")).drop("end")
    return table.drop_nulls("scale").join(_views(recorder), on="view").sort("at")


def _views(recorder: Recorder) -> pl.DataFrame:
    """Views of the pages whose cases were answered, with the size of each image."""
    rows = recorder.rows(
        "SELECT v.view, v.reader, v.session, v.place, a.case_id, a.condition, c.rows, c.columns FROM views v "
        "JOIN answers a ON (a.reader, a.session, a.place) = (v.reader, v.session, v.place) "
        "JOIN cases c ON c.case_id = a.case_id"
    )
    texts = ("view", "reader", "case_id", "condition")
    names = ("view", "reader", "session", "place", "case_id", "condition", "rows", "columns")
    schema = {name: pl.String if name in texts else pl.Int64 for name in names}
    return pl.DataFrame([tuple(row) for row in rows], schema=schema, orient="row")


def _with_image(table: pl.DataFrame) -> pl.DataFrame:
    x, y = pl.col("x"), pl.col("y")
    inside = (x >= 0) & (y >= 0) & (x < pl.col("columns")) & (y < pl.col("rows"))
    return table.with_columns(on_image=inside)
