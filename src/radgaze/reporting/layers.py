"""Pictures of cases in layers: the radiograph once, as stored, and each map translucent over it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from radgaze.reporting.style import HEAT

CONTOUR = (86, 180, 233)
"""Colour of the outline, Okabe & Ito's sky blue: neither a grey of the radiograph nor a colour of the map."""
OPACITY = 0.72
"""Opacity of a map where it is 1, at which bones and vessels remain visible."""
LEVELS = 63
"""Number of values of a map that a layer distinguishes; one more colour is that of the outline."""


@dataclass(frozen=True)
class Layers:
    """A radiograph and a map over it.

    Attributes:
        radiograph: Grey values of shape (h, w).
        values: Map of shape (h, w), in [0, 1]; None for the radiograph alone.
        outline: Pixels (h, w) of the outline that is drawn on top; None for none.
    """

    radiograph: NDArray[np.uint8]
    values: NDArray[np.floating] | None = None
    outline: NDArray[np.bool_] | None = None


def opacity(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the opacity of a map, in [0, `OPACITY`], which grows with its values."""
    shown: NDArray[np.floating] = OPACITY * np.clip(values, 0, 1) ** 0.75
    return shown


def overlay(
    grey: NDArray[np.uint8], values: NDArray[np.floating], outline: NDArray[np.bool_] | None
) -> NDArray[np.uint8]:
    """Lay a map over a radiograph, with an opacity that grows with its values.

    Args:
        grey: Radiograph of shape (h, w, 3).
        values: Map of shape (h, w), in [0, 1].
        outline: Pixels (h, w) of the outline of gaze, which is drawn on top; None for none.

    Returns:
        The picture (h, w, 3).
    """
    alpha = opacity(values)[..., None]
    mixed = (1 - alpha) * grey + alpha * 255 * HEAT(values)[..., :3]
    if outline is not None:
        mixed[outline] = CONTOUR
    laid: NDArray[np.uint8] = np.round(mixed).astype(np.uint8)
    return laid


def map_uri(values: NDArray[np.floating], outline: NDArray[np.bool_] | None = None) -> str:
    """Convert a map (h, w) in [0, 1] to a translucent PNG, which laid over a radiograph is `overlay`.

    It has a palette of `LEVELS` values and the outline, a quarter of the size of a PNG of true colour.
    """
    places = np.round((LEVELS - 1) * np.clip(values, 0, 1)).astype(np.uint8)
    if outline is not None:
        places[outline] = LEVELS
    levels = np.linspace(0, 1, LEVELS)
    colours = np.round(255 * HEAT(levels)[:, :3]).astype(np.uint8).tobytes() + bytes(CONTOUR)
    alpha = np.round(255 * opacity(levels)).astype(np.uint8).tobytes() + b"\xff"
    picture = Image.fromarray(places, "P")
    picture.putpalette(colours)
    buffer = BytesIO()
    picture.save(buffer, format="PNG", transparency=alpha, optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
