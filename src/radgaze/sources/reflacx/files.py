"""Reading of the files of REFLACX 1.0.0 as typed tables with the column names of this package."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import polars as pl

from radgaze.console import note, progress
from radgaze.errors import UserError
from radgaze.sources.delimited import column_names, numbers, read_columns, tell_first
from radgaze.sources.dictation.transcript import Word
from radgaze.sources.streaming import LINE
from radgaze.words import listed

Schema = Mapping[str, type[pl.DataType]]

ARCHIVE = "REFLACX 1.0.0"
MAIN = "main_data"
PHASES = (1, 2, 3)
SPLITS = {"train": "train", "validate": "validate", "validation": "validate", "test": "test"}

ABOUT = (
    "id",
    "split",
    "eye_tracking_data_discarded",
    "image",
    "dicom_id",
    "subject_id",
    "image_size_x",
    "image_size_y",
)
NO_FINDINGS = frozenset({"support devices", "quality issue", "other"})
"""Columns of labels that hold no certainty: two hold true or false, one holds text."""
TRUE, FALSE = ("true", "1", "1.0"), ("false", "0", "0.0", "")

SHOWN = {
    "angular_resolution_x_pixels_per_degree": "degree_x",
    "angular_resolution_y_pixels_per_degree": "degree_y",
    "xmin_shown_from_image": "shown_x1",
    "ymin_shown_from_image": "shown_y1",
    "xmax_shown_from_image": "shown_x2",
    "ymax_shown_from_image": "shown_y2",
}


def locate(reflacx: str | Path, mimic: str | Path) -> tuple[Path, Path]:
    """Return both folders as absolute paths.

    Args:
        reflacx: Folder of REFLACX.
        mimic: Folder of MIMIC-CXR.

    Raises:
        UserError: A folder is not that of its archive.
    """
    reflacx, mimic = Path(reflacx).absolute(), Path(mimic).absolute()
    for name, folder, fits, archive in (
        ("reflacx", reflacx, _has_metadata(reflacx), f"{ARCHIVE}, which has {MAIN}/metadata_phase_1.csv"),
        ("mimic", mimic, (mimic / "files").is_dir(), "MIMIC-CXR 2.0.0, which has files/p10 … files/p19"),
    ):
        if not folder.is_dir():
            raise UserError(f"`{name}={folder}` must be the folder of {archive}; it is not a folder")
        if not fits:
            raise UserError(f"`{name}={folder}` is not the folder of {archive}")
    return reflacx, mimic


def read_metadata(folder: Path, phases: Sequence[int]) -> pl.DataFrame:
    """Read the metadata of the readings of some phases.

    Args:
        folder: Folder of REFLACX.
        phases: Numbers of the phases.

    Returns:
        Table of reading_id, phase, split, discarded, path (from `files/` on), dicom_id, subject_id, rows,
        columns, and for each finding of these phases a certainty from 0 to 5, which is null in phases
        that do not have the finding.

    Raises:
        UserError: A phase, file or column is missing, a value is malformed, or a reading occurs twice.
    """
    present = [phase for phase in (1, 2, 3) if _metadata(folder, phase).is_file()]
    missing = [str(phase) for phase in phases if phase not in present]
    if present and missing:
        phase = f"phase{'s' * (len(missing) > 1)} {listed(missing)}"
        raise UserError(
            f"{folder / MAIN} has no readings of {phase}; read what it has with `phases={present}`"
        )
    table = pl.concat([_read_phase(folder, phase) for phase in phases], how="diagonal")
    repeated = table.filter(pl.col("reading_id").is_duplicated())
    if repeated.height:
        raise UserError(f"{folder / MAIN}: the reading {repeated['reading_id'][0]} occurs twice")
    return table


def findings(table: pl.DataFrame) -> list[str]:
    """Return the columns of a table from `read_metadata`, with or without `image`, that are findings."""
    about = {"reading_id", "phase", "split", "discarded", "path", "image", "dicom_id", "subject_id"}
    return [name for name in table.columns if name not in about | {"rows", "columns"}]


def read_gaze(folder: Path, reading_ids: Sequence[str]) -> pl.DataFrame:
    """Read the fixations of readings, and report how many readings have none.

    Returns:
        Table in the order of the readings and of time: reading_id, x, y (image px, null where blank), onset,
        duration (s) and `cohort.VIEWS` (null where blank).

    Raises:
        UserError: A column is missing, or a value is malformed.
    """
    gaze = _read_each(folder, reading_ids, "fixations.csv", _fixations, _FIXATIONS)
    missing = len(set(reading_ids)) - gaze["reading_id"].n_unique()
    if missing:
        note(f"{missing} of {len(set(reading_ids))} readings have no fixations.csv, or one without records")
    return gaze


def read_ellipses(folder: Path, reading_ids: Sequence[str]) -> pl.DataFrame:
    """Read the ellipses of readings, a row for each of their findings.

    Returns:
        Table of reading_id, x1, y1, x2, y2 (image px), certainty and label.

    Raises:
        UserError: A column is missing, or a value is malformed.
    """
    return _read_each(folder, reading_ids, "anomaly_location_ellipses.csv", _ellipses, _ELLIPSES)


def read_chests(folder: Path, reading_ids: Sequence[str]) -> pl.DataFrame:
    """Read the box around the chest in each reading.

    Returns:
        Table of reading_id, x1, y1, x2, y2 (image px).

    Raises:
        UserError: A column is missing, or a value is malformed.
    """
    return _read_each(folder, reading_ids, "chest_bounding_box.csv", _chest, _CHESTS)


def read_words(folder: Path, reading_id: str) -> list[Word] | None:
    """Read the words of a reading's report, with punctuation, in their order; None without the file.

    A word that the transcription has no times for is left out.

    Raises:
        UserError: A column is missing, or a time is no number.
    """
    path = folder / MAIN / reading_id / "timestamps_transcription.csv"
    if not path.is_file():
        return None
    start, end = "timestamp_start_word", "timestamp_end_word"
    # Marks such as "." and "-" are words here, and blank in other columns.
    table = numbers(read_columns(path, ("word", start, end), archive=ARCHIVE), path, (start, end), blank=True)
    tell_first(table, path, end, pl.col(end) < pl.col(start), "an end after its start expected")
    table = table.drop_nulls(("word", start, end))
    return [Word(*row) for row in table.select("word", start, end).iter_rows()]


_FIXATIONS: Schema = {
    "reading_id": pl.String,
    **dict.fromkeys(("x", "y", "onset", "duration", *SHOWN.values()), pl.Float64),
}
_ELLIPSES: Schema = {
    "reading_id": pl.String,
    **dict.fromkeys(("x1", "y1", "x2", "y2", "certainty"), pl.Float64),
    "label": pl.String,
}
_CHESTS: Schema = {"reading_id": pl.String, **dict.fromkeys(("x1", "y1", "x2", "y2"), pl.Float64)}
_CORNERS = {"xmin": "x1", "ymin": "y1", "xmax": "x2", "ymax": "y2"}


def _metadata(folder: Path, phase: int) -> Path:
    return folder / MAIN / f"metadata_phase_{phase}.csv"


def _read_phase(folder: Path, phase: int) -> pl.DataFrame:
    path = _metadata(folder, phase)
    names = column_names(path) if path.is_file() else []
    labels = [n for n in names if n not in ABOUT and plain(n) not in NO_FINDINGS]
    table = read_columns(path, (*ABOUT, *labels), archive=ARCHIVE)
    for name in ("id", "dicom_id", "subject_id", "image"):
        tell_first(table, path, name, pl.col(name).is_null(), "a value expected")
    table = numbers(table, path, ("image_size_x", "image_size_y"))
    table = numbers(_true_as_certain(table, labels), path, labels, blank=True)
    for name in labels:
        tell_first(table, path, name, ~pl.col(name).is_between(0, 5), "a certainty from 0 to 5 expected")
    tell_first(table, path, "split", ~_lower("split").is_in(list(SPLITS)), "train, validate or test expected")
    discarded = _lower("eye_tracking_data_discarded")
    odd = ~discarded.is_in([*TRUE, *FALSE])
    tell_first(table, path, "eye_tracking_data_discarded", odd, "true or false expected")
    return table.select(
        pl.col("id").alias("reading_id"),
        pl.lit(phase).alias("phase"),
        _lower("split").replace_strict(SPLITS, return_dtype=pl.String).alias("split"),
        discarded.is_in(TRUE).alias("discarded"),
        # physionet.org/files/mimic-cxr/2.0.0/files/p10/…: only the part below the images' folder is kept.
        pl.col("image").str.replace(r"^.*?(files/p\d\d/)", "${1}").alias("path"),
        "dicom_id",
        "subject_id",
        pl.col("image_size_y").cast(pl.Int64).alias("rows"),
        pl.col("image_size_x").cast(pl.Int64).alias("columns"),
        *(pl.col(name).fill_null(0).alias(plain(name)) for name in labels),
    )


def plain(name: str) -> str:
    """Normalise the name of a finding, which files spell differently, to lower case and single spaces."""
    return " ".join(name.replace("_", " ").replace("/", " / ").casefold().split())


def _true_as_certain(table: pl.DataFrame, labels: Sequence[str]) -> pl.DataFrame:
    """The table with "true" as certainty 5 and "false" as 0, where a finding is not given as a number."""
    words = {"true": "5", "false": "0"}
    return table.with_columns(pl.col(name).str.to_lowercase().replace(words) for name in labels)


def _lower(name: str) -> pl.Expr:
    return pl.col(name).fill_null("").str.to_lowercase()


def _read_each(
    folder: Path,
    reading_ids: Sequence[str],
    file: str,
    read: Callable[[Path], pl.DataFrame],
    schema: Schema,
) -> pl.DataFrame:
    parts = [pl.DataFrame(schema=schema)]
    with progress(f"Reading {file}", total=len(reading_ids)) as bar:
        for reading_id in reading_ids:
            path = folder / MAIN / reading_id / file
            if path.is_file():
                parts.append(read(path).with_columns(reading_id=pl.lit(reading_id)).select(schema.keys()))
            bar.advance()
    return pl.concat(parts)


def _fixations(path: Path) -> pl.DataFrame:
    start, end = "timestamp_start_fixation", "timestamp_end_fixation"
    names = (start, end, "x_position", "y_position", *SHOWN)
    table = read_columns(path, names, archive=ARCHIVE)
    table = numbers(table, path, (start, end))
    table = numbers(table, path, names[2:], blank=True)
    tell_first(table, path, end, pl.col(end) < pl.col(start), "an end after its start expected")
    return table.sort(start, maintain_order=True).select(
        pl.col("x_position").alias("x"),
        pl.col("y_position").alias("y"),
        pl.col(start).alias("onset"),
        (pl.col(end) - pl.col(start)).alias("duration"),
        *(pl.col(old).alias(new) for old, new in SHOWN.items()),
    )


def _ellipses(path: Path) -> pl.DataFrame:
    about = (*_CORNERS, "certainty")
    labels = [name for name in column_names(path) if name not in about]
    table = numbers(read_columns(path, (*about, *labels), archive=ARCHIVE), path, about)
    marked = [
        table.filter(_lower(name).is_in(TRUE)).select(
            *(pl.col(old).alias(new) for old, new in _CORNERS.items()),
            "certainty",
            pl.lit(plain(name)).alias("label"),
            LINE,
        )
        for name in labels
        if plain(name) not in NO_FINDINGS
    ]
    if not marked:
        return pl.DataFrame(schema={name: kind for name, kind in _ELLIPSES.items() if name != "reading_id"})
    return pl.concat(marked).sort(LINE, maintain_order=True).drop(LINE)


def _chest(path: Path) -> pl.DataFrame:
    table = numbers(read_columns(path, tuple(_CORNERS), archive=ARCHIVE), path, tuple(_CORNERS))
    return table.select(pl.col(old).alias(new) for old, new in _CORNERS.items())


def _has_metadata(folder: Path) -> bool:
    return any((folder / MAIN / f"metadata_phase_{phase}.csv").is_file() for phase in PHASES)
