"""RUN/history.csv: losses, AUC, learning rate and time of each epoch."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from radgaze.errors import UserError
from radgaze.files import read_csv

HISTORY = "history.csv"


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
