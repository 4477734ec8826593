"""Checks of a page's HTML: whether its tags are balanced, and whether it fetches anything."""

from __future__ import annotations

import itertools
import re
from html.parser import HTMLParser

_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


class Page(HTMLParser):
    """A parsed page; raises AssertionError at the first tag that does not close where it should."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute twice in <{tag}>"
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.open.pop()
        if tag in ("td", "th", "dt", "dd", "p", "li"):
            self.words.append(" ")

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))

    @property
    def images(self) -> list[dict[str, str | None]]:
        return [attrs for tag, attrs in self.tags if tag == "img"]


def assert_self_contained(text: str) -> None:
    page = Page(text)
    for tag, attrs in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base"), f"<{tag}>"
        for name in ("src", "href", "srcset", "data", "poster", "action", "background"):
            value = attrs.get(name)
            assert value is None or value.startswith(("data:image/", "#")), f"<{tag} {name}={value[:60]}>"
        assert not any(name.startswith("on") for name in attrs)
    assert not re.search(r"url\(|@import", text)
    assert not re.search(r"https?:", text)


def assert_accessible(text: str) -> None:
    page = Page(text)
    assert all(image.get("alt") for image in page.images)
    assert all(image.get("width") and image.get("height") for image in page.images)
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert all(attrs.get("scope") for tag, attrs in page.tags if tag == "th")
    assert ("html", {"lang": "en"}) in page.tags
