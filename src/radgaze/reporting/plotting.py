"""Elements that several figures share."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from numpy.typing import NDArray

from radgaze.reporting.style import MUTED
from radgaze.reporting.wording import bounds


def one_vs_rest(predictions: pl.DataFrame, name: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the labels (N,) and probabilities (N,) of a class.

    Args:
        predictions: One row per case: `probability_<class>` and `label_<class>`.
        name: The class.
    """
    truth = predictions[f"label_{name}"].cast(pl.Int64).to_numpy()
    return truth, predictions[f"probability_{name}"].cast(pl.Float64).to_numpy()


def diagonal(axis: Axes) -> None:
    """Draw the dotted diagonal: chance on a ROC plot, perfect calibration on a reliability diagram."""
    axis.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=":", zorder=1)


def unit_square(axis: Axes) -> None:
    """Set the range of both axes to [0, 1], with ticks at every 0.2."""
    axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), aspect="equal")
    axis.set_xticks(np.linspace(0, 1, 6))
    axis.set_yticks(np.linspace(0, 1, 6))


def point_with_interval(
    axis: Axes,
    y: float,
    entry: object,
    tint: str,
    *,
    marker: str = "o",
    size: float | None = None,
    label: str | None = None,
) -> bool:
    """Draw an entry's value and 95% interval on a horizontal line.

    Args:
        axis: The axes.
        y: Vertical position of the line.
        entry: The entry, see `wording.bounds`.
        tint: Colour.
        marker: Marker of the value.
        size: Size of the marker, in points.
        label: Label of the legend.

    Returns:
        Whether the value is defined.
    """
    value, low, high = bounds(entry)
    if value is None:
        return False
    if low is not None and high is not None:
        axis.plot([low, high], [y, y], color=tint, linewidth=2.2, solid_capstyle="butt")
    axis.plot(
        value,
        y,
        marker,
        color=tint,
        markeredgecolor="white",
        markersize=size,
        linestyle="none",
        label=label,
    )
    return True
