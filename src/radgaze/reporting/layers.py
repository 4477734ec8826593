"""Pictures of cases in layers: the radiograph once, as stored, and each map translucent over it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from radgaze.reporting.style import HEAT, picture_uri

if TYPE_CHECKING:
    from radgaze.reporting.case_panels import Panel

CONTOUR = (86, 180, 233)
"""Colour of the outline, Okabe & Ito's sky blue: neither a grey of the radiograph nor a colour of the map."""
OPACITY = 0.72
"""Opacity of a map where it is 1, at which bones and vessels remain visible."""
LEVELS = 63
"""Number of values of a map that a layer distinguishes; one more colour is that of the outline."""
QUALITY = 85
"""JPEG quality of radiographs."""


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


@dataclass(frozen=True)
class ShownPanel:
    """A panel, for the macro `case_row`.

    Attributes:
        title: Title below the picture.
        note: Remark beside the title, or the text in place of a missing picture.
        alt: Description for readers who cannot see it.
        width: Width in CSS pixels.
        height: Height in CSS pixels.
        source: Data URI of a picture without layers, or of the map's layer; empty where there is none.
        radiograph: Id of the radiograph on the page; empty for a picture without layers.
        embedded: Data URI of the radiograph, where the page shows it first; empty elsewhere.
    """

    title: str
    note: str
    alt: str
    width: int = 0
    height: int = 0
    source: str = ""
    radiograph: str = ""
    embedded: str = ""

    @property
    def is_missing(self) -> bool:
        """Whether there is no picture."""
        return not (self.source or self.radiograph)


class Pictures:
    """The pictures of one page; it embeds each radiograph once, where it comes first."""

    def __init__(self) -> None:
        self._embedded: set[str] = set()

    def row(self, panels: Sequence[Panel], case_id: str) -> list[ShownPanel]:
        """Convert the panels of a case for the macro `case_row`, in the order of the page."""
        return [self._shown(panel, case_id) for panel in panels]

    def _shown(self, panel: Panel, case_id: str) -> ShownPanel:
        subject = "Chest radiograph" if panel.title == "Radiograph" else f"{panel.title} over the radiograph"
        alt = f"{subject} of case {case_id}"
        if panel.layers is None:
            if panel.pixels is None:
                return ShownPanel(panel.title, panel.note, alt)
            height, width = panel.pixels.shape[:2]
            return ShownPanel(panel.title, panel.note, alt, width, height, picture_uri(panel.pixels))
        layers = panel.layers
        height, width = layers.radiograph.shape
        grey = picture_uri(layers.radiograph, quality=QUALITY)
        key = "r" + hashlib.sha256(grey.encode()).hexdigest()[:16]
        first = key not in self._embedded
        self._embedded.add(key)
        return ShownPanel(
            panel.title,
            panel.note,
            alt,
            width,
            height,
            source="" if layers.values is None else map_uri(layers.values, layers.outline),
            radiograph=key,
            embedded=grey if first else "",
        )


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
