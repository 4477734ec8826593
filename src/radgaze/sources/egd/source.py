"""Eye Gaze Data for Chest X-rays (PhysioNet `egd-cxr` 1.0.0) over MIMIC-CXR 2.0.0, read unchanged."""

from __future__ import annotations

import hashlib
from pathlib import Path

import polars as pl

from radgaze.errors import UserError
from radgaze.sources.cohort import Cohort
from radgaze.sources.contents import NO_BOXES, NO_MENTIONS, NO_REGIONS
from radgaze.sources.dictation.reports import aligned, phrases_of
from radgaze.sources.egd.files import (
    CLASSES,
    ID_LENGTH,
    SHEET,
    TRANSCRIPTS,
    locate,
    read_boxes,
    read_gaze,
    read_keep_list,
    read_masks,
    read_samples,
    read_sheet,
    read_split,
    read_twins,
)
from radgaze.sources.egd.options import EgdOptions
from radgaze.sources.egd.radiology_report import read_words
from radgaze.sources.egd.rejected import (
    boxes_of_nothing,
    boxes_off_image,
    gaze_of_nothing,
    no_gaze,
    off_image,
    rejections,
    shown,
    unspoken,
)
from radgaze.sources.egd.screen import filtered, on_image, shifted
from radgaze.sources.egd.split_file import read_split_file, with_splits, with_validation
from radgaze.sources.sizes import image_sizes
from radgaze.sources.source import Source
from radgaze.sources.split import published_split, stratified_split
from radgaze.sources.streaming import LINE
from radgaze.sources.twins import found_twins

SCREEN_LINES, PICTURE_LINES = 1080, 1024


def read(options: EgdOptions) -> Cohort:
    """Read the downloaded archives as a cohort, whose rejections list everything that is left out.

    A case is one image; a reading is the gaze that one session recorded on it. Only the headers of images
    are read: images that cannot be decoded are found when a store is prepared.

    Args:
        options: Folders and settings.

    Raises:
        UserError: A folder is not that of its archive, a file, a column or all images are missing, or a value
            is malformed.
    """
    egd, mimic = locate(options.egd, options.mimic)
    sheet = read_sheet(egd, pads=_pads(options))
    keep_ids = options.keep_ids
    listed = None if keep_ids is None else read_keep_list(Path(keep_ids), set(sheet["case_id"]))
    gaze = _gaze(egd, options)
    boxes = read_boxes(egd)

    sheet = _with_listed_splits(sheet, options)
    sheet = _judged(
        sheet.with_columns(image=pl.lit(f"{mimic}/") + pl.col("path")),
        listed,
        listed_split=options.split_file is not None,
    )
    _check_images(sheet, egd, mimic)
    all_cases = cases = sheet.filter(pl.col("reason").is_null())
    sizes = image_sizes(cases)
    all_fixations, silent, mentions = _aligned(_placed(gaze, cases, sizes, options), egd, cases, options)
    fixations = all_fixations
    unseen = cases.join(fixations.filter("on"), on="case_id", how="anti", maintain_order="left")
    if options.without_gaze == "keep":
        unseen = unseen.clear()
    cases, fixations = (
        table.join(unseen, on="case_id", how="anti", maintain_order="left")
        for table in (all_cases, all_fixations)
    )
    on_image_boxes, off_image_boxes = _cut(boxes, cases, sizes)
    rejected = [
        sheet.filter(pl.col("reason").is_not_null()),
        no_gaze(unseen, all_fixations),
        gaze_of_nothing(gaze, sheet),
        unspoken(silent, fixations),
        off_image(fixations),
        boxes_of_nothing(boxes, sheet),
        boxes_off_image(off_image_boxes),
    ]
    twins, without_case = found_twins(read_twins(egd, mimic), cases)
    rejected.append(without_case)
    return Cohort(
        source="egd",
        classes=CLASSES,
        cases=cases.select(
            "case_id",
            "patient",
            _split_of(sheet, cases, egd, options).alias("split"),
            "image",
            *((pl.col("class") == name).cast(pl.Int8).alias(f"label_{name}") for name in CLASSES),
        ),
        readings=_readings(fixations),
        fixations=fixations.filter("on").select("reading_id", "index", "x", "y", "onset", "duration").lazy(),
        boxes=on_image_boxes,
        rejections=pl.concat([rejections(table) for table in rejected]),
        regions=read_masks(egd, cases) if options.masks else pl.DataFrame(schema=NO_REGIONS),
        parameters=_parameters(options, listed),
        mentions=mentions.join(fixations, on="reading_id", how="semi", maintain_order="left"),
        twins=twins,
    )


def _from_screen(options: EgdOptions) -> bool:
    """Whether positions are computed from those on the screen, rather than taken as recorded."""
    return options.gaze == "samples" or options.calibration_shift


def _pads(options: EgdOptions) -> tuple[str, ...]:
    """The borders of the picture on the screen that are needed."""
    if _from_screen(options):
        return ("top", "bottom", "left", "right")
    return ("top", "bottom") if options.vertical_correction else ()


def _parameters(options: EgdOptions, listed: set[str] | None) -> dict[str, object]:
    """`Cohort.parameters`. Options that were added later are recorded only where they differ from their
    defaults, so that the identity of earlier stores does not change.
    """
    parameters: dict[str, object] = {
        "keep_ids": None if listed is None else _digest(listed),
        "without_gaze": options.without_gaze,
        "vertical_correction": options.vertical_correction,
    }
    if options.align_report is not None:
        parameters |= options.align_parameters(phrases_of(options).digest)
        if options.align_keep != "class":
            parameters["align_keep"] = options.align_keep
    if not options.masks:
        parameters["masks"] = False
    if options.calibration_shift:
        parameters["calibration_shift"] = True
    if options.gaze == "samples":
        threshold = "dispersion" if options.filter == "idt" else "velocity"
        names = ("gaze", "filter", "least_duration", "pixels_per_degree", threshold)
        parameters |= {name: getattr(options, name) for name in names}
    if options.split_file is not None:
        return parameters | {"split": "file", "seed": options.seed}  # the cases and their splits are hashed
    seed = options.seed if options.split == "stratified" else None
    return parameters | {"split": options.split, "seed": seed}


def _with_listed_splits(sheet: pl.DataFrame, options: EgdOptions) -> pl.DataFrame:
    """The sheet with the split of a split file, and whether the patient is in two; null without a file."""
    if options.split_file is None:
        return sheet.with_columns(split=pl.lit(None, pl.String), shared=pl.lit(False))
    return with_splits(sheet, read_split_file(Path(options.split_file), set(sheet["case_id"])))


def _gaze(egd: Path, options: EgdOptions) -> pl.DataFrame:
    """Fixations of the tracker, or those that a filter finds in its raw samples."""
    if options.gaze == "samples":
        return filtered(read_samples(egd), options, whole=ID_LENGTH)
    gaze = read_gaze(egd)
    return shifted(gaze, whole=ID_LENGTH) if options.calibration_shift else gaze


def _split_of(sheet: pl.DataFrame, cases: pl.DataFrame, egd: Path, options: EgdOptions) -> pl.Expr:
    """Split of each case; the published one is drawn from all patients of the sheet, or simulated with it."""
    if options.split_file is not None:
        return pl.lit(with_validation(cases["split"], cases, options.seed))
    if options.split == "published":
        patients = sheet["patient_id"].to_list()
        splits = read_split(egd, patients) or published_split(patients)
        return pl.col("patient_id").replace_strict(splits, return_dtype=pl.String)
    splits = stratified_split(cases["patient"].to_list(), cases["class"].to_list(), options.seed)
    return pl.col("patient").replace_strict(splits, return_dtype=pl.String)


def _check_images(sheet: pl.DataFrame, egd: Path, mimic: Path) -> None:
    """Raise UserError where no image file of the sheet exists."""
    if not sheet["exists"].any():
        example = next((path for path in sheet["image"] if path), "none, as the sheet has no path")
        raise UserError(
            f"no image of {egd / SHEET} is under `mimic={mimic}`; are the files downloaded? The first one "
            f"expected is {example}"
        )


def _aligned(
    fixations: pl.DataFrame, egd: Path, cases: pl.DataFrame, options: EgdOptions
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Align fixations with the dictated reports.

    Returns:
        The fixations to keep; the others; and which of the kept ones belong to each class. To be kept with
        `align_keep="class"` are those that belong to the case's class, numbered again.
    """
    alignment = aligned(
        options,
        fixations,
        CLASSES,
        lambda case_id, _: read_words(egd, case_id),
        expected=f"under {egd / TRANSCRIPTS}",
    )
    none = pl.DataFrame(schema=NO_MENTIONS)
    if alignment is None:
        return fixations, fixations.clear(), none
    if options.align_keep == "all":
        return fixations, fixations.clear(), alignment.mentions
    of_class = cases.select("case_id", label="class")
    spoken = fixations.select("case_id", "reading_id", "index").join(of_class, on="case_id")
    spoken = spoken.join(alignment.mentions, on=["reading_id", "index", "label"])
    place = pl.int_range(pl.len()).over("reading_id").cast(pl.Int32)
    keys = ["reading_id", "index"]
    left = fixations.join(spoken, on=keys, how="semi", maintain_order="left").with_columns(index=place)
    return left, fixations.join(spoken, on=keys, how="anti", maintain_order="left"), none


def _readings(fixations: pl.DataFrame) -> pl.DataFrame:
    """`Cohort.readings`: one row for each reading that has a fixation."""
    return fixations.group_by("reading_id", maintain_order=True).agg(
        pl.col("case_id").first(),
        pl.lit(None, pl.String).alias("reader"),
        pl.len().cast(pl.Int32).alias("recorded"),
        ((pl.col("onset") + pl.col("duration")).max() - pl.col("onset").min()).alias("duration"),
    )


def _judged(sheet: pl.DataFrame, keep: set[str] | None, *, listed_split: bool) -> pl.DataFrame:
    """The sheet with the class of each record, or the reason (the first that applies) and detail of its
    rejection."""
    ones = pl.sum_horizontal((pl.col(name) == 1).fill_null(False).cast(pl.Int8) for name in CLASSES)
    # The first record that has a label stands for the case.
    labelled = pl.col(LINE).filter(ones == 1).first()
    first = pl.coalesce(labelled, pl.col(LINE).first()).over("case_id")
    listed = pl.lit(True) if keep is None else pl.col("case_id").is_in(list(keep))
    exists = [path is not None and Path(path).is_file() for path in sheet["image"]]
    checks = (
        (
            "duplicate_case",
            pl.col(LINE) != first,
            pl.format("line {} repeats line {}", LINE, first),
        ),
        (
            "no_label",
            ones != 1,
            pl.format("Normal {}, CHF {}, pneumonia {}", *(shown(name) for name in CLASSES)),
        ),
        ("not_in_keep_list", ~listed, pl.lit("not in the list of ids to keep")),
        (
            "not_in_split_file",
            pl.lit(listed_split) & pl.col("split").is_null(),
            pl.lit("not in the list of splits"),
        ),
        (
            "patient_in_two_splits",
            pl.col("shared"),
            pl.format("not only in {}", "split"),
        ),
        ("missing_image", ~pl.col("exists"), pl.lit("there is no file where the sheet says")),
    )
    return sheet.with_columns(exists=pl.Series(exists, dtype=pl.Boolean)).with_columns(
        pl.coalesce(pl.when(bad).then(pl.lit(reason)) for reason, bad, _ in checks).alias("reason"),
        pl.coalesce(pl.when(bad).then(detail) for _, bad, detail in checks).alias("detail"),
        pl.coalesce(pl.when(pl.col(name) == 1).then(pl.lit(name)) for name in CLASSES).alias("class"),
    )


def _cut(boxes: pl.DataFrame, cases: pl.DataFrame, sizes: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`Cohort.boxes` of these cases, cut to the images; and those of which nothing is on the image."""
    boxes = boxes.join(cases, on="case_id", how="semi", maintain_order="left")
    boxes = boxes.join(sizes, on="case_id", how="left", maintain_order="left")
    # Without a readable header the edges are unknown; such an image will not be in a store.
    cut = boxes.with_columns(
        pl.col("x1", "x2").clip(0, pl.col("columns").fill_null(float("inf"))),
        pl.col("y1", "y2").clip(0, pl.col("rows").fill_null(float("inf"))),
    )
    on = (pl.col("x2") > pl.col("x1")) & (pl.col("y2") > pl.col("y1"))
    return cut.filter(on).select(*NO_BOXES), cut.filter(~on)


def _placed(
    gaze: pl.DataFrame, cases: pl.DataFrame, sizes: pl.DataFrame, options: EgdOptions
) -> pl.DataFrame:
    """The fixations of these cases, in the order of cases and time, with reading_id, index in the reading,
    x and y (image px) and whether they are `on` the image.

    Positions off the image are those below 0 (the source scales −1, so that −2 is common), blank ones, and
    those beyond the right or lower edge, which occur since images are padded to even sizes.
    """
    place = pl.col("place").min()
    fixations = (
        gaze.join(cases.select("case_id", pl.int_range(pl.len()).alias("case")), on="case_id")
        .with_columns(first=place.over("case_id", "session"), shown=place.over("case_id", "session", "media"))
        .sort("case", "first", "shown", "count", "place")
        .with_columns(number=pl.col("first").rank("dense").over("case") - 1)
        .with_columns(reading_id=pl.format("{}/{}", "case_id", "number"))
        .with_columns(index=pl.int_range(pl.len()).over("reading_id").cast(pl.Int32))
        .join(sizes, on="case_id", how="left", maintain_order="left")
        .with_columns(x=pl.col("recorded_x") + 0.5, y=pl.col("recorded_y") + 0.5)
    )
    on = (pl.col("recorded_x") >= 0) & (pl.col("recorded_y") >= 0)
    sides = [side for side in ("top", "bottom", "left", "right") if side in cases.columns]
    if sides:
        pads = cases.select("case_id", *sides)
        fixations = fixations.join(pads, on="case_id", how="left", maintain_order="left")
    if _from_screen(options):
        fixations = on_image(fixations)
        on = pl.col("inside")
    if options.vertical_correction:
        fixations = _correct(fixations)
        on &= pl.col("y") > 0
    # Without a readable header the edges are unknown; such an image will not be in a store either.
    on &= (pl.col("x") < pl.col("columns")).fill_null(True) & (pl.col("y") < pl.col("rows")).fill_null(True)
    return fixations.with_columns(on=on.fill_null(False))


def _correct(fixations: pl.DataFrame) -> pl.DataFrame:
    """The fixations with y corrected for a picture of 1024 lines in the middle of the screen's 1080 lines.

    Y_ORIGINAL was computed as if picture line and screen line were the same, 1080·FPOGY. If the picture is
    letterboxed, line = 1080·FPOGY − 28, and of the picture's 1024 lines those from `top` to 1024 − `bottom`
    show the image (rows rounded up to even): y = (line − top)·rows / (1024 − top − bottom). The two differ by
    0 in the middle and by ±79 px at the edges of an image of 3056 rows. This is inferred from the authors'
    code and the size of the pictures. Where `rows` is unknown, y is unchanged.
    """
    line = SCREEN_LINES * pl.col("screen_y") - (SCREEN_LINES - PICTURE_LINES) / 2
    rows = pl.col("rows") + pl.col("rows") % 2
    corrected = (line - pl.col("top")) * rows / (PICTURE_LINES - pl.col("top") - pl.col("bottom"))
    return fixations.with_columns(y=pl.when(pl.col("rows").is_null()).then("y").otherwise(corrected))


def _digest(ids: set[str]) -> str:
    """A digest that distinguishes lists without revealing an id."""
    return f"{len(ids)} ids, sha256 {hashlib.sha256(chr(10).join(sorted(ids)).encode()).hexdigest()[:16]}"


SOURCE = Source(
    EgdOptions,
    read,
    "radgaze prepare egd --egd egd-cxr/1.0.0 --mimic mimic-cxr/2.0.0 --out store",  # flags: a command
)
