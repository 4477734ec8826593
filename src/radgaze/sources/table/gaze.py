"""A table of fixations to readings, sorted on disk: it may be larger than memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from radgaze.console import Bar, progress, say
from radgaze.sources.external_sort import ROWS, scratch, spooled
from radgaze.sources.keys import respelled
from radgaze.sources.sizes import image_sizes
from radgaze.sources.table.files import cases_by_key, nothing_belongs, read_fixations, tell_respelled
from radgaze.sources.table.frame import frame_of, scaled
from radgaze.tables import write_parquet


@dataclass(frozen=True)
class Gaze:
    """The gaze on some cases.

    Attributes:
        readings: As `Cohort.readings`, and `seen`: whether a fixation of it is on the image.
        fixations: As `Cohort.fixations`.
        off: reading_id, case_id and index of the fixations off the image.
        strangers: reason, key (what names the image) and detail of the rejections of what is of no record.
    """

    readings: pl.DataFrame
    fixations: pl.LazyFrame
    off: pl.DataFrame
    strangers: pl.DataFrame


def gaze_of(
    path: str | Path | None,
    columns: Sequence[str],
    frame: str | None,
    sheet: pl.DataFrame,
    cases: pl.DataFrame,
    units: Sequence[str] = (),
) -> Gaze:
    """The readings of cases, in their order; a reading's fixations are in time.

    Args:
        path: CSV or Parquet, see `read_fixations`; None if there is no gaze.
        columns: KEY=COLUMN where names do not tell.
        frame: "WIDTHxHEIGHT" of the picture that positions refer to, if it is not the image.
        sheet: case_id, name and image (as the table has it) of all records.
        cases: case_id and image (a path) of those that are kept.
        units: KEY=UNIT of times, see `read_fixations`.

    Raises:
        UserError: A missing file or column, a value that is none, or nothing belongs to a record.
    """
    picture = frame_of(frame, "--fixation-frame")
    if path is None:
        return _gaze([pl.DataFrame(schema=_PLACED)], pl.DataFrame(schema=_STRANGERS))
    with scratch() as folder:
        looks = read_fixations(Path(path), columns, units, framed=picture is not None)
        read = _sorted(Path(path), looks, sheet, cases, Path(folder))
        looked = cases.with_row_index("case").filter(pl.Series(read.counts > 0))
        sizes = looked.select("case_id", "case").join(
            image_sizes(looked), on="case_id", maintain_order="left"
        )
        with progress("Sorting fixations", total=int(read.counts.sum())) as bar:
            gaze = _gaze(_by_cases(read, sizes, picture, bar), read.strangers)
    if 2 * len(gaze.off) > (every := int(read.counts.sum())):
        say(
            f"{Path(path).name}: {len(gaze.off):,} of {every:,} fixations are not on their image; "
            "--fixation-frame gives the size of the picture that x and y refer to"
        )
    return gaze


@dataclass(frozen=True)
class _Read:
    """Files of fixations, `_READ`, each in the order of the cases; and how many there are of each case."""

    runs: list[Path]
    counts: NDArray[np.int64]
    strangers: pl.DataFrame


def _sorted(
    path: Path, looks: Iterator[pl.DataFrame], sheet: pl.DataFrame, cases: pl.DataFrame, folder: Path
) -> _Read:
    order = cases.select("case_id", pl.int_range(pl.len(), dtype=pl.UInt32).alias("case"))
    known = cases_by_key(sheet).join(order, on="case_id", how="left", maintain_order="left")
    readers: dict[str, str] = {}
    strangers = Counter[str]()
    runs = list[Path]()
    counts = np.zeros(len(cases), np.int64)
    first, rows, other = None, 0, 0
    for part in looks:
        first = first or next(iter(part["key"]), None)
        if spelled := respelled(part["key"], known):
            other += int(part["key"].is_in(list(spelled)).sum())
            part = part.with_columns(pl.col("key").replace(spelled))
        for name in part["reader"].unique(maintain_order=True).drop_nulls():
            readers.setdefault(name, f"reader-{len(readers) + 1}")
        named = part.with_row_index("place", offset=rows).join(
            known, on="key", how="left", maintain_order="left"
        )
        rows += len(part)
        lost = named.filter(pl.col("case_id").is_null())
        strangers.update(dict(lost.group_by("key", maintain_order=True).len().iter_rows()))
        own = named.filter(pl.col("case").is_not_null()).with_columns(
            reader=pl.col("reader").replace_strict(readers, default=None, return_dtype=pl.String)
        )
        counts += np.bincount(own["case"], minlength=len(cases))
        runs.append(folder / f"{len(runs)}.parquet")
        # In small groups, of which a range of cases is in few.
        write_parquet(own.select(*_READ).sort("case"), runs[-1], rows=max(1, ROWS // 16), lasting=False)
    if other:
        tell_respelled(path, other)
    if first is not None and strangers.total() == rows:
        raise nothing_belongs(path, first, sheet)
    lost = pl.DataFrame(list(strangers.items()), schema={"key": pl.String, "looks": pl.Int64}, orient="row")
    told = lost.select(
        pl.lit("gaze_without_case").alias("reason"),
        "key",
        pl.format("{} fixations on an image that is not in the table", "looks").alias("detail"),
    )
    return _Read(runs, counts, told)


def _by_cases(
    read: _Read, sizes: pl.DataFrame, picture: tuple[int, int] | None, bar: Bar
) -> Iterator[pl.DataFrame]:
    """All fixations, those of some cases after those of others."""
    runs = pl.scan_parquet(read.runs, glob=False)
    parts = (np.cumsum(read.counts) - read.counts) // ROWS
    for part in np.unique(parts[read.counts > 0]) if read.counts.any() else (0,):
        (own,) = np.nonzero(parts == part)
        found = runs.filter(pl.col("case").is_between(own[0], own[-1])).collect()
        yield _placed(found.join(sizes, on="case", maintain_order="left"), picture)
        bar.advance(len(found))


def _placed(own: pl.DataFrame, picture: tuple[int, int] | None) -> pl.DataFrame:
    """All fixations of some cases, with rows and columns of the images, in order and as `_PLACED`."""
    first = pl.col("place").min()
    own = (
        scaled(own, picture, ("x",), ("y",))
        .with_columns(first=first.over("case", "reader"))
        .sort("case", "first", "onset", "place")
        .with_columns(number=pl.col("first").rank("dense").over("case") - 1)
        .with_columns(reading_id=pl.format("{}/{}", "case_id", "number"))
        .with_columns(index=pl.int_range(pl.len()).over("reading_id").cast(pl.Int32))
    )
    on = (pl.col("x") >= 0) & (pl.col("y") >= 0)
    # A header that cannot be read leaves no edges; its image will not be in a store either.
    on &= (pl.col("x") <= pl.col("columns")).fill_null(True) & (pl.col("y") <= pl.col("rows")).fill_null(True)
    return own.with_columns(on=on.fill_null(False)).select(*_PLACED)


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


_LOOK = dict.fromkeys(("x", "y", "onset", "duration"), pl.Float64)
_READ = {"case": pl.UInt32, "place": pl.UInt32, "reader": pl.String, **_LOOK}
_PLACED = {
    "reading_id": pl.String,
    "case_id": pl.String,
    "reader": pl.String,
    "index": pl.Int32,
    **_LOOK,
    "on": pl.Boolean,
}
_STRANGERS = dict.fromkeys(("reason", "key", "detail"), pl.String)
