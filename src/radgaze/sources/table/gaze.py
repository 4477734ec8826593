"""Reading of a table of fixations, sorted on disk, since it may be larger than memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from radgaze.console import Bar, note, progress
from radgaze.sources.delimited import is_missing, numbers, read_parts, tell_first
from radgaze.sources.external_sort import GROUP, merged, scratch, slices, spooled
from radgaze.sources.keys import composed
from radgaze.sources.sizes import image_sizes
from radgaze.sources.table.columns import FIXATIONS, chosen_columns, names_images
from radgaze.sources.table.matching import Matcher
from radgaze.sources.table.options import TableOptions
from radgaze.sources.table.units import Fractions, Times, frame_of, scaled, units_of
from radgaze.tables import write_parquet


@dataclass(frozen=True)
class Gaze:
    """The gaze on some cases.

    Attributes:
        readings: `Cohort.readings`, and `seen`: whether a fixation of the reading is on the image.
        fixations: `Cohort.fixations`.
        off: Table of the fixations off the image: reading_id, case_id and index.
        strangers: Rejections of gaze that belongs to no record: reason, key (name of the image) and detail.
    """

    readings: pl.DataFrame
    fixations: pl.LazyFrame
    off: pl.DataFrame
    strangers: pl.DataFrame


def gaze_of(options: TableOptions, sheet: pl.DataFrame, cases: pl.DataFrame) -> Gaze:
    """Read the gaze on cases, in the order of the cases; fixations of a reading are sorted by time.

    The first fixation of a reading has onset 0, wherever it is.

    Args:
        options: File of the fixations, None for no gaze, and the settings of its reading.
        sheet: Table of case_id, name and image (as in the table) of all records.
        cases: Table of case_id and image (a path) of the accepted cases.

    Raises:
        UserError: A file or column is missing, a value is malformed, or no fixation belongs to a record.
    """
    frame = frame_of(options.fixation_frame, "fixation_frame")
    if options.fixations is None:
        return _gaze([pl.DataFrame(schema=_PLACED)], pl.DataFrame(schema=_STRANGERS))
    path = Path(options.fixations)
    columns = chosen_columns(path, "fixation_columns", options.fixation_columns, FIXATIONS, _NEEDED)
    with scratch() as folder:
        fixations = read_fixations(path, columns, options, framed=frame is not None)
        matcher = Matcher(path, sheet, by_image=names_images(columns["case"]))
        ordered = _sorted(fixations, matcher, cases, Path(folder))
        looked_at = cases.with_row_index("case").filter(pl.Series(ordered.counts > 0))
        sizes = looked_at.select("case_id", "case").join(
            image_sizes(looked_at), on="case_id", maintain_order="left"
        )
        every = int(ordered.counts.sum())
        with progress("Sorting fixations", total=every) as bar:
            gaze = _gaze(_by_cases(ordered, sizes, frame, Path(folder), bar), ordered.strangers)
    if 2 * len(gaze.off) > every:
        note(
            f"{path.name}: {len(gaze.off):,} of {every:,} fixations are not on their image; "
            "`fixation_frame` gives the size of the picture that x and y refer to"
        )
    return gaze


def read_fixations(
    path: Path, columns: Mapping[str, str], options: TableOptions, *, framed: bool = False
) -> Iterator[pl.DataFrame]:
    """Read fixations in parts, in the order of the file.

    Args:
        path: CSV or Parquet file.
        columns: Column of each key of `FIXATIONS` that has one.
        options: Units.
        framed: Whether the size of the picture to which positions refer is given, so that positions may be
            fractions.

    Yields:
        Table of key (name of the case), reader (or null), x, y (null where blank), onset, duration (s).

    Raises:
        UserError: A file or column is missing, or a value is malformed; at the end, positions or times cannot
            be in pixels or seconds.
    """
    seconds = units_of(options.fixation_units)
    times, fractions, records = Times(seconds), Fractions(), 0
    case, x, y, onset, duration = (columns[name] for name in _NEEDED)
    reader = pl.col(columns["reader"]) if "reader" in columns else pl.lit(None, pl.String)
    for part in read_parts(path, tuple(dict.fromkeys(columns.values())), archive="a table of fixations"):
        tell_first(part, path, case, pl.col(case).is_null(), "a case expected")
        fixations = numbers(part, path, (onset, duration))
        fixations = numbers(fixations, path, (x, y), blank=True)
        tell_first(fixations, path, duration, pl.col(duration) < 0, "a duration expected")
        fixations = fixations.select(
            key=composed(pl.col(case)),
            reader=pl.when(~is_missing(reader)).then(reader),
            **{name: pl.col(columns[name]) for name in _NEEDED[1:]},
        )
        # Units of 1 are skipped, so that these values are unchanged to the last bit.
        fixations = fixations.with_columns(pl.col(key) * by for key, by in seconds.items() if by != 1)
        times.add(fixations)
        fractions.add(fixations, columns=("x", "y"))
        records += len(fixations)
        yield fixations
    if not records:
        note(f"{path.name} has no records: there is no gaze in it")
    times.check(path)
    if not framed:
        fractions.check(path, "fixation_frame")


@dataclass(frozen=True)
class _Sorted:
    """Fixations in files, each of which is sorted by case.

    Attributes:
        runs: Files with the columns `_READ`.
        counts: Number of fixations of each case.
        strangers: `Gaze.strangers`.
    """

    runs: list[Path]
    counts: NDArray[np.int64]
    strangers: pl.DataFrame


def _sorted(
    fixations: Iterator[pl.DataFrame], matcher: Matcher, cases: pl.DataFrame, folder: Path
) -> _Sorted:
    order = cases.select("case_id", pl.int_range(pl.len(), dtype=pl.UInt32).alias("case"))
    readers: dict[str, str] = {}
    strangers = Counter[str]()
    runs = list[Path]()
    counts = np.zeros(len(cases), np.int64)
    rows = 0
    for part in fixations:
        for name in part["reader"].unique(maintain_order=True).drop_nulls():
            readers.setdefault(name, f"reader-{len(readers) + 1}")
        matched = matcher.matched(part.with_row_index("place", offset=rows))
        rows += len(part)
        unmatched = matched.filter(pl.col("case_id").is_null())
        strangers.update(dict(unmatched.group_by("key", maintain_order=True).len().iter_rows()))
        matched = matched.join(order, on="case_id", maintain_order="left").with_columns(
            reader=pl.col("reader").replace_strict(readers, default=None, return_dtype=pl.String)
        )
        counts += np.bincount(matched["case"], minlength=len(cases))
        runs.append(folder / f"{len(runs)}.parquet")
        write_parquet(matched.select(*_READ).sort("case"), runs[-1], rows=GROUP, lasting=False)
    matcher.check()
    lost = pl.DataFrame(list(strangers.items()), schema={"key": pl.String, "count": pl.Int64}, orient="row")
    rejections = lost.select(
        pl.lit("gaze_without_case").alias("reason"),
        "key",
        pl.format("{} fixations on an image that is not in the table", "count").alias("detail"),
    )
    return _Sorted(runs, counts, rejections)


def _by_cases(
    ordered: _Sorted, sizes: pl.DataFrame, frame: tuple[int, int] | None, folder: Path, bar: Bar
) -> Iterator[pl.DataFrame]:
    """All fixations, in parts that each hold all fixations of some cases."""
    runs = [pl.scan_parquet(run, glob=False) for run in ordered.runs]
    for fixations in whole_cases(slices(merged(runs, "case", folder))):
        yield _placed(fixations.join(sizes, on="case", maintain_order="left"), frame)
        bar.advance(len(fixations))


def whole_cases(parts: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Cut a table that is sorted by `case` where a case ends, so that all rows of a case are in one part.

    Args:
        parts: At least one part, in order.

    Yields:
        At least one part, in order.
    """
    held = list[pl.DataFrame]()
    for part in parts:
        held.append(part)
        if len(part) and (last := part["case"][-1]) != held[0]["case"].first():
            table = pl.concat(held)
            yield table.filter(pl.col("case") != last)
            held = [table.filter(pl.col("case") == last)]
    yield pl.concat(held)


def _placed(fixations: pl.DataFrame, frame: tuple[int, int] | None) -> pl.DataFrame:
    """The fixations of some cases, which have rows and columns of the images, in order and as `_PLACED`."""
    first = pl.col("place").min()
    fixations = (
        scaled(fixations, frame, ("x",), ("y",))
        .with_columns(first=first.over("case", "reader"))
        .sort("case", "first", "onset", "place")
        .with_columns(number=pl.col("first").rank("dense").over("case") - 1)
        .with_columns(reading_id=pl.format("{}/{}", "case_id", "number"))
        .with_columns(
            index=pl.int_range(pl.len()).over("reading_id").cast(pl.Int32),
            # A clock may run over the whole session, or count from 1970, beyond what a float32 keeps.
            onset=pl.col("onset") - pl.col("onset").min().over("reading_id"),
        )
    )
    on = (pl.col("x") >= 0) & (pl.col("y") >= 0)
    # Without a readable header the edges are unknown; such an image will not be in a store.
    on &= (pl.col("x") <= pl.col("columns")).fill_null(True) & (pl.col("y") <= pl.col("rows")).fill_null(True)
    return fixations.with_columns(on=on.fill_null(False)).select(*_PLACED)


def _gaze(parts: Iterable[pl.DataFrame], strangers: pl.DataFrame) -> Gaze:
    readings, off = list[pl.DataFrame](), list[pl.DataFrame]()
    end = pl.col("onset") + pl.col("duration")

    def on_image() -> Iterator[pl.DataFrame]:
        for placed in parts:
            readings.append(
                placed.group_by("reading_id", maintain_order=True).agg(
                    pl.col("case_id", "reader").first(),
                    pl.len().cast(pl.Int32).alias("recorded"),
                    (end.max() - pl.col("onset").min()).alias("duration"),
                    pl.col("on").any().alias("seen"),
                )
            )
            off.append(placed.filter(~pl.col("on")).select("reading_id", "case_id", "index"))
            yield placed.filter("on").select("reading_id", "index", "x", "y", "onset", "duration")

    fixations = spooled(on_image())
    return Gaze(pl.concat(readings), fixations, pl.concat(off), strangers)


_NEEDED = ("case", "x", "y", "onset", "duration")
_FIXATION = dict.fromkeys(("x", "y", "onset", "duration"), pl.Float64)
_READ = {"case": pl.UInt32, "place": pl.UInt32, "reader": pl.String, **_FIXATION}
_PLACED = {
    "reading_id": pl.String,
    "case_id": pl.String,
    "reader": pl.String,
    "index": pl.Int32,
    **_FIXATION,
    "on": pl.Boolean,
}
_STRANGERS = dict.fromkeys(("reason", "key", "detail"), pl.String)
