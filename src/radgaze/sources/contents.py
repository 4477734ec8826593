"""Columns of the tables of a cohort: names, types and rules."""

from __future__ import annotations

import polars as pl

REASONS = (
    "missing_image",
    "unreadable_image",
    "no_gaze",
    "gaze_without_case",
    "calibration_frame",
    "off_image_fixation",
    "box_without_case",
    "off_image_box",
    "not_in_keep_list",
    "duplicate_case",
    "no_label",
    "discarded_reading",
    "size_mismatch",
    "not_frontal",
    "orientation",
    "not_spoken",
    "duplicate_reading",
    "unreadable_mask",
    "mask_without_case",
    "twin_without_case",
    "not_in_split_file",
    "patient_in_two_splits",
)
"""Reasons of rejections; stable identifiers."""

SPLITS = ("train", "validate", "test")

Schema = dict[str, type[pl.DataType]]
NO_READINGS: Schema = {
    **dict.fromkeys(("reading_id", "case_id", "reader"), pl.String),
    "recorded": pl.Int32,
    "duration": pl.Float64,
}
NO_FIXATIONS: Schema = {
    "reading_id": pl.String,
    "index": pl.Int32,
    **dict.fromkeys(("x", "y", "onset", "duration"), pl.Float64),
}
NO_BOXES: Schema = {
    **dict.fromkeys(("case_id", "label"), pl.String),
    **dict.fromkeys(("x1", "y1", "x2", "y2"), pl.Float64),
}
NO_REJECTIONS: Schema = dict.fromkeys(("reason", "case_id", "reading_id", "detail"), pl.String)
NO_REGIONS: Schema = dict.fromkeys(("case_id", "label", "file"), pl.String)
NO_MENTIONS: Schema = {
    "reading_id": pl.String,
    "index": pl.Int32,
    "label": pl.String,
    "share": pl.Float64,
}
NO_TWINS: Schema = dict.fromkeys(
    ("case_id", "twin_of", "image", "confounder", "shows", "original_shows"), pl.String
)
"""Columns of tables that a source may leave out."""

VIEWS = ("degree_x", "degree_y", "shown_x1", "shown_y1", "shown_x2", "shown_y2")
"""Optional columns of fixations: image px per degree of visual angle, and the part of the image that was
shown, in image px. A table has all of them or none."""
SHAPES = ("box", "ellipse")
