"""Eye Gaze Data for Chest X-rays (PhysioNet `egd-cxr` 1.0.0) over MIMIC-CXR 2.0.0, read unchanged."""

from __future__ import annotations

import hashlib
from argparse import ArgumentParser, BooleanOptionalAction
from pathlib import Path
from typing import Literal

import polars as pl

from radgaze.errors import UserError
from radgaze.sources.cohort import NO_REGIONS, Cohort
from radgaze.sources.egd.files import (
    CLASSES,
    ID_LENGTH,
    SHEET,
    locate,
    read_boxes,
    read_gaze,
    read_keep_list,
    read_samples,
    read_sheet,
)
from radgaze.sources.egd.masks import segmentations
from radgaze.sources.egd.radiology_report import cut, spoken
from radgaze.sources.egd.rejected import gaze_of_nothing, no_gaze, off_image, rejections, shown, unspoken
from radgaze.sources.egd.screen import Thresholds, filtered, on_image, shifted
from radgaze.sources.sizes import image_sizes
from radgaze.sources.split import published_split, stratified_split

EXAMPLE = "radgaze prepare egd --egd egd-cxr/1.0.0 --mimic mimic-cxr/2.0.0 --out store"

SCREEN_LINES, PICTURE_LINES = 1080, 1024


def add_arguments(parser: ArgumentParser) -> None:  # long: one entry for each option
    """The options of `read`."""
    parser.add_argument("--egd", required=True, metavar="DIR", help="egd-cxr 1.0.0, with master_sheet.csv")
    parser.add_argument(
        "--mimic", required=True, metavar="DIR", help="MIMIC-CXR 2.0.0, with files/p10 and so on"
    )
    parser.add_argument(
        "--keep-ids",
        metavar="FILE",
        help="CSV whose column `filename` lists the images to keep; without it all are",
    )
    parser.add_argument(
        "--without-gaze",
        choices=("drop", "keep"),
        default="drop",
        help="what becomes of cases without gaze on the image",
    )
    parser.add_argument(
        "--vertical-correction",
        action="store_true",
        help="undo the bias of positions if the pictures shown had 1024 lines; inferred",
    )
    parser.add_argument(
        "--gaze",
        choices=("fixations", "samples"),
        default="fixations",
        help="fixations.csv, which the tracker filtered, or the raw samples of eye_gaze.csv through --filter",
    )
    parser.add_argument(
        "--filter",
        choices=("idt", "ivt"),
        default="idt",
        help="with --gaze samples: by dispersion or by velocity (Salvucci and Goldberg 2000; default idt)",
    )
    parser.add_argument(
        "--dispersion", type=float, default=1.0, help="of idt, in degrees of visual angle (default 1)"
    )
    parser.add_argument(
        "--velocity", type=float, default=30.0, help="of ivt, in degrees a second (default 30)"
    )
    parser.add_argument(
        "--least-duration", type=float, default=0.1, help="of a filtered fixation, in seconds (default 0.1)"
    )
    parser.add_argument(
        "--pixels-per-degree",
        type=float,
        default=45.0,
        help="screen pixels in a degree of visual angle (default 45: a 22-inch screen at 63 cm; inferred)",
    )
    parser.add_argument(
        "--calibration-shift",
        action="store_true",
        help="move each session's gaze by what the last look at its calibration frames was off their middle",
    )
    parser.add_argument(
        "--align-report",
        type=float,
        metavar="SECONDS",
        help="keep only fixations while the case's class is spoken of, or so many seconds before",
    )
    parser.add_argument(
        "--masks",
        action=BooleanOptionalAction,
        default=True,
        help="keep the masks of lungs, mediastinum and aortic knob, four files for each image",
    )
    parser.add_argument(
        "--split",
        choices=("published", "stratified"),
        default="published",
        help="the baselines' split, or one with even class shares; both by patient",
    )
    parser.add_argument("--seed", type=int, default=42, help="of the stratified split")


def read(  # many arguments: one for each option of `radgaze prepare egd`
    egd: str | Path,
    mimic: str | Path,
    *,
    keep_ids: str | Path | None = None,
    without_gaze: Literal["drop", "keep"] = "drop",
    vertical_correction: bool = False,
    gaze: Literal["fixations", "samples"] = "fixations",
    filter: Literal["idt", "ivt"] = "idt",  # noqa: A002  the option's name
    dispersion: float = 1.0,
    velocity: float = 30.0,
    least_duration: float = 0.1,
    pixels_per_degree: float = 45.0,
    calibration_shift: bool = False,
    align_report: float | None = None,
    masks: bool = True,
    split: Literal["published", "stratified"] = "published",
    seed: int = 42,
) -> Cohort:  # long: most of it is the options, and the cohort that it ends in
    """Read the archives, as they are downloaded, to a cohort; what is not in it is among its rejections.

    A case is one image; a reading is what one session recorded on it. Of the images only the headers are
    read: which of them cannot be decoded is found when a store is prepared.

    Args:
        egd: Folder of egd-cxr 1.0.0, with master_sheet.csv and fixations.csv.
        mimic: Folder of MIMIC-CXR 2.0.0, with files/p10 … files/p19.
        keep_ids: CSV file whose column `filename` lists the ids to keep, as the published baselines have it.
        without_gaze: What becomes of cases without a fixation on the image.
        vertical_correction: Undo the vertical bias that the recorded positions have if the pictures shown
            had 1024 lines (see `_correct`); an inference, not documented by the data set.
        gaze: "fixations" as the tracker found them, or "samples": eye_gaze.csv through a filter.
        filter: "idt" by dispersion, "ivt" by velocity, see `sources.fixations`.
        dispersion: Of idt, in degrees of visual angle.
        velocity: Of ivt, in degrees a second.
        least_duration: Of a filtered fixation, in seconds.
        pixels_per_degree: Screen pixels in a degree; the data set does not say.
        calibration_shift: Move each session's gaze by the middle of the screen less the mean of the last
            points looked at on its calibration frames.
        align_report: Keep only the fixations while the report speaks of the case's class, or so many seconds
            before, see `sources.egd.radiology_report`; None for all.
        masks: Keep the anatomical segmentations, where there are any, as regions.
        split: "published" is the baselines' (see `published_split`); "stratified" has even class shares.
        seed: Of the stratified split; the published one has its own.

    Raises:
        UserError: A wrong folder, a missing file or column, a value that is not a number, no image at all.
    """
    egd, mimic = locate(egd, mimic)
    from_screen = gaze == "samples" or calibration_shift
    sides = ("top", "bottom", "left", "right") if from_screen else ("top", "bottom") * vertical_correction
    sheet = read_sheet(egd, pads=sides)
    kept = None if keep_ids is None else read_keep_list(Path(keep_ids), set(sheet["case_id"]))
    thresholds = None
    if gaze == "samples":
        thresholds = Thresholds(filter, dispersion, velocity, least_duration, pixels_per_degree)
    looks = _looks(egd, thresholds, shift=calibration_shift)
    boxes = read_boxes(egd)

    sheet = _judged(sheet.with_columns(image=pl.lit(f"{mimic}/") + pl.col("path")), kept)
    _check_images(sheet, egd, mimic)
    cases = sheet.filter(pl.col("reason").is_null())
    fixations = _placed(looks, cases, vertical_correction=vertical_correction, from_screen=from_screen)

    fixations, silent = _aligned(fixations, egd, cases, align_report)
    looked = fixations
    unseen = cases.join(looked.filter("on"), on="case_id", how="anti", maintain_order="left")
    if without_gaze == "drop":
        cases, fixations = (
            table.join(unseen, on="case_id", how="anti", maintain_order="left")
            for table in (cases, fixations)
        )
    regions = segmentations(egd, cases) if masks else pl.DataFrame(schema=NO_REGIONS)
    rejected = [
        sheet.filter(pl.col("reason").is_not_null()),
        *([no_gaze(unseen, looked)] if without_gaze == "drop" else []),
        gaze_of_nothing(looks, sheet),
        unspoken(silent, fixations),
        off_image(fixations),
    ]
    return Cohort(
        source="egd",
        classes=CLASSES,
        cases=cases.select(
            "case_id",
            "patient",
            _split_of(sheet, cases, split, seed).alias("split"),
            "image",
            *((pl.col("class") == name).cast(pl.Int8).alias(f"label_{name}") for name in CLASSES),
        ),
        readings=_readings(fixations),
        fixations=fixations.filter("on").select("reading_id", "index", "x", "y", "onset", "duration").lazy(),
        boxes=boxes.join(cases, on="case_id", how="semi", maintain_order="left"),
        rejections=pl.concat([rejections(table) for table in rejected]),
        regions=regions,
        parameters={
            "keep_ids": None if kept is None else _digest(kept),
            "without_gaze": without_gaze,
            "vertical_correction": vertical_correction,
            **({} if align_report is None else {"align_report": align_report}),
            **({} if masks else {"masks": False}),
            **_told(gaze, filter, dispersion, velocity, least_duration, pixels_per_degree, calibration_shift),
            "split": split,
            "seed": seed if split == "stratified" else None,
        },
    )


def _looks(egd: Path, thresholds: Thresholds | None, *, shift: bool) -> pl.DataFrame:
    """The tracker's fixations, or those of its raw samples through a filter where thresholds are given."""
    if thresholds is not None:
        return filtered(read_samples(egd), thresholds, shift=shift, whole=ID_LENGTH)
    looks = read_gaze(egd)
    return shifted(looks, whole=ID_LENGTH) if shift else looks


def _split_of(sheet: pl.DataFrame, cases: pl.DataFrame, split: str, seed: int) -> pl.Expr:
    """Each case's split; the published one is drawn over all patients of the sheet."""
    if split == "published":
        splits = published_split(sheet["patient_id"].to_list())
        return pl.col("patient_id").replace_strict(splits, return_dtype=pl.String)
    splits = stratified_split(cases["patient"].to_list(), cases["class"].to_list(), seed)
    return pl.col("patient").replace_strict(splits, return_dtype=pl.String)


def _check_images(sheet: pl.DataFrame, egd: Path, mimic: Path) -> None:
    """Refuse a sheet none of whose images is there."""
    if not sheet["there"].any():
        looked = next((path for path in sheet["image"] if path), "none, as the sheet has no path")
        raise UserError(
            f"no image of {egd / SHEET} is under --mimic {mimic}; are the files downloaded? Looked for was, "
            f"for one, {looked}"
        )


def _aligned(
    fixations: pl.DataFrame, egd: Path, cases: pl.DataFrame, seconds: float | None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The fixations while the report speaks of the case's class, numbered anew, and the others; all without
    `seconds`."""
    if seconds is None:
        return fixations, fixations.clear()
    if seconds < 0:
        raise UserError(f"--align-report {seconds}: it is a number of seconds, 0 or more")
    told = cut(fixations, spoken(egd, cases), seconds)
    place = pl.int_range(pl.len()).over("reading_id").cast(pl.Int32)
    return fixations.filter(told).with_columns(index=place), fixations.filter(~told)


def _readings(fixations: pl.DataFrame) -> pl.DataFrame:
    """`Cohort.readings`: one row for each reading that has a fixation."""
    return fixations.group_by("reading_id", maintain_order=True).agg(
        pl.col("case_id").first(),
        pl.lit(None, pl.String).alias("reader"),
        pl.len().cast(pl.Int32).alias("recorded"),
        ((pl.col("onset") + pl.col("duration")).max() - pl.col("onset").min()).alias("duration"),
    )


def _told(
    gaze: str,
    kind: str,
    dispersion: float,
    velocity: float,
    least_duration: float,
    pixels_per_degree: float,
    shift: bool,
) -> dict[str, object]:
    """The parameters that made a difference, so that stores made before there were any stay the same."""
    told: dict[str, object] = {"calibration_shift": True} if shift else {}
    if gaze == "samples":
        told |= {"gaze": gaze, "filter": kind, "least_duration": least_duration}
        told |= {"pixels_per_degree": pixels_per_degree}
        told |= {"dispersion": dispersion} if kind == "idt" else {"velocity": velocity}
    return told


def _judged(sheet: pl.DataFrame, kept: set[str] | None) -> pl.DataFrame:
    """The sheet with each record's class, or the reason (the first that fits) and detail of its rejection."""
    ones = pl.sum_horizontal((pl.col(name) == 1).fill_null(False).cast(pl.Int8) for name in CLASSES)
    listed = pl.lit(True) if kept is None else pl.col("case_id").is_in(list(kept))
    there = [path is not None and Path(path).is_file() for path in sheet["image"]]
    checks = (
        (
            "duplicate_case",
            ~pl.col("case_id").is_first_distinct(),
            pl.format("line {} repeats line {}", "line", pl.col("line").first().over("case_id")),
        ),
        (
            "no_label",
            ones != 1,
            pl.format("Normal {}, CHF {}, pneumonia {}", *(shown(name) for name in CLASSES)),
        ),
        ("not_in_keep_list", ~listed, pl.lit("not in the list of ids to keep")),
        ("missing_image", ~pl.col("there"), pl.lit("there is no file where the sheet says")),
    )
    return sheet.with_columns(there=pl.Series(there, dtype=pl.Boolean)).with_columns(
        pl.coalesce(pl.when(bad).then(pl.lit(reason)) for reason, bad, _ in checks).alias("reason"),
        pl.coalesce(pl.when(bad).then(detail) for _, bad, detail in checks).alias("detail"),
        pl.coalesce(pl.when(pl.col(name) == 1).then(pl.lit(name)) for name in CLASSES).alias("class"),
    )


def _placed(
    gaze: pl.DataFrame, cases: pl.DataFrame, *, vertical_correction: bool, from_screen: bool
) -> pl.DataFrame:
    """The fixations of these cases, in the order of cases and time, with reading_id, index in the reading,
    x and y (image px) and whether they are `on` the image.

    Off the image are recorded positions below 0 (the source scales −1, so −2 is the usual one), blank ones,
    and those past the right or lower edge, which images padded to even sizes have.
    """
    place = pl.col("place").min()
    own = (
        gaze.join(cases.select("case_id", pl.int_range(pl.len()).alias("case")), on="case_id")
        .with_columns(first=place.over("case_id", "session"), shown=place.over("case_id", "session", "media"))
        .sort("case", "first", "shown", "count", "place")
        .with_columns(number=pl.col("first").rank("dense").over("case") - 1)
        .with_columns(reading_id=pl.format("{}/{}", "case_id", "number"))
        .with_columns(index=pl.int_range(pl.len()).over("reading_id").cast(pl.Int32))
        .join(image_sizes(cases), on="case_id", how="left", maintain_order="left")
        .with_columns(x=pl.col("recorded_x") + 0.5, y=pl.col("recorded_y") + 0.5)
    )
    on = (pl.col("recorded_x") >= 0) & (pl.col("recorded_y") >= 0)
    sides = [side for side in ("top", "bottom", "left", "right") if side in cases.columns]
    if sides:
        own = own.join(cases.select("case_id", *sides), on="case_id", how="left", maintain_order="left")
    if from_screen:
        own = on_image(own)
        on = pl.col("inside")
    if vertical_correction:
        own = _correct(own)
        on &= pl.col("y") > 0
    # A header that cannot be read leaves no edges; its image will not be in a store either.
    on &= (pl.col("x") < pl.col("columns")).fill_null(True) & (pl.col("y") < pl.col("rows")).fill_null(True)
    return own.with_columns(on=on.fill_null(False))


def _correct(fixations: pl.DataFrame) -> pl.DataFrame:
    """The fixations with y as it is if the picture shown had 1024 lines, in the middle of the screen's 1080.

    Y_ORIGINAL was computed as if picture line and screen line were the same, 1080·FPOGY. If the picture is
    letterboxed, line = 1080·FPOGY − 28, and of the picture's 1024 lines those from `top` to 1024 − `bottom`
    show the image (rows padded to even): y = (line − top)·rows / (1024 − top − bottom). The two differ by
    0 in the middle and by ±79 px at the edges of an image of 3056 rows. Inferred from the authors' code and
    the size of the pictures; where `rows` is not known y stays as it was recorded.
    """
    line = SCREEN_LINES * pl.col("screen_y") - (SCREEN_LINES - PICTURE_LINES) / 2
    rows = pl.col("rows") + pl.col("rows") % 2
    corrected = (line - pl.col("top")) * rows / (PICTURE_LINES - pl.col("top") - pl.col("bottom"))
    return fixations.with_columns(y=pl.when(pl.col("rows").is_null()).then("y").otherwise(corrected))


def _digest(ids: set[str]) -> str:
    """What tells one list from another, and no id."""
    return f"{len(ids)} ids, sha256 {hashlib.sha256(chr(10).join(sorted(ids)).encode()).hexdigest()[:16]}"
