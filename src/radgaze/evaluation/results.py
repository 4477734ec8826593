"""What `evaluate` left in a run's folder, read without trust."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from radgaze.errors import UserError
from radgaze.files import read_json, read_parquet

METRICS, AGREEMENT = "metrics.json", "agreement.parquet"


def read_metrics(run: Path) -> dict[str, Any]:
    """RUN/metrics.json.

    Raises:
        UserError: There is none, or it is damaged.
    """
    if not (run / METRICS).is_file():
        raise UserError(f"{run} has no {METRICS}; run `radgaze evaluate {run}` first")

    return dict(read_json(run / METRICS, lambda found: isinstance(found, dict), _advice(run)))


def read_agreement(run: Path) -> pl.DataFrame:
    """RUN/agreement.parquet: case_id, patient, map and a column per metric.

    Raises:
        UserError: It is damaged.
    """
    return read_scores(run / AGREEMENT)


def read_scores(path: Path) -> pl.DataFrame:
    """The same, or another table of a run with a row for each case and map.

    Raises:
        UserError: It is damaged.
    """
    return read_parquet(path, ("case_id", "map"), _advice(path.parent))


def _advice(run: Path) -> str:
    return f"make it anew: radgaze evaluate {run}"
