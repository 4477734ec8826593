"""Stored measurements of single methods.

An audit that was interrupted, or is repeated with a further method, continues from them. They record the
settings, cases and weights with which they were made, and are used only for the same ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from pydantic import TypeAdapter

from radgaze.console import note
from radgaze.errors import UserError
from radgaze.evaluation.audit.aspects import ASPECTS
from radgaze.evaluation.audit.aspects.audited_maps import Figures
from radgaze.files import read_json, read_parquet, write_text
from radgaze.records import plain
from radgaze.tables import write_parquet

FOLDER = "methods"
SCHEMA: dict[str, type[pl.DataType]] = {
    "case_id": pl.String,
    "method": pl.String,
    "aspect": pl.String,
    "metric": pl.String,
    "value": pl.Float64,
}


@dataclass(frozen=True)
class MethodMeasurements:
    """Measurements of a method, a baseline map or a ceiling.

    Attributes:
        method: Name of the method.
        figures: Table of case_id, method, aspect, metric and value (null where undefined).
        overall: Figures that belong to no single case, by aspect and metric.
        details: Further values by aspect, see `Measurement.detail`.
        unsupported: Reason why an aspect was not measured, by the aspect's name.
    """

    method: str
    figures: pl.DataFrame
    overall: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    details: Mapping[str, object] = field(default_factory=dict)
    unsupported: Mapping[str, str] = field(default_factory=dict)


def rows(method: str, aspect: str, case_ids: Sequence[str], figures: Figures) -> pl.DataFrame:
    """Convert the figures (B,) of one aspect, by metric, to rows of `MethodMeasurements.figures`."""
    parts = [
        pl.DataFrame(
            {
                "case_id": list(case_ids),
                "method": [method] * len(case_ids),
                "aspect": [aspect] * len(case_ids),
                "metric": [metric] * len(case_ids),
                "value": np.asarray(values, dtype=np.float64),
            },
            schema=SCHEMA,
        )
        for metric, values in figures.items()
    ]
    return pl.concat([pl.DataFrame(schema=SCHEMA), *parts]).with_columns(pl.col("value").fill_nan(None))


def store(measurements: MethodMeasurements, folder: Path, made_with: Mapping[str, object]) -> None:
    """Write measurements into METHOD.parquet, and then METHOD.json, each atomically.

    Args:
        measurements: The measurements.
        folder: Folder of the files; it is created if it is missing.
        made_with: Settings, cases and weights with which they were made, as JSON values.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text, table = (folder / f"{measurements.method}.{kind}" for kind in ("json", "parquet"))
    text.unlink(missing_ok=True)
    write_parquet(measurements.figures, table)
    content = {
        "made_with": made_with,
        "alone": measurements.overall,
        "details": measurements.details,
        "unsupported": measurements.unsupported,
    }
    write_text(json.dumps(plain(content), ensure_ascii=False, allow_nan=False) + "\n", text)


def load(method: str, folder: Path, made_with: Mapping[str, object]) -> MethodMeasurements | None:
    """Read the measurements of a method.

    Args:
        method: Name of the method.
        folder: Folder of the files.
        made_with: Settings, cases and weights with which they must have been made, see `store`.

    Returns:
        The measurements; None where they are missing, damaged, or made with other values.
    """
    text, table = (folder / f"{method}.{kind}" for kind in ("json", "parquet"))
    if not (text.is_file() and table.is_file()):
        return None
    advice = "it is measured again"
    try:
        content = read_json(text, lambda value: isinstance(value, dict), advice)
        if content["made_with"] != json.loads(json.dumps(made_with)):
            return None
        overall = TypeAdapter(dict[str, dict[str, float]]).validate_python(content["alone"])
        details: dict[str, object] = {
            aspect: ASPECTS[aspect].read_detail(detail) for aspect, detail in content["details"].items()
        }
        figures = read_parquet(table, tuple(SCHEMA), advice)
        if dict(figures.schema) != SCHEMA:
            raise UserError(f"{table} does not hold figures of an audit; {advice}")
        unsupported = TypeAdapter(dict[str, str]).validate_python(content["unsupported"])
        return MethodMeasurements(method, figures, overall, details, unsupported)
    except UserError as error:
        note(str(error))
    except (ValueError, LookupError, TypeError, AttributeError):
        note(f"{text} does not hold what an audit writes; {advice}")
    return None
