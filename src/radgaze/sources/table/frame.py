"""Positions in a picture that is not the image itself."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from radgaze.errors import UserError


def frame_of(words: str | None, option: str) -> tuple[int, int] | None:
    """Width and height of the picture that positions refer to; None for the image.

    Raises:
        UserError: The words are not WIDTHxHEIGHT.
    """
    if words is None:
        return None
    width, cross, height = words.lower().partition("x")
    if not (cross and width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise UserError(f"{option} {words}: WIDTHxHEIGHT in pixels is expected, such as 1024x1024")
    return int(width), int(height)


def scaled(
    own: pl.DataFrame, frame: tuple[int, int] | None, across: Sequence[str], down: Sequence[str]
) -> pl.DataFrame:
    """What has rows and columns of its images, with positions `across` and `down` in pixels of these."""
    if frame is None:
        return own
    zoom = {
        **dict.fromkeys(across, pl.col("columns") / frame[0]),
        **dict.fromkeys(down, pl.col("rows") / frame[1]),
    }
    return own.with_columns(pl.col(name) * by.fill_null(1) for name, by in zoom.items())
