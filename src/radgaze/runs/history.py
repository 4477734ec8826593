"""RUN/history.csv: losses, AUC, learning rate and time of each epoch."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from radgaze.errors import UserError
from radgaze.files import read_csv

HISTORY = "history.csv"


def best_epoch(history: pl.DataFrame, selection: str) -> tuple[int, float] | None:
    """Find the epoch whose weights a run keeps: the first of those with the highest AUC.

    Args:
        history: The history, see `read_history`.
        selection: Split whose AUC selects the epoch, "validate" or "test".

    Returns:
        The epoch, counted from 1, and the AUC; None where the history has none.
    """
    column = f"{selection}/auc"
    if column not in history.columns:
        return None
    points = history.select("epoch", pl.col(column).cast(pl.Float64)).drop_nulls().drop_nans()
    if points.is_empty():
        return None
    epoch, auc = points.sort(column, "epoch", descending=[True, False]).row(0)
    return int(epoch) + 1, float(auc)


def epochs_in(path: Path) -> int:
    """Count the rows of a history that may still be being written; 0 where there is none."""
    try:
        return max(0, path.read_bytes().count(b"\n") - 1)
    except OSError:
        return 0


def read_history(path: Path) -> pl.DataFrame:
    """Read a history: a row per epoch with epoch, train/…, validate/…, learning_rate and seconds.

    Raises:
        UserError: The file is damaged, or is no history.
    """
    advice = "it is no history of a training: remove it, and pages show no epochs before"
    table = read_csv(path, ("epoch", "learning_rate", "seconds"), advice)
    # A column that is empty in every epoch is read as Null.
    if not table["epoch"].dtype.is_integer() or not all(
        kind.is_numeric() or kind == pl.Null for kind in table.dtypes
    ):
        raise UserError(f"{path} has cells that are no numbers; {advice}")
    return table
