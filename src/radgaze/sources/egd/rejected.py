"""Rejections: the parts of `egd-cxr` that are left out of a cohort, with reasons."""

from __future__ import annotations

import polars as pl

from radgaze.sources.egd.files import ID_LENGTH
from radgaze.sources.streaming import LINE


def unspoken(gone: pl.DataFrame, left: pl.DataFrame) -> pl.DataFrame:
    """Make a rejection for each reading of which fixations are left out by the times of the report.

    Args:
        gone: Fixations that are left out.
        left: Remaining fixations.
    """
    remaining = left.group_by("reading_id").len("remaining")
    cut_off = gone.group_by("reading_id", maintain_order=True).agg(
        pl.col("case_id").first(), pl.len().alias("gone")
    )
    cut_off = cut_off.join(remaining, on="reading_id", how="left", maintain_order="left")
    return cut_off.with_columns(
        reason=pl.lit("not_spoken"),
        detail=pl.format("{} of {} fixations", "gone", pl.col("gone") + pl.col("remaining").fill_null(0)),
    )


def no_gaze(unseen: pl.DataFrame, fixations: pl.DataFrame) -> pl.DataFrame:
    """Make a rejection for each case without a fixation on the image.

    Args:
        unseen: These cases.
        fixations: All fixations, which give the number of recorded ones.
    """
    counts = fixations.group_by("case_id").len("looks")
    looks = pl.col("looks").fill_null(0)
    return unseen.join(counts, on="case_id", how="left", maintain_order="left").with_columns(
        reason=pl.lit("no_gaze"),
        detail=pl.when(looks == 0)
        .then(pl.lit("no fixation was recorded"))
        .otherwise(pl.format("none of {} fixations is on the image", looks)),
    )


def off_image(fixations: pl.DataFrame) -> pl.DataFrame:
    """Make a rejection for each fixation off the image, with its recorded position."""
    return fixations.filter(~pl.col("on")).with_columns(
        reason=pl.lit("off_image_fixation"),
        detail=pl.format("index {} at ({}, {})", "index", *(shown(f"recorded_{axis}") for axis in "xy")),
    )


def gaze_of_nothing(gaze: pl.DataFrame, sheet: pl.DataFrame) -> pl.DataFrame:
    """Make a rejection for each calibration frame, and for each image with gaze that is not in the sheet."""
    length = pl.col("case_id").str.len_chars()
    frames = gaze.filter(length != ID_LENGTH)
    frames = frames.group_by("session", "media", "case_id", maintain_order=True).len("looks")
    strangers = gaze.filter(length == ID_LENGTH).join(sheet, on="case_id", how="anti", maintain_order="left")
    strangers = strangers.group_by("case_id", maintain_order=True).len("looks")
    return pl.concat(
        [
            # The shortened id is the beginning of a real one, so it is not recorded as the case.
            frames.select(
                pl.lit("calibration_frame").alias("reason"),
                pl.lit(None, pl.String).alias("case_id"),
                pl.format(
                    "media {} with an id of {} characters, {} fixations", "media", length, "looks"
                ).alias("detail"),
            ),
            strangers.select(
                pl.lit("gaze_without_case").alias("reason"),
                "case_id",
                pl.format("{} fixations on an image that is not in the sheet", "looks").alias("detail"),
            ),
        ]
    )


def boxes_off_image(boxes: pl.DataFrame) -> pl.DataFrame:
    """Make a rejection for each of these boxes, no part of which is on the image."""
    return boxes.with_columns(reason=pl.lit("off_image_box"), detail=pl.format("{}, line {}", "label", LINE))


def boxes_of_nothing(boxes: pl.DataFrame, sheet: pl.DataFrame) -> pl.DataFrame:
    """Make a rejection for each box of an image that is not in the sheet."""
    strangers = boxes.join(sheet, on="case_id", how="anti", maintain_order="left")
    return strangers.with_columns(
        reason=pl.lit("box_without_case"),
        detail=pl.format("line {}, of an image that is not in the sheet", LINE),
    )


def rejections(table: pl.DataFrame) -> pl.DataFrame:
    """Select the columns of `Cohort.rejections`; reading_id is null where the table has none."""
    if "reading_id" not in table.columns:
        table = table.with_columns(reading_id=pl.lit(None, pl.String))
    return table.select("reason", "case_id", "reading_id", "detail")


def shown(name: str) -> pl.Expr:
    """Format a number as short text, "blank" for null."""
    number = pl.col(name)
    whole = pl.when(number == number.round()).then(number.cast(pl.Int64, strict=False).cast(pl.String))
    return pl.coalesce(whole, number.cast(pl.String), pl.lit("blank"))
