"""The lines and the legend of a figure."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from tests.evaluation.known import known


def x_of(line: Line2D) -> list[float]:
    return [float(x) for x in np.asarray(line.get_xdata())]


def y_of(line: Line2D) -> list[float]:
    return [float(y) for y in np.asarray(line.get_ydata())]


def in_legend(axis: Axes) -> list[str]:
    return [text.get_text() for text in known(axis.get_legend()).get_texts()]
