"""Rendering of templates: each page is one HTML file, with its pictures embedded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image

from radgaze.files import write_text
from radgaze.reporting.case_panels import Panel
from radgaze.reporting.statistics_words import cautions
from radgaze.reporting.style import DPI, heat_gradient, picture_uri, png_uri
from radgaze.reporting.wording import bounds, difference, interval, number, signed
from radgaze.version import __version__


@dataclass(frozen=True)
class Picture:
    """A figure of a page.

    Attributes:
        source: Data URI of the image.
        alt: Description for readers who cannot see it.
        width: Width in CSS pixels.
        height: Height in CSS pixels.
        caption: Caption; may be empty.
    """

    source: str
    alt: str
    width: int
    height: int
    caption: str = ""


@dataclass(frozen=True)
class ShownPanel:
    """A panel, for the macro `case_row`.

    Attributes:
        title: Title below the picture.
        note: Remark beside the title, or the text in place of a missing picture.
        source: Data URI of the image; empty where there is none.
        alt: Description for readers who cannot see it.
        width: Width in CSS pixels.
        height: Height in CSS pixels.
    """

    title: str
    note: str
    source: str
    alt: str
    width: int
    height: int


@cache
def environment() -> Environment:
    """Return the environment of the templates: values are escaped, and a missing value is an error."""
    templates = Environment(
        loader=PackageLoader("radgaze.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals.update(
        number=number,
        bounds=bounds,
        signed=signed,
        difference=difference,
        interval=interval,
        version=__version__,
        gradient=heat_gradient(),
    )
    return templates


def fill(template: str, html: str | None = None, /, **context: object) -> Markup:
    """Fill a template of `templates/`, or the text of one.

    Args:
        template: File of the template.
        html: Text of a template, in place of the file; None for the file.
        context: Values by the names in the template.
    """
    templates = environment()
    chosen = templates.get_template(template) if html is None else templates.from_string(html)
    return Markup(chosen.render(**context))  # noqa: S704 - the template escapes its values


def write_page(template: str, path: Path, **context: object) -> Path:
    """Fill a template of `templates/` and write the page, with the notes that its marks need (`cautions`)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = str(fill(template, None, **context))
    for note in cautions(text):
        text = text.replace("</main>", f'<p class="note">{escape(note)}</p>\n</main>')
    write_text(text, path)
    return path


def figure_picture(path: Path, alt: str, caption: str = "", *, dpi: int = DPI) -> Picture:
    """Embed the PNG file of a figure, shown at its size in inches, of 96 CSS pixels each.

    Args:
        path: The PNG file.
        alt: Description for readers who cannot see the figure.
        caption: Caption; may be empty.
        dpi: Pixels per inch of the file.
    """
    with Image.open(path) as image:
        width, height = image.size
    return Picture(png_uri(path), alt, round(width * 96 / dpi), round(height * 96 / dpi), caption)


def panel_pictures(row: Sequence[Panel], case_id: str) -> list[ShownPanel]:
    """Convert the panels of a case for the macro `case_row`."""
    return [_shown(panel, case_id) for panel in row]


def slug(name: str) -> str:
    """Convert the name of a class to a part of a file name."""
    return re.sub(r"[^\w-]+", "_", name)


def _shown(panel: Panel, case_id: str) -> ShownPanel:
    height, width = panel.pixels.shape[:2] if panel.pixels is not None else (0, 0)
    subject = "Chest radiograph" if panel.title == "Radiograph" else f"{panel.title} over the radiograph"
    return ShownPanel(
        title=panel.title,
        note=panel.note,
        source=picture_uri(panel.pixels) if panel.pixels is not None else "",
        alt=f"{subject} of case {case_id}",
        width=width,
        height=height,
    )
