"""What an audit measured of one method, kept in a file of its own as soon as it is whole.

An audit that was interrupted, or is asked for one method more, goes on from there. A part holds under which
settings, of which cases and of which weights it was measured; one that was measured otherwise does not count.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from radgaze.console import say
from radgaze.errors import UserError
from radgaze.evaluation.audit.aspects import ASPECTS
from radgaze.evaluation.audit.aspects.subject import Figures
from radgaze.files import read_json, read_parquet, write_text
from radgaze.tables import write_parquet

FOLDER = "methods"
SCHEMA: dict[str, Any] = {
    "case_id": pl.String,
    "method": pl.String,
    "aspect": pl.String,
    "metric": pl.String,
    "value": pl.Float64,
}


@dataclass(frozen=True)
class Part:
    """Attributes:
    method: Name of the method, or of a map that knows nothing of the case.
    figures: case_id, method, aspect, metric, value (null where undefined).
    alone: By aspect and metric the figures that belong to no single case.
    details: By aspect what else it keeps, as JSON holds it, see `Aspect.entry`.
    """

    method: str
    figures: pl.DataFrame
    alone: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


def rows(method: str, aspect: str, case_ids: Sequence[str], figures: Figures) -> pl.DataFrame:
    """Figures (B,) of one aspect as rows of `Part.figures`."""
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


def keep(part: Part, folder: Path, made_with: Mapping[str, Any]) -> None:
    """Write a part, each file whole or not at all; that which says what it was made with comes last."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {"made_with": made_with, "alone": part.alone, "details": part.details}
    text, table = (folder / f"{part.method}.{kind}" for kind in ("json", "parquet"))
    text.unlink(missing_ok=True)
    write_parquet(part.figures, table)
    write_text(json.dumps(about, ensure_ascii=False, allow_nan=False) + "\n", text)


def kept(method: str, folder: Path, made_with: Mapping[str, Any]) -> Part | None:
    """The part of a method, if it is there, whole, and was made with the same."""
    text, table = (folder / f"{method}.{kind}" for kind in ("json", "parquet"))
    if not (text.is_file() and table.is_file()):
        return None
    again = "it is measured anew"
    try:
        about = read_json(text, lambda found: isinstance(found, dict), again)
        if about["made_with"] != json.loads(json.dumps(made_with)):
            return None
        alone = {
            aspect: {metric: float(value) for metric, value in found.items()}
            for aspect, found in about["alone"].items()
        }
        for aspect, detail in about["details"].items():
            ASPECTS[aspect].entry({}, detail)  # raises, where it is not what the aspect kept
        figures = read_parquet(table, tuple(SCHEMA), again)
        if dict(figures.schema) != SCHEMA:
            raise UserError(f"{table} does not hold figures of an audit; {again}")
        return Part(method, figures, alone, about["details"])
    except UserError as error:
        say(str(error))
    except (ValueError, LookupError, TypeError, AttributeError):
        say(f"{text} does not hold what an audit writes; {again}")
    return None
