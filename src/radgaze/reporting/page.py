"""From numbers and pictures to one HTML file that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import escape
from PIL import Image

from radgaze import __version__
from radgaze.files import write_text
from radgaze.reporting.panels import Panel
from radgaze.reporting.statistics_words import cautions
from radgaze.reporting.style import heat_gradient, picture_uri, png_uri
from radgaze.reporting.wording import bounds, difference, interval, number, signed


@dataclass(frozen=True)
class Picture:
    """An image of the page: its source as a data URI, its size in CSS pixels, words for who cannot see it."""

    source: str
    alt: str
    width: int
    height: int
    caption: str = ""


def write_page(template: str, path: Path, **context: Any) -> Path:
    """Fill a template of `templates/` and write it; every value is escaped, a missing one is an error."""
    environment = Environment(
        loader=PackageLoader("radgaze.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        number=number,
        bounds=bounds,
        signed=signed,
        difference=difference,
        interval=interval,
        version=__version__,
        gradient=heat_gradient(),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    text = environment.get_template(template).render(**context)
    for note in cautions(text):
        text = text.replace("</main>", f'<p class="note">{escape(note)}</p>\n</main>')
    write_text(text, path)
    return path


def figure_picture(path: Path, alt: str, caption: str = "", *, dpi: int = 160) -> Picture:
    """A figure's PNG file, shown at its size in inches (96 CSS pixels each)."""
    with Image.open(path) as image:
        width, height = image.size
    return Picture(png_uri(path), alt, round(width * 96 / dpi), round(height * 96 / dpi), caption)


def panel_pictures(row: Sequence[Panel], case_id: str) -> list[dict[str, Any]]:
    """A row of panels as the template's `case_row` wants it."""
    shown = []
    for panel in row:
        height, width = panel.pixels.shape[:2] if panel.pixels is not None else (0, 0)
        what = "Chest radiograph" if panel.title == "Radiograph" else f"{panel.title} over the radiograph"
        shown.append(
            {
                "title": panel.title,
                "note": panel.note,
                "source": picture_uri(panel.pixels) if panel.pixels is not None else "",
                "alt": f"{what} of case {case_id}",
                "width": width,
                "height": height,
            }
        )
    return shown
