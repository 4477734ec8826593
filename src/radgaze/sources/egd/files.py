"""Reading of the files of `egd-cxr` 1.0.0 as typed tables with the column names of this package."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from radgaze.console import note
from radgaze.errors import UserError, shortened
from radgaze.sources.contents import NO_REGIONS, NO_TWINS, SPLITS
from radgaze.sources.delimited import numbers, read_columns, read_parts, tell_first
from radgaze.sources.streaming import LINE

CLASSES = ("Normal", "CHF", "pneumonia")
ARCHIVE = "egd-cxr 1.0.0"
SHEET, FIXATIONS, BOXES = "master_sheet.csv", "fixations.csv", "bounding_boxes.csv"
SAMPLES = "eye_gaze.csv"
SPLIT, TWINS = "split.csv", "twins.csv"
"""Files that only simulated archives may have: the split of each patient, and twins of images."""
TRANSCRIPTS = "audio_segmentation_transcripts"
"""Name of the folder that holds, for each image, a transcript of the report and masks of organs."""

ID_LENGTH = 44
"""Number of characters of an image's id. Calibration frames have the first 39 characters of a real id, so ids
must not be matched by their beginning."""


MASKS = {
    "left_lung.png": "left lung",
    "right_lung.png": "right lung",
    "mediastanum.png": "mediastinum",  # the archive's spelling
    "aortic_knob.png": "aortic knob",
}
"""Files of an image's anatomical segmentation, and their labels."""


def locate(egd: str | Path, mimic: str | Path) -> tuple[Path, Path]:
    """Return both folders as absolute paths.

    Args:
        egd: Folder of egd-cxr.
        mimic: Folder of MIMIC-CXR.

    Raises:
        UserError: A folder is not that of its archive.
    """
    egd, mimic = Path(egd).absolute(), Path(mimic).absolute()
    if not _is_egd(egd) and _is_egd(mimic):
        raise UserError(f"`egd` and `mimic` look swapped: {SHEET} is in {mimic}")
    for name, folder, fits, archive in (
        ("egd", egd, _is_egd, f"{ARCHIVE}, which has {SHEET}"),
        ("mimic", mimic, _is_mimic, "MIMIC-CXR 2.0.0, which has files/p10 … files/p19"),
    ):
        if not folder.is_dir():
            raise UserError(f"`{name}={folder}` must be the folder of {archive}; it is not a folder")
        if not fits(folder):
            near = _near(folder, fits)
            hint = f"; did you mean {near}?" if near else ""
            raise UserError(f"`{name}={folder}` is not the folder of {archive}{hint}")
    return egd, mimic


def read_sheet(folder: Path, *, pads: Sequence[str] = ()) -> pl.DataFrame:
    """Read master_sheet.csv.

    Args:
        folder: Folder of egd-cxr.
        pads: Borders to read, of "top", "bottom", "left" and "right": width of the border around the image in
            the picture that was shown, in pixels of the picture.

    Returns:
        Table in the order of the file: case_id, path (or null), patient_id (of the source), patient (a key
        counted from 0), Normal, CHF, pneumonia (numbers or null), `LINE`; and a column for each of `pads`.

    Raises:
        UserError: The file is missing or empty, or a value is malformed.
    """
    path = folder / SHEET
    names = {"dicom_id": "case_id", "path": "path", "patient_id": "patient_id"}
    borders = {f"image_{side}_pad": side for side in pads}
    sheet = read_columns(path, (*names, *CLASSES, *borders), archive=ARCHIVE)
    if sheet.is_empty():
        raise UserError(f"{path} has no records; that of {ARCHIVE} has 1,083")
    for name in ("dicom_id", "patient_id"):
        tell_first(sheet, path, name, pl.col(name).is_null(), "an id expected")
    sheet = numbers(sheet, path, CLASSES, blank=True)
    sheet = numbers(sheet, path, tuple(borders))
    patients = {patient: key for key, patient in enumerate(dict.fromkeys(sheet["patient_id"]))}
    return sheet.rename(names | borders).with_columns(
        patient=pl.col("patient_id").replace_strict(patients, return_dtype=pl.Int32)
    )


def read_gaze(folder: Path) -> pl.DataFrame:
    """Read fixations.csv.

    Returns:
        Table in the order of the file: place (number of the row), session, media, case_id (as in the file, ""
        where blank), count, screen_x, screen_y (share of the screen, null where blank), onset, duration (s),
        recorded_x, recorded_y (image px, null where blank).

    Raises:
        UserError: The file is missing, or a value is malformed.
    """
    path = folder / FIXATIONS
    names = {
        "SESSION_ID": "session",
        "MEDIA_ID": "media",
        "DICOM_ID": "case_id",
        "CNT": "count",
        "FPOGX": "screen_x",
        "FPOGY": "screen_y",
        "FPOGS": "onset",
        "FPOGD": "duration",
        "X_ORIGINAL": "recorded_x",
        "Y_ORIGINAL": "recorded_y",
    }
    gaze = read_columns(path, tuple(names), archive=ARCHIVE)
    _tell_empty(gaze, path, "gaze")
    gaze = numbers(gaze, path, ("CNT", "FPOGS", "FPOGD"))
    gaze = numbers(gaze, path, ("FPOGX", "FPOGY", "X_ORIGINAL", "Y_ORIGINAL"), blank=True)
    tell_first(gaze, path, "FPOGD", pl.col("FPOGD") < 0, "a duration expected")
    gaze = gaze.with_columns(pl.col("SESSION_ID", "MEDIA_ID", "DICOM_ID").fill_null(""))
    return gaze.select(pl.col(old).alias(new) for old, new in names.items()).with_row_index("place")


def read_samples(folder: Path) -> pl.DataFrame:
    """Read eye_gaze.csv, 1.5 million samples, in parts.

    Positions are those of the best point of gaze (BPOG), which the tracker has not filtered. Samples without
    a time are left out, with a notice.

    Returns:
        Table in the order of the file: place (number of the row), session, media, case_id ("" where blank),
        count, time (s), screen_x, screen_y (share of the screen), and valid.

    Raises:
        UserError: The file is missing, or a value is malformed.
    """
    path = folder / SAMPLES
    names = {
        "SESSION_ID": "session",
        "MEDIA_ID": "media",
        "DICOM_ID": "case_id",
        "CNT": "count",
        "Time (in secs)": "time",
        "BPOGX": "screen_x",
        "BPOGY": "screen_y",
        "BPOGV": "valid",
    }
    finite = pl.col("screen_x").is_finite() & pl.col("screen_y").is_finite()
    samples = []
    for part in read_parts(path, tuple(names), archive=ARCHIVE):
        for name in ("CNT", "Time (in secs)", "BPOGX", "BPOGY", "BPOGV"):
            number = pl.col(name).cast(pl.Float64, strict=False)  # which may be infinite
            tell_first(part, path, name, number.is_null() & pl.col(name).is_not_null(), "a number expected")
            part = part.with_columns(number)
        renamed = part.select(pl.col(old).alias(new) for old, new in names.items())
        samples.append(
            renamed.with_columns(
                pl.col("session", "media", "case_id").fill_null(""),
                valid=((pl.col("valid") > 0) & finite).fill_null(False),
            )
        )
    _tell_empty(samples[0], path, "gaze")
    every = pl.concat(samples).with_row_index("place")
    timed = every.filter(pl.col("time").is_finite())
    if untimed := len(every) - len(timed):
        note(f"{path.name}: {untimed:,} of {len(every):,} samples have no time, and are left out")
    return timed


def read_boxes(folder: Path) -> pl.DataFrame:
    """Read bounding_boxes.csv as case_id (null where blank), label, x1, y1, x2, y2 (image px) and `LINE`.

    A missing file is reported, and the table is then empty.

    Raises:
        UserError: A value is malformed.
    """
    path = folder / BOXES
    sides = ("x1", "y1", "x2", "y2")
    if not path.is_file():
        note(f"{path} is missing: the store will hold no boxes")
        texts = dict.fromkeys(("case_id", "label"), pl.String)
        return pl.DataFrame(schema={**texts, **dict.fromkeys(sides, pl.Float64), LINE: pl.Int64})
    boxes = read_columns(path, ("dicom_id", "bbox_name", *sides), archive=ARCHIVE)
    _tell_empty(boxes, path, "boxes")
    boxes = numbers(boxes, path, sides)
    tell_first(boxes, path, "bbox_name", pl.col("bbox_name").is_null(), "a name expected")
    return boxes.select(pl.col("dicom_id").alias("case_id"), pl.col("bbox_name").alias("label"), *sides, LINE)


def read_split(folder: Path, patients: Sequence[str]) -> dict[str, str] | None:
    """Read split.csv, the split of each patient; None where there is no such file.

    Args:
        folder: Folder of egd-cxr.
        patients: Ids of the patients in the master sheet.

    Raises:
        UserError: A value is malformed, or a patient is missing.
    """
    path = folder / SPLIT
    if not path.is_file():
        return None
    table = read_columns(path, ("patient_id", "split"), archive="a simulated archive")
    wrong = ~pl.col("split").is_in(SPLITS).fill_null(False)
    tell_first(table, path, "split", wrong, f"{', '.join(SPLITS)} expected")
    split_of = dict(table.select("patient_id", "split").iter_rows())
    missing = sum(patient not in split_of for patient in set(patients))
    if missing:
        raise UserError(f"{path} has no split of {missing} patients of {SHEET}; simulate the archive again")
    return split_of


def read_twins(folder: Path, mimic: Path) -> pl.DataFrame:
    """Read twins.csv as a table with the columns of `Cohort.twins`; empty where there is no such file.

    Args:
        folder: Folder of egd-cxr.
        mimic: Folder of MIMIC-CXR, which has the images.

    Raises:
        UserError: A value is malformed.
    """
    path = folder / TWINS
    if not path.is_file():
        return pl.DataFrame(schema=NO_TWINS)
    names = ("dicom_id", "twin_of", "path", "confounder", "shows", "original_shows")
    table = read_columns(path, names, archive="a simulated archive")
    for name in names[:3]:
        tell_first(table, path, name, pl.col(name).is_null(), "a value expected")
    for name in names[4:]:
        wrong = ~pl.col(name).is_in(CLASSES).fill_null(True)
        tell_first(table, path, name, wrong, f"{', '.join(CLASSES)} or nothing expected")
    table = table.rename({"dicom_id": "case_id"}).with_columns(image=pl.lit(f"{mimic}/") + pl.col("path"))
    tell_first(table, path, "dicom_id", pl.col("case_id").is_duplicated(), "an id for each twin expected")
    return table.select(*NO_TWINS)


def read_masks(folder: Path, cases: pl.DataFrame) -> pl.DataFrame:
    """List the masks that exist, and report if there are none.

    Args:
        folder: Folder of egd-cxr.
        cases: Table with case_id.

    Returns:
        Table in the order of the cases: case_id, label, file.
    """
    rows = [
        (case_id, label, str(path))
        for case_id in cases["case_id"]
        for name, label in MASKS.items()
        if (path := folder / TRANSCRIPTS / case_id / name).is_file()
    ]
    if not rows and cases.height:
        note(f"No masks of organs are under {folder / TRANSCRIPTS}: the store will hold none")
    return pl.DataFrame(rows, schema=NO_REGIONS, orient="row")


def read_keep_list(path: Path, sheet_ids: set[str]) -> set[str]:
    """Read a list of ids to keep; values of its column `filename` may include a folder and an extension.

    Args:
        path: CSV file with the list.
        sheet_ids: Ids of the master sheet; the number of listed ids that are not among them is reported.

    Raises:
        UserError: The list is missing or empty, or none of its ids is in the master sheet.
    """
    names = read_columns(path, ("filename",), archive="a list of ids to keep")["filename"].drop_nulls()
    if names.is_empty():
        raise UserError(f"`keep_ids={path}` has no ids: it would keep nothing")
    spellings = {name.casefold(): name for name in sheet_ids}
    listed = dict.fromkeys(names.str.replace(r"^.*[/\\]", "").str.replace(r"\..*$", ""))
    ids = {spellings.get(name.casefold(), name) for name in listed}
    strangers = ids - sheet_ids
    if len(strangers) == len(ids):
        raise UserError(
            f"none of the {len(ids)} ids of `keep_ids={path}` is in {SHEET}: they are like "
            f"{shortened(next(iter(listed)), 60)!r}, those of {SHEET} like {min(sheet_ids, default='')!r}"
        )
    if strangers:
        note(f"{len(strangers)} of the {len(ids)} ids of {path} are not in {SHEET}")
    return ids


def _tell_empty(table: pl.DataFrame, path: Path, content: str) -> None:
    if table.is_empty():
        note(f"{path} has no records: there is no {content} in it")


def _is_egd(folder: Path) -> bool:
    return (folder / SHEET).is_file()


def _is_mimic(folder: Path) -> bool:
    return any(path.is_dir() for path in folder.glob("files/p[0-9][0-9]"))


def _near(folder: Path, fits: Callable[[Path], bool], *, depth: int = 4, most: int = 300) -> Path | None:
    """A folder above or below that fits; only the nearest `most` are checked, since MIMIC has many."""
    for above in list(folder.parents)[:2]:
        if fits(above):
            return above
    waiting, seen = deque([(folder, 0)]), 0
    while waiting and seen < most:
        folder, level = waiting.popleft()
        seen += 1
        if fits(folder):
            return folder
        if level < depth:
            try:
                waiting.extend((path, level + 1) for path in sorted(folder.iterdir()) if path.is_dir())
            except OSError:
                continue
    return None
