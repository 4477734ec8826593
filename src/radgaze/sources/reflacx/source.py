"""REFLACX 1.0.0 (Bigolin Lanfredi et al. 2022) over MIMIC-CXR 2.0.0, read unchanged."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import polars as pl

from radgaze.console import say
from radgaze.errors import UserError
from radgaze.sources.cohort import VIEWS, Cohort
from radgaze.sources.reflacx.files import (
    PHASES,
    findings,
    locate,
    plain,
    read_chests,
    read_ellipses,
    read_gaze,
    read_metadata,
)
from radgaze.sources.sizes import image_sizes

EXAMPLE = "radgaze prepare reflacx --reflacx reflacx/1.0.0 --mimic mimic-cxr/2.0.0 --out store"

CHEST = "chest"
TOGETHER = {
    "mass": "lung nodule or mass",
    "nodule": "lung nodule or mass",
    "pleural effusion": "pleural abnormality",
    "pleural thickening": "pleural abnormality",
}
"""What phase 1 tells apart and phases 2 and 3 name together; inferred from the names."""
STRICTEST = ("test", "validate", "train")


def add_arguments(parser: ArgumentParser) -> None:
    """The options of `read`."""
    parser.add_argument("--reflacx", required=True, metavar="DIR", help="REFLACX 1.0.0, with main_data")
    parser.add_argument(
        "--mimic", required=True, metavar="DIR", help="MIMIC-CXR 2.0.0, with files/p10 and so on"
    )
    parser.add_argument(
        "--phases", nargs="+", type=int, default=list(PHASES), help="of 1, 2, 3 (default all)"
    )
    parser.add_argument(
        "--certainty",
        type=int,
        default=3,
        help="1 to 5: from which certainty a finding, or an ellipse, is there (default 3, possibly)",
    )
    parser.add_argument(
        "--labels", nargs="+", help="findings that are the classes; default: all that the phases share"
    )
    parser.add_argument(
        "--without-gaze",
        choices=("drop", "keep"),
        default="drop",
        help="what becomes of cases without gaze on the image",
    )


def read(
    reflacx: str | Path,
    mimic: str | Path,
    *,
    phases: Sequence[int] = PHASES,
    certainty: int = 3,
    labels: Sequence[str] | None = None,
    without_gaze: Literal["drop", "keep"] = "drop",
) -> Cohort:
    """Read the archives, as they are downloaded, to a cohort; what is not in it is among its rejections.

    A case is one image, in whatever phases it was read; a reading is what one reader did. The archive names
    no readers, but those of one case are different ones. A case has a finding where at least half of its
    readers are as certain of it; it may have several, or none. Ellipses are boxes of the shape "ellipse",
    named after their finding; the chest is a box. Discarded readings give no gaze, and their labels and
    ellipses count.

    The split is the archive's, MIMIC-CXR-JPG's. A patient who stands in several is in the strictest, test
    before validation before training, of which a notice tells.

    Args:
        reflacx: Folder of REFLACX 1.0.0.
        mimic: Folder of MIMIC-CXR 2.0.0.
        phases: Which of 1, 2 and 3. They name findings differently: only what all of these have is a class,
            after what phase 1 tells apart is put together (`TOGETHER`).
        certainty: From which certainty, 1 to 5, a finding is there.
        labels: The findings that are classes; None for all that the phases share and some case has.
        without_gaze: What becomes of cases without a fixation on the image.

    Raises:
        UserError: A wrong folder, a missing file or column, a value that makes no sense, no image at all.
    """
    reflacx, mimic = locate(reflacx, mimic)
    _check(phases, certainty)
    table = _together(read_metadata(reflacx, sorted(set(phases))))
    table = table.with_columns(image=pl.lit(f"{mimic}/") + pl.col("path"))
    cases, rejected_cases = _cases(table)
    _check_images(cases, table, reflacx, mimic)
    table = table.join(cases.select("dicom_id"), on="dicom_id", how="semi", maintain_order="left")
    kept = table.filter(~pl.col("discarded"))
    fixations = _placed(read_gaze(reflacx, kept["reading_id"].to_list()), kept)
    unseen = cases.join(
        fixations.filter("on"), left_on="dicom_id", right_on="case_id", how="anti", maintain_order="left"
    )
    rejected = [rejected_cases, _discarded(table)]
    if without_gaze == "drop":
        rejected.append(_no_gaze(unseen))
        cases = cases.join(unseen, on="dicom_id", how="anti", maintain_order="left")
    ids = cases["dicom_id"].to_list()
    table, fixations = (
        t.filter(pl.col(key).is_in(ids)) for t, key in ((table, "dicom_id"), (fixations, "case_id"))
    )
    named = _classes(table, labels, certainty)
    boxes, lost = _boxes(reflacx, table, named, certainty)
    rejected += [lost, _off_image(fixations)]
    has = _has(table, named, certainty)
    return Cohort(
        source="reflacx",
        classes=tuple(named.values()),
        cases=cases.join(has, on="dicom_id", maintain_order="left").select(
            pl.col("dicom_id").alias("case_id"),
            "patient",
            "split",
            "image",
            *(pl.col(name).cast(pl.Int8).alias(f"label_{title}") for name, title in named.items()),
        ),
        readings=_readings(fixations),
        fixations=fixations.filter("on")
        .select("reading_id", "index", "x", "y", "onset", "duration", *VIEWS)
        .lazy(),
        boxes=boxes,
        rejections=pl.concat(rejected),
        parameters={
            "phases": sorted(set(phases)),
            "certainty": certainty,
            "without_gaze": without_gaze,
            "split": "published",
        },
        exclusive=False,
    )


def _check(phases: Sequence[int], certainty: int) -> None:
    if not phases or not set(phases) <= set(PHASES):
        raise UserError(f"--phases {' '.join(map(str, phases))}: they are 1, 2 and 3")
    if not 1 <= certainty <= 5:
        raise UserError(f"--certainty {certainty}: it is from 1 to 5")


def _check_images(cases: pl.DataFrame, table: pl.DataFrame, reflacx: Path, mimic: Path) -> None:
    """Refuse an archive none of whose images is there."""
    if not cases.height:
        raise UserError(
            f"no image of {reflacx} is under --mimic {mimic}; are the files downloaded? Looked for was, "
            f"for one, {table['image'][0]}"
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


def _no_gaze(unseen: pl.DataFrame) -> pl.DataFrame:
    """Rejections of the cases without a fixation on the image."""
    return unseen.select(
        pl.lit("no_gaze").alias("reason"),
        pl.col("dicom_id").alias("case_id"),
        pl.lit(None, pl.String).alias("reading_id"),
        pl.lit("no fixation is on the image").alias("detail"),
    )


def _off_image(fixations: pl.DataFrame) -> pl.DataFrame:
    """Rejections of the fixations off the image."""
    return fixations.filter(~pl.col("on")).select(
        pl.lit("off_image_fixation").alias("reason"),
        "case_id",
        "reading_id",
        pl.format("index {}", "index").alias("detail"),
    )


def _together(table: pl.DataFrame) -> pl.DataFrame:
    """What phase 1 tells apart under the name that the other phases have for it, where there are such."""
    names = findings(table)
    parts = {
        whole: [part for part, of in TOGETHER.items() if of == whole and part in names]
        for whole in TOGETHER.values()
    }
    for whole, own in parts.items():
        if whole in names and own:
            joint = pl.max_horizontal(pl.col(part) for part in own)
            table = table.with_columns(pl.coalesce(whole, joint).alias(whole)).drop(own)
    return table


def _cases(table: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """dicom_id, patient (a key counted from 0), split, image, rows, columns of each image in the order in
    which they
    come; and those that are rejected."""
    order = {split: place for place, split in enumerate(STRICTEST)}
    strictest = table.group_by("subject_id").agg(
        pl.col("split").n_unique().alias("splits"),
        pl.col("split").sort_by(pl.col("split").replace_strict(order, return_dtype=pl.Int8)).first(),
    )
    moved = strictest.filter(pl.col("splits") > 1).height
    if moved:
        say(
            f"{moved} patients stood in several of the archive's splits: each is in the strictest of them now"
        )
    patients = {subject: key for key, subject in enumerate(dict.fromkeys(table["subject_id"]))}
    cases = (
        table.unique("dicom_id", keep="first", maintain_order=True)
        .drop("split")
        .join(strictest, on="subject_id", maintain_order="left")
        .with_columns(patient=pl.col("subject_id").replace_strict(patients, return_dtype=pl.Int32))
    )
    cases = cases.with_columns(
        there=pl.Series([Path(path).is_file() for path in cases["image"]], dtype=pl.Boolean)
    )
    there = cases.filter("there")
    sizes = image_sizes(there.select(pl.col("dicom_id").alias("case_id"), "image"))
    sizes = sizes.rename({"case_id": "dicom_id", "rows": "own_rows", "columns": "own_columns"})
    there = there.join(sizes, on="dicom_id", maintain_order="left")
    # A header that cannot be read is found out when the image is.
    other = (pl.col("own_rows") != pl.col("rows")) | (pl.col("own_columns") != pl.col("columns"))
    other = other.fill_null(False)
    sized = pl.format("{} × {}, the archive says {} × {}", "own_columns", "own_rows", "columns", "rows")
    rejected = pl.concat(
        [
            _rejected(cases.filter(~pl.col("there")), "missing_image", pl.lit("there is no file")),
            _rejected(there.filter(other), "size_mismatch", sized),
        ]
    )
    return there.filter(~other).select("dicom_id", "patient", "split", "image", "rows", "columns"), rejected


def _rejected(cases: pl.DataFrame, reason: str, detail: pl.Expr) -> pl.DataFrame:
    return cases.select(
        pl.lit(reason).alias("reason"),
        pl.col("dicom_id").alias("case_id"),
        pl.lit(None, pl.String).alias("reading_id"),
        detail.alias("detail"),
    )


def _classes(table: pl.DataFrame, labels: Sequence[str] | None, certainty: int) -> dict[str, str]:
    """The findings that are classes, and what they are called."""
    known = findings(table)
    shared = [name for name in known if not table[name].null_count()]
    if labels is not None:
        wanted = [plain(name) for name in labels]
        for name, asked in zip(wanted, labels, strict=True):
            if name not in shared:
                why = "is not in all of these phases" if name in known else "is no finding"
                raise UserError(f"--labels {asked}: it {why}; there are {', '.join(shared)}")
        return {name: _title(name) for name in dict.fromkeys(wanted)}
    left_out = [name for name in known if name not in shared]
    if left_out:
        say(f"Not in all of these phases, and so no classes: {', '.join(left_out)}")
    has = _has(table, {name: name for name in shared}, certainty)
    there = [name for name in shared if has[name].any()]
    if not there:
        raise UserError(f"no case has any finding with a certainty of {certainty} or more")
    if len(there) < len(shared):
        say(f"No case has, and so no classes: {', '.join(name for name in shared if name not in there)}")
    return {name: _title(name) for name in there}


def _has(table: pl.DataFrame, named: dict[str, str], certainty: int) -> pl.DataFrame:
    """dicom_id, and for each finding whether at least half of the readers are that certain of it."""
    return table.group_by("dicom_id", maintain_order=True).agg(
        ((pl.col(name) >= certainty).mean() >= 0.5).alias(name) for name in named
    )


def _placed(gaze: pl.DataFrame, readings: pl.DataFrame) -> pl.DataFrame:
    """Fixations with case_id, index in the reading, and whether they are `on` the image and were shown."""
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
    folder: Path, table: pl.DataFrame, named: dict[str, str], certainty: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Ellipses of the classes, and chests, that reach onto the image; and those that are off it."""
    ids = table["reading_id"].to_list()
    # A part that still has a column of its own, as of phase 1 alone, was not put together.
    joined = {part: whole for part, whole in TOGETHER.items() if part not in findings(table)}
    ellipses = read_ellipses(folder, ids).with_columns(label=pl.col("label").replace(joined))
    ellipses = ellipses.filter((pl.col("certainty") >= certainty) & pl.col("label").is_in(list(named)))
    ellipses = ellipses.unique(maintain_order=True)  # of two findings that are one class
    found = pl.concat(
        [
            ellipses.with_columns(label=pl.col("label").replace(named), shape=pl.lit("ellipse")).drop(
                "certainty"
            ),
            read_chests(folder, ids).with_columns(label=pl.lit(CHEST), shape=pl.lit("box")),
        ],
        how="diagonal",
    )
    about = table.select("reading_id", pl.col("dicom_id").alias("case_id"), "rows", "columns")
    found = found.join(about, on="reading_id", maintain_order="left")
    on = (pl.col("x2") > pl.col("x1").clip(0)) & (pl.col("y2") > pl.col("y1").clip(0))
    on &= (pl.col("x1") < pl.col("columns")) & (pl.col("y1") < pl.col("rows"))
    lost = found.filter(~on).select(
        pl.lit("off_image_box").alias("reason"), "case_id", "reading_id", pl.col("label").alias("detail")
    )
    # An ellipse that reaches over the border keeps its shape; the map ends there.
    return found.filter(on).select("case_id", "label", "x1", "y1", "x2", "y2", "shape"), lost


def _title(name: str) -> str:
    return name[:1].upper() + name[1:]
