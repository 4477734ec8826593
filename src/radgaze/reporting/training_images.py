"""Picture of training images as the network saw them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from radgaze.reporting.style import INK, canvas, styled
from radgaze.runs.training_images import TrainingImage

OUTLINE = "#E69F00"
"""Colour of the outline of a region."""

TILE = 0.95
"""Side of an image in the picture, in inches."""


def draw_training_images(images: Sequence[TrainingImage]) -> Figure:
    """Draw images with the outline of what they keep, above the same images as the network saw them."""
    rows = {"Image": [i.image for i in images], "As the network\nsaw it": [i.seen for i in images]}
    notes = ["" if i.is_changed else "unchanged" for i in images]
    return mosaic(rows, [i.retained for i in images], notes)


def mosaic(
    rows: Mapping[str, Sequence[NDArray[np.uint8]]],
    retained: Sequence[NDArray[np.uint8]],
    notes: Sequence[str] = (),
) -> Figure:
    """Draw rows of grey images (S, S).

    Args:
        rows: The images of each row, by its label; a column is a case.
        retained: What each case keeps, outlined in the first row.
        notes: A note below each column; empty for none.
    """
    width = 1.1 + TILE * max(len(row) for row in rows.values())
    with styled():
        figure = canvas(width, 0.2 + TILE * len(rows))
        grid = figure.subplots(len(rows), len(retained), squeeze=False)
        for axes, (label, row) in zip(grid, rows.items(), strict=True):
            for axis, pixels in zip(axes, row, strict=True):
                axis.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="antialiased")
                axis.set(xticks=[], yticks=[])
                axis.grid(visible=False)
                axis.spines[:].set_visible(False)
            axes[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8, color=INK)
        for axis, region in zip(grid[0], retained, strict=True):
            if region.min() < 255 <= region.max():
                axis.contour(region == region.max(), levels=[0.5], colors=OUTLINE, linewidths=0.9)
        for axis, note in zip(grid[-1], notes, strict=False):
            axis.set_xlabel(note, fontsize=7.5)
    return figure
