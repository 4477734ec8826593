"""Links between the pages of runs: relative, both ways, and only to pages that exist and lie near."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from radgaze.errors import UserError
from radgaze.files import write_text

BEGIN, END = '<nav class="pages" aria-label="Other pages">', "</nav><!-- pages -->"
_LINK = re.compile(r'<a href="([^"<>]+)">([^<>]*)</a>')
# At most two folders up: an address names no folder further away than that.
_ADDRESS = re.compile(r"(\.\./){0,2}(?!\.\.)[\w.~%-]+(/(?!\.\.)[\w.~%-]+){0,2}\.html", re.ASCII)


@dataclass(frozen=True)
class Link:
    """A page, and the words that link to it.

    Attributes:
        words: The words.
        path: The page.
    """

    words: str
    path: Path


def navigation(page: Path, links: Iterable[Link]) -> str:
    """Make the list of links of a page, as HTML, with those of the page that it replaces.

    Args:
        page: Path of the page.
        links: Its links; those to pages that do not exist, or are far away, are left out.

    Returns:
        The list; it is empty, and shows nothing, where there is no link.
    """
    by_address = _links_in(_text(page), page)
    for link in links:
        address = relative(link.path, page)
        if address is not None and link.path.is_file():
            by_address[address] = link.words
    return _as_html(by_address)


def link_back(page: Path, words: str, links: Iterable[Link]) -> None:
    """Add a link to a page to the pages that it links to; a page that cannot be written stays as it is.

    Args:
        page: Path of the page.
        words: Words of the link to it.
        links: Its links.
    """
    for link in links:
        text, address = _text(link.path), relative(page, link.path)
        if address is None or BEGIN not in text or link.path.is_symlink():
            continue
        by_address = _links_in(text, link.path)
        if by_address.get(address) == words:
            continue
        before, _, rest = text.partition(BEGIN)
        after = rest.partition(END)[2]
        try:
            write_text(before + _as_html({**by_address, address: words}) + after, link.path)
        except (OSError, UserError):
            continue


def relative(target: Path, page: Path) -> str | None:
    """Return the address of a page from another; None where the way would name folders far away."""
    try:
        way = Path(os.path.relpath(target.resolve(), page.resolve().parent)).as_posix()
    except ValueError:  # on another drive
        return None
    address = quote(way)
    return address if _ADDRESS.fullmatch(address) else None


def _as_html(links: Mapping[str, str]) -> str:
    shown = " ".join(
        f'<a href="{html.escape(address)}">{html.escape(words)}</a>' for address, words in links.items()
    )
    return f"{BEGIN}{shown}{END}"


def _links_in(text: str, page: Path) -> dict[str, str]:
    """The links of a page to pages that still exist: words by address."""
    block = text.partition(BEGIN)[2].partition(END)[0]
    return {
        address: html.unescape(words)
        for address, words in _LINK.findall(block)
        if _ADDRESS.fullmatch(address) and (page.parent / unquote(address)).is_file()
    }


def _text(page: Path) -> str:
    try:
        return page.read_text(encoding="utf-8") if page.is_file() else ""
    except (OSError, UnicodeDecodeError):
        return ""
