"""Checks of a page's HTML: whether its tags are balanced, and whether it fetches anything."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from html.parser import HTMLParser

from radgaze.reporting.page import script

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

    @property
    def scans(self) -> list[dict[str, str | None]]:
        """The pictures of cases, radiographs with or without a map over them."""
        return [attrs for tag, attrs in self.tags if tag == "svg" and attrs.get("class") == "scan"]

    @property
    def maps(self) -> list[str]:
        """The layers of maps over radiographs, as data URIs."""
        return [a["href"] or "" for tag, a in self.tags if tag == "image" and a.get("class") == "map"]

    @property
    def radiographs(self) -> dict[str, str]:
        """The embedded radiographs as data URIs, by id."""
        embedded = [attrs for tag, attrs in self.tags if tag == "image" and "id" in attrs]
        assert len({attrs["id"] for attrs in embedded}) == len(embedded)
        return {attrs["id"] or "": attrs["href"] or "" for attrs in embedded}


def assert_self_contained(text: str) -> None:
    """Assert that a page fetches nothing, and that it runs our script alone."""
    page = Page(text)
    for tag, attrs in page.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base"), f"<{tag}>"
        for name in ("src", "href", "srcset", "data", "poster", "action", "background"):
            value = attrs.get(name)
            if tag == "a" and value is not None and re.fullmatch(r"(\.\./){0,2}[\w.%/-]+\.html", value):
                continue  # another page beside this one
            assert value is None or value.startswith(("data:image/", "#")), f"<{tag} {name}={value[:60]}>"
        assert not any(name.startswith("on") for name in attrs)
    used = {(a["href"] or "")[1:] for tag, a in page.tags if tag == "use"}
    assert used <= set(page.radiographs)
    assert not re.search(r"url\(|@import", text)
    assert not re.search(r"https?:", text)
    scripts = re.findall(r"<script.*?</script>", text, re.DOTALL)
    assert scripts == [f"<script>{script()}</script>"]
    policies = [
        a["content"] or "" for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert len(policies) == 1
    digest = base64.b64encode(hashlib.sha256(script().encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in policies[0]
    assert policies[0].startswith("default-src 'none';")


def assert_accessible(text: str) -> None:
    page = Page(text)
    assert all(image.get("alt") for image in page.images)
    assert all(image.get("width") and image.get("height") for image in page.images)
    assert all(scan.get("aria-label") and scan.get("role") == "img" for scan in page.scans)
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert all(attrs.get("scope") for tag, attrs in page.tags if tag == "th")
    assert ("html", {"lang": "en"}) in page.tags
