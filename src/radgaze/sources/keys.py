"""Comparison of names that differ only in Unicode forms, letter case or spaces."""

from __future__ import annotations

import polars as pl

from radgaze.sources.dialect import called

__all__ = ["alike", "called", "composed", "respelled"]


def composed(text: pl.Expr) -> pl.Expr:
    """Convert texts to Unicode's composed form (NFC), in which ü is one character."""
    return text.str.normalize("NFC")


def alike(text: pl.Expr) -> pl.Expr:
    """Convert names to keys, equal for names that differ only in letter case, spaces and Unicode form."""
    return text.str.normalize("NFKC").str.to_lowercase().str.replace_all(r"[\s\p{Cf}]+", "")


def respelled(keys: pl.Series, valid: pl.DataFrame) -> dict[str, str]:
    """Find for each unknown key the valid key that differs only in spelling, see `alike`.

    Args:
        keys: Keys to look up.
        valid: Table with key and case_id.

    Returns:
        The valid key by unknown key, where all valid keys that are alike belong to one case.
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
