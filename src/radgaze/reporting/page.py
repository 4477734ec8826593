"""From numbers and pictures to one HTML file that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from radgaze import __version__
from radgaze.reporting.panels import Case, panels
from radgaze.reporting.style import heat_gradient, picture_uri, png_uri
from radgaze.reporting.wording import bounds, number


@dataclass(frozen=True)
class Picture:
    """An image of the page: its source as a data URI, its size in CSS pixels, and words for who cannot see it."""

    source: str
    alt: str
    width: int
    height: int
    caption: str = ""


def write_page(template: str, path: Path, **context: Any) -> Path:
    """Fill a template of `templates/` and write it to `path`. Every value is escaped; a missing one is an error."""
    environment = Environment(
        loader=PackageLoader("radgaze.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        number=number, bounds=bounds, version=__version__, gradient=heat_gradient(), columns=5
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(environment.get_template(template).render(**context), encoding="utf-8")
    return path


def figure_picture(path: Path, alt: str, caption: str = "", *, dpi: int = 160) -> Picture:
    """A figure's PNG file, shown at its size in inches (96 CSS pixels each)."""
    with Image.open(path) as image:
        width, height = image.size
    return Picture(png_uri(path), alt, round(width * 96 / dpi), round(height * 96 / dpi), caption)


def case_pictures(case: Case, generator: str, *, mask: bool = True) -> dict[str, Any]:
    """One case as the template's `case_row` wants it."""
    row = []
    for panel in panels(case, generator, mask=mask):
        drawn = panel.pixels is not None
        row.append(
            {
                "title": panel.title,
                "note": panel.note,
                "source": picture_uri(panel.pixels) if panel.pixels is not None else "",
                "alt": _alt(panel.title, case),
                "width": panel.pixels.shape[1] if panel.pixels is not None else 0,
                "height": panel.pixels.shape[0] if drawn and panel.pixels is not None else 0,
            }
        )
    return {
        "case_id": case.case_id,
        "truth": case.truth,
        "predicted": case.predicted,
        "probability": number(case.probability, 2),
        "correct": case.correct,
        "panels": row,
    }


def entries(source: Any, names: Sequence[str]) -> list[Any]:
    """The entry of each name in a metric's mapping; None where it is missing."""
    return [source.get(name) if isinstance(source, dict) else None for name in names]


def _alt(title: str, case: Case) -> str:
    if title == "Radiograph":
        return f"Chest radiograph of case {case.case_id}, {case.truth}"
    return f"{title} map over the radiograph of case {case.case_id}"
