"""What an audit measured of one method, kept in a file of its own as soon as it is whole.

An audit that was interrupted, or is asked for one method more, goes on from there. A part holds under which
settings, of which cases and of which weights it was measured; one that was measured otherwise does not count.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from radgaze.console import say
from radgaze.errors import UserError
from radgaze.evaluation.audit.aspects import Cascade, Figures
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
    cost: "images_per_second" and "forward_passes", where there is something to time.
    cascades: Similarity while weights are drawn anew, where there are weights.
    """

    method: str
    figures: pl.DataFrame
    cost: Mapping[str, float] = field(default_factory=dict)
    cascades: Sequence[Cascade] = ()


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
    about = {
        "made_with": made_with,
        "cost": dict(part.cost),
        "cascades": [
            asdict(c) | {"similarity": {key: plain(v) for key, v in c.similarity.items()}}
            for c in part.cascades
        ],
    }
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
        cascades = [
            Cascade(
                c["mode"],
                tuple(c["layers"]),
                {key: np.array(v, dtype=np.float64) for key, v in c["similarity"].items()},
            )
            for c in about["cascades"]
        ]
        figures = read_parquet(table, tuple(SCHEMA), again)
        if dict(figures.schema) != SCHEMA:
            raise UserError(f"{table} does not hold figures of an audit; {again}")
        return Part(method, figures, about["cost"], cascades)
    except UserError as error:
        say(str(error))
    except (ValueError, LookupError, TypeError, AttributeError):
        say(f"{text} does not hold what an audit writes; {again}")
    return None


def plain(values: Any) -> Any:
    """An array as nested lists, NaN as None."""
    found = np.asarray(values, dtype=object)
    found[~np.isfinite(np.asarray(values, dtype=np.float64))] = None
    return found.tolist()
