"""Panels of cases as a page shows them, each radiograph embedded once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from radgaze.reporting.case_panels import Panel
from radgaze.reporting.layers import map_uri
from radgaze.reporting.style import picture_uri

QUALITY = 85
"""JPEG quality of radiographs."""


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
