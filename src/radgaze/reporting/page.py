"""Rendering of templates: each page is one HTML file, with its pictures embedded."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image

from radgaze.files import write_text
from radgaze.reporting.links import Link, link_back, navigation
from radgaze.reporting.statistics_words import cautions
from radgaze.reporting.style import DPI, heat_gradient, png_uri
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
        script=Markup(script()),  # noqa: S704 - our own file
        policy=policy(script()),
    )
    return templates


@cache
def script() -> str:
    """Return the script of pages, `templates/page.js`, which sorts tables and enlarges pictures of cases."""
    return (files("radgaze.reporting") / "templates" / "page.js").read_text(encoding="utf-8")


def policy(script: str) -> str:
    """Return the content security policy of a page: nothing is fetched, and no script but this one runs."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )


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


def write_page(
    template: str, path: Path, *, links: Sequence[Link] = (), words: str = "", **context: object
) -> Path:
    """Fill a template of `templates/` and write the page, with the notes that its marks need (`cautions`).

    Args:
        template: File of the template.
        path: Path of the page.
        links: Other pages that it links to, where they exist, and that link to it.
        words: Words of their links to it.
        context: Values by the names in the template.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = Markup(navigation(path, links))  # noqa: S704 - which escapes its words
    text = str(fill(template, None, navigation=beside, **context))
    for note in cautions(text):
        text = text.replace("</main>", f'<p class="note">{escape(note)}</p>\n</main>')
    write_text(text, path)
    link_back(path, words, links)
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


def slugs(names: Iterable[str]) -> dict[str, str]:
    """Convert the names of classes to parts of file names, of which no two are the same.

    Names that differ only in special characters, or in what is capital, which not every file system
    distinguishes, end with a part of their hash.

    Args:
        names: All names whose files stand in one folder.
    """
    plain = {name: re.sub(r"[^\w-]+", "_", name) for name in names}
    times = Counter(each.casefold() for each in plain.values())
    endings = {name: f"-{hashlib.sha256(name.encode()).hexdigest()[:6]}" for name in plain}
    return {
        name: each + endings[name] if times[each.casefold()] > 1 else each for name, each in plain.items()
    }
