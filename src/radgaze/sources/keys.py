"""Names that mean the same though they are written with other characters: Unicode's forms, case, spaces."""

from __future__ import annotations

import polars as pl

from radgaze.sources.dialect import called

__all__ = ["alike", "called", "composed", "respelled"]


def composed(text: pl.Expr) -> pl.Expr:
    """In Unicode's composed form: ü is one character, however a file has it."""
    return text.str.normalize("NFC")


def alike(text: pl.Expr) -> pl.Expr:
    """Equal where names differ by letter case, spaces and the width or form of characters alone."""
    return text.str.normalize("NFKC").str.to_lowercase().str.replace_all(r"[\s\p{Cf}]+", "")


def respelled(keys: pl.Series, known: pl.DataFrame) -> dict[str, str]:
    """Of keys that are not known those that are but for their spelling, see `alike`, and of one case alone.

    Args:
        keys: Text.
        known: key and case_id.
    """
    lost = keys.drop_nulls().unique().rename("lost").to_frame()
    lost = lost.join(known, left_on="lost", right_on="key", how="anti").with_columns(
        plain=alike(pl.col("lost"))
    )
    if lost.is_empty():
        return {}
    near = known.select("key", "case_id", plain=alike(pl.col("key"))).join(lost, on="plain", how="semi")
    one = near.group_by("plain").agg(pl.col("case_id").n_unique().alias("cases"), pl.col("key").first())
    found = lost.join(one.filter(pl.col("cases") == 1), on="plain")
    return dict(found.select("lost", "key").iter_rows())
