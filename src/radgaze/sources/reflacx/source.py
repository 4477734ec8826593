"""REFLACX 1.0.0 (Bigolin Lanfredi et al. 2022) over MIMIC-CXR 2.0.0, read unchanged."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from radgaze.console import note
from radgaze.errors import UserError
from radgaze.options import option
from radgaze.sources.cohort import Cohort
from radgaze.sources.contents import NO_MENTIONS, VIEWS
from radgaze.sources.dictation.options import AlignOptions
from radgaze.sources.dictation.reports import aligned, phrases_of
from radgaze.sources.reflacx.files import (
    MAIN,
    findings,
    locate,
    plain,
    read_chests,
    read_ellipses,
    read_gaze,
    read_metadata,
    read_words,
)
from radgaze.sources.sizes import image_sizes
from radgaze.sources.source import Source

CHEST = "chest"
JOINED = {
    "mass": "lung nodule or mass",
    "nodule": "lung nodule or mass",
    "pleural effusion": "pleural abnormality",
    "pleural thickening": "pleural abnormality",
}
"""Findings that phase 1 distinguishes, and the joint finding of phases 2 and 3; inferred from the names."""
STRICTEST = ("test", "validate", "train")


@dataclass(frozen=True)
class ReflacxOptions(AlignOptions):
    """Options of the source `reflacx`.

    Attributes:
        reflacx: Folder of REFLACX 1.0.0, with main_data.
        mimic: Folder of MIMIC-CXR 2.0.0, with files/p10 and so on.
        phases: Phases of the study to read. They name findings differently: findings that only phase 1
            distinguishes are joined, and then only findings that all of these phases have can be classes.
        certainty: Minimum certainty, 1 to 5, at which a finding or an ellipse counts as present; 3 is
            "possibly".
        labels: Findings to use as classes; without it all that the phases share and at least one case has.
        without_gaze: Whether cases without a fixation on the image are dropped or kept.
    """

    reflacx: str | Path = option(metavar="DIR")
    mimic: str | Path = option(metavar="DIR")
    phases: Sequence[Literal[1, 2, 3]] = (1, 2, 3)
    certainty: int = option(3, at_least=1, at_most=5)
    labels: Sequence[str] = ()
    without_gaze: Literal["drop", "keep"] = "drop"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.phases:
            raise UserError("`phases` must name at least one of 1, 2, 3")


def read(options: ReflacxOptions) -> Cohort:
    """Read the downloaded archives as a cohort, whose rejections list everything that is left out.

    A case is one image with its readings of all phases; a reading is the gaze of one reader. The archive does
    not name readers, but the readings of a case are by different readers. A case has a finding if at least
    half of its readers state at least `certainty`; it may have several findings, or none. Ellipses are boxes
    of the shape "ellipse", named after their finding; the chest is a box. The gaze of discarded readings is
    left out, but their labels and ellipses are used.

    The split is that of the archive, which is that of MIMIC-CXR-JPG. A patient in several splits is assigned
    to one, test before validation before training; the number of such patients is reported.

    Args:
        options: Folders and settings.

    Raises:
        UserError: A folder is not that of its archive, a file, a column or all images are missing, or a value
            is malformed.
    """
    reflacx, mimic = locate(options.reflacx, options.mimic)
    table = _joined(read_metadata(reflacx, sorted(set(options.phases))))
    table = table.with_columns(image=pl.lit(f"{mimic}/") + pl.col("path"))
    cases, rejected_cases = _cases(table)
    if cases.is_empty():
        raise _without_images(rejected_cases, table, reflacx, mimic)
    table = table.join(cases.select("dicom_id"), on="dicom_id", how="semi", maintain_order="left")
    accepted = table.filter(~pl.col("discarded"))
    fixations = _placed(read_gaze(reflacx, accepted["reading_id"].to_list()), accepted)
    rejected = [rejected_cases, _discarded(table)]
    if options.without_gaze == "drop":
        seen = fixations.filter("on").select(dicom_id="case_id")
        unseen = cases.join(seen, on="dicom_id", how="anti", maintain_order="left")
        rejected.append(_rejected(unseen, "no_gaze", pl.lit("no fixation is on the image")))
        cases = cases.join(unseen, on="dicom_id", how="anti", maintain_order="left")
        if cases.is_empty():
            raise UserError(
                f"no case has a fixation on its image; is the fixations.csv of each reading under "
                f"{reflacx / MAIN}? Read cases without gaze with `without_gaze=keep`"
            )
    ids = cases["dicom_id"].to_list()
    table = table.filter(pl.col("dicom_id").is_in(ids))
    fixations = fixations.filter(pl.col("case_id").is_in(ids))
    titles = _classes(table, options)
    boxes, lost = _boxes(reflacx, table, titles, options.certainty)
    present = _present(table, titles, options.certainty)
    alignment = aligned(
        options,
        fixations,
        tuple(titles.values()),
        lambda _, reading_id: read_words(reflacx, reading_id),
        expected=f"in timestamps_transcription.csv under {reflacx / MAIN}",
    )
    return Cohort(
        source="reflacx",
        classes=tuple(titles.values()),
        cases=cases.join(present, on="dicom_id", maintain_order="left").select(
            pl.col("dicom_id").alias("case_id"),
            "patient",
            "split",
            "image",
            *(pl.col(name).cast(pl.Int8).alias(f"label_{title}") for name, title in titles.items()),
        ),
        readings=_readings(fixations),
        fixations=fixations.filter("on")
        .select("reading_id", "index", "x", "y", "onset", "duration", *VIEWS)
        .lazy(),
        boxes=boxes,
        rejections=pl.concat([*rejected, lost, _off_image(fixations)]),
        parameters={
            "phases": sorted(set(options.phases)),
            "certainty": options.certainty,
            "without_gaze": options.without_gaze,
            "split": "published",
            **options.align_parameters(phrases_of(options).digest),
        },
        exclusive=False,
        mentions=pl.DataFrame(schema=NO_MENTIONS) if alignment is None else alignment.mentions,
    )


def _without_images(rejected: pl.DataFrame, table: pl.DataFrame, reflacx: Path, mimic: Path) -> UserError:
    """The error where every image is rejected: none is there, or those that are have another size."""
    sized = rejected.filter(reason="size_mismatch")
    if sized.height:
        first = f"the first one is {sized['case_id'][0]}: {sized['detail'][0]}"
        return UserError(
            f"every image of {reflacx} that is under `mimic={mimic}` has another size than the archive says, "
            f"{first}; are they the DICOM files of MIMIC-CXR 2.0.0, and not resized?"
        )
    return UserError(
        f"no image of {reflacx} is under `mimic={mimic}`; are the files downloaded? The first one "
        f"expected is {table['image'][0]}"
    )


def _readings(fixations: pl.DataFrame) -> pl.DataFrame:
    """`Cohort.readings`: one row for each reading that has a fixation."""
    return fixations.group_by("reading_id", maintain_order=True).agg(
        pl.col("case_id").first(),
        pl.lit(None, pl.String).alias("reader"),
        pl.len().cast(pl.Int32).alias("recorded"),
        ((pl.col("onset") + pl.col("duration")).max() - pl.col("onset").min()).alias("duration"),
    )


def _discarded(table: pl.DataFrame) -> pl.DataFrame:
    """Rejections of the readings whose gaze the archive discards."""
    return table.filter("discarded").select(
        pl.lit("discarded_reading").alias("reason"),
        pl.col("dicom_id").alias("case_id"),
        "reading_id",
        pl.lit("the archive discards its eye tracking").alias("detail"),
    )


def _off_image(fixations: pl.DataFrame) -> pl.DataFrame:
    """Rejections of the fixations off the image."""
    return fixations.filter(~pl.col("on")).select(
        pl.lit("off_image_fixation").alias("reason"),
        "case_id",
        "reading_id",
        pl.format("index {}", "index").alias("detail"),
    )


def _joined(table: pl.DataFrame) -> pl.DataFrame:
    """The table with findings that only phase 1 distinguishes joined under their name in other phases."""
    names = findings(table)
    parts = {
        whole: [part for part, joint in JOINED.items() if joint == whole and part in names]
        for whole in JOINED.values()
    }
    for whole, present in parts.items():
        if whole in names and present:
            joint = pl.max_horizontal(pl.col(part) for part in present)
            table = table.with_columns(pl.coalesce(whole, joint).alias(whole)).drop(present)
    return table


def _cases(table: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """dicom_id, patient (a key counted from 0), split, image, rows, columns of each image in the order of the
    table; and the rejected ones.
    """
    order = {split: place for place, split in enumerate(STRICTEST)}
    strictest = table.group_by("subject_id").agg(
        pl.col("split").n_unique().alias("splits"),
        pl.col("split").sort_by(pl.col("split").replace_strict(order, return_dtype=pl.Int8)).first(),
    )
    moved = strictest.filter(pl.col("splits") > 1).height
    if moved:
        splits = "several of the archive's splits"
        note(f"{moved} patients are in {splits}: each is assigned to the strictest one")
    patients = {subject: key for key, subject in enumerate(dict.fromkeys(table["subject_id"]))}
    cases = (
        table.unique("dicom_id", keep="first", maintain_order=True)
        .drop("split")
        .join(strictest, on="subject_id", maintain_order="left")
        .with_columns(patient=pl.col("subject_id").replace_strict(patients, return_dtype=pl.Int32))
    )
    exists = pl.Series([Path(path).is_file() for path in cases["image"]], dtype=pl.Boolean)
    missing, cases = cases.filter(~exists), cases.filter(exists)
    sizes = image_sizes(cases.select(pl.col("dicom_id").alias("case_id"), "image"))
    sizes = sizes.rename({"case_id": "dicom_id", "rows": "file_rows", "columns": "file_columns"})
    cases = cases.join(sizes, on="dicom_id", maintain_order="left")
    # Without a readable header the size is unknown; such an image is rejected when it is read.
    differs = (pl.col("file_rows") != pl.col("rows")) | (pl.col("file_columns") != pl.col("columns"))
    differs = differs.fill_null(False)
    sized = pl.format("{} × {}, the archive says {} × {}", "file_columns", "file_rows", "columns", "rows")
    rejected = pl.concat(
        [
            _rejected(missing, "missing_image", pl.lit("there is no file")),
            _rejected(cases.filter(differs), "size_mismatch", sized),
        ]
    )
    columns = ("dicom_id", "patient", "split", "image", "rows", "columns")
    return cases.filter(~differs).select(columns), rejected


def _rejected(cases: pl.DataFrame, reason: str, detail: pl.Expr) -> pl.DataFrame:
    return cases.select(
        pl.lit(reason).alias("reason"),
        pl.col("dicom_id").alias("case_id"),
        pl.lit(None, pl.String).alias("reading_id"),
        detail.alias("detail"),
    )


def _classes(table: pl.DataFrame, options: ReflacxOptions) -> dict[str, str]:
    """Titles of the classes, by finding."""
    names = findings(table)
    shared = [name for name in names if not table[name].null_count()]
    if options.labels:
        chosen = {plain(label): label for label in options.labels}
        for name, label in chosen.items():
            if name not in shared:
                why = "is not in all of these phases" if name in names else "is no finding"
                raise UserError(f"`labels={label}` {why}; there are {', '.join(shared)}")
        return {name: _title(name) for name in chosen}
    left_out = [name for name in names if name not in shared]
    if left_out:
        note(f"Not in all of these phases, and so no classes: {', '.join(left_out)}")
    present = _present(table, shared, options.certainty)
    classes = [name for name in shared if present[name].any()]
    if not classes:
        raise UserError(f"no case has any finding with a certainty of {options.certainty} or more")
    if len(classes) < len(shared):
        absent = (name for name in shared if name not in classes)
        note(f"No case has these findings, and so they are no classes: {', '.join(absent)}")
    return {name: _title(name) for name in classes}


def _present(table: pl.DataFrame, names: Collection[str], certainty: int) -> pl.DataFrame:
    """dicom_id, and for each finding whether at least half of the readers state at least this certainty."""
    return table.group_by("dicom_id", maintain_order=True).agg(
        ((pl.col(name) >= certainty).mean() >= 0.5).alias(name) for name in names
    )


def _placed(gaze: pl.DataFrame, readings: pl.DataFrame) -> pl.DataFrame:
    """Fixations with case_id, index in the reading, and whether they are `on` the image, with all `VIEWS`."""
    about = readings.select("reading_id", pl.col("dicom_id").alias("case_id"), "rows", "columns")
    on = (
        (pl.col("x") >= 0)
        & (pl.col("y") >= 0)
        & (pl.col("x") < pl.col("columns"))
        & (pl.col("y") < pl.col("rows"))
    )
    seen = pl.all_horizontal(pl.col(name).is_not_null() for name in VIEWS)
    seen &= (pl.col("degree_x") > 0) & (pl.col("degree_y") > 0)
    return (
        gaze.join(about, on="reading_id", maintain_order="left")
        .with_columns(index=pl.int_range(pl.len()).over("reading_id").cast(pl.Int32))
        .with_columns(on=(on & seen).fill_null(False))
    )


def _boxes(
    folder: Path, table: pl.DataFrame, titles: dict[str, str], certainty: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Ellipses of the classes, and chests, at least partly on the image; and rejections of the others."""
    ids = table["reading_id"].to_list()
    # A finding that still has a column, as with phase 1 alone, was not joined.
    joined = {part: whole for part, whole in JOINED.items() if part not in findings(table)}
    ellipses = read_ellipses(folder, ids).with_columns(label=pl.col("label").replace(joined))
    ellipses = ellipses.filter((pl.col("certainty") >= certainty) & pl.col("label").is_in(list(titles)))
    ellipses = ellipses.unique(maintain_order=True)  # where two findings are one class
    boxes = pl.concat(
        [
            ellipses.with_columns(label=pl.col("label").replace(titles), shape=pl.lit("ellipse")).drop(
                "certainty"
            ),
            read_chests(folder, ids).with_columns(label=pl.lit(CHEST), shape=pl.lit("box")),
        ],
        how="diagonal",
    )
    about = table.select("reading_id", pl.col("dicom_id").alias("case_id"), "rows", "columns")
    boxes = boxes.join(about, on="reading_id", maintain_order="left")
    on = (pl.col("x2") > pl.col("x1").clip(0)) & (pl.col("y2") > pl.col("y1").clip(0))
    on &= (pl.col("x1") < pl.col("columns")) & (pl.col("y1") < pl.col("rows"))
    lost = boxes.filter(~on).select(
        pl.lit("off_image_box").alias("reason"), "case_id", "reading_id", pl.col("label").alias("detail")
    )
    # An ellipse that crosses the border is not clipped, so that it keeps its shape.
    return boxes.filter(on).select("case_id", "label", "x1", "y1", "x2", "y2", "shape"), lost


def _title(name: str) -> str:
    return name[:1].upper() + name[1:]


SOURCE = Source(
    ReflacxOptions,
    read,
    "radgaze prepare reflacx --reflacx reflacx/1.0.0 --mimic mimic-cxr/2.0.0 --out store",  # flags: a command
)
