"""Order of the figures of an evaluation in a table, and the beginning of the table as text and HTML."""

from __future__ import annotations

import polars as pl

from radgaze.display import html_facts
from radgaze.evaluation import baselines
from radgaze.evaluation.interval_estimate import IntervalEstimate

MACRO = "macro"
"""Group of the mean over classes, beside the classes themselves."""

SHOWN = 20
"""Number of figures that are shown at the prompt and in a notebook."""

OWN_MAPS = ("heatmap", "mask", "grad_cam")
"""Maps of the model, in the order in which they are shown."""

Row = tuple[str, str, str | None, IntervalEstimate]
"""Split, metric, class or map, and the figure."""


def ordered(predictions: list[Row], maps: list[Row]) -> list[Row]:
    """Order the figures of predictions and of maps by what a user looks for first."""

    def place(row: Row) -> int:
        return OWN_MAPS.index(row[2]) if row[2] in OWN_MAPS else len(OWN_MAPS)

    auc = [row for row in predictions if row[:2] == ("test", "auc")]
    return [
        *sorted(auc, key=lambda row: row[2] != MACRO),
        *sorted((row for row in maps if row[2] not in baselines.REGISTRY), key=place),
        *(row for row in predictions if row[0] == "test" and row[1] != "auc"),
        *(row for row in maps if row[2] in baselines.REGISTRY),
        *(row for row in predictions if row[0] != "test"),
    ]


def text(title: str, table: pl.DataFrame) -> str:
    """Format the beginning of a table of figures for the prompt."""
    with _whole():
        return f"{_head(title, table)}\n{table.head(SHOWN)}"


def html(title: str, table: pl.DataFrame) -> str:
    """Format the beginning of a table of figures for a notebook."""
    with _whole():
        return html_facts(_head(title, table), {}) + table.head(SHOWN)._repr_html_()


def _head(title: str, table: pl.DataFrame) -> str:
    cut = table.height > SHOWN
    return title + (f"; the first {SHOWN} of {table.height} figures, `to_frame()` has all" if cut else "")


def _whole() -> pl.Config:
    """Let Polars show all rows of a table, and neither its shape nor its types."""
    return pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True)
