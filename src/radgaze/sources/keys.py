"""Comparison of names that differ in Unicode forms, letter case or spaces only."""

from __future__ import annotations

import polars as pl

from radgaze.sources.dialect import called

__all__ = ["alike", "called", "composed", "respelled"]


def composed(text: pl.Expr) -> pl.Expr:
    """Texts in Unicode's composed form, in which ü is one character."""
    return text.str.normalize("NFC")


def alike(text: pl.Expr) -> pl.Expr:
    """Keys that are equal where names differ in letter case, spaces and the form of characters only."""
    return text.str.normalize("NFKC").str.to_lowercase().str.replace_all(r"[\s\p{Cf}]+", "")


def respelled(keys: pl.Series, valid: pl.DataFrame) -> dict[str, str]:
    """The valid key of each invalid one that differs in spelling only, see `alike`, if it is of one case.

    Args:
        keys: Keys to look up.
        valid: Table with key and case_id.
    """
    lost = keys.drop_nulls().unique().rename("lost").to_frame()
    lost = lost.join(valid, left_on="lost", right_on="key", how="anti").with_columns(
        plain=alike(pl.col("lost"))
    )
    if lost.is_empty():
        return {}
    near = valid.select("key", "case_id", plain=alike(pl.col("key"))).join(lost, on="plain", how="semi")
    one = near.group_by("plain").agg(pl.col("case_id").n_unique().alias("cases"), pl.col("key").first())
    matches = lost.join(one.filter(pl.col("cases") == 1), on="plain")
    return dict(matches.select("lost", "key").iter_rows())
