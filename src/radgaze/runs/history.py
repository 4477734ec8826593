"""RUN/history.csv: what became of each epoch."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from radgaze.errors import UserError
from radgaze.files import read_csv

HISTORY = "history.csv"


def read_history(path: Path) -> pl.DataFrame:
    """A row per epoch: epoch, train/…, validate/…, learning_rate, seconds.

    Raises:
        UserError: It is damaged, or no history.
    """
    advice = "it is no history of a training: remove it, and figures go on without the epochs in it"
    table = read_csv(path, ("epoch", "learning_rate", "seconds"), advice)
    # A figure that no epoch had is no text.
    if not table["epoch"].dtype.is_integer() or not all(
        kind.is_numeric() or kind == pl.Null for kind in table.dtypes
    ):
        raise UserError(f"{path} has cells that are no numbers; {advice}")
    return table
