"""Summary of a store: its cases by split and class, its rejections, and what a user must know."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import polars as pl

from radgaze.display import html_facts, html_table, near, text_facts, text_table
from radgaze.errors import UserError
from radgaze.sources.contents import SPLITS
from radgaze.store.manifest import Manifest
from radgaze.words import count

OFF_IMAGE = "off_image_fixation"
MANY_OFF = 0.1
"""Share of the fixations that lie off their images from which on this is said."""

Table = tuple[list[str], list[list[str]]]
"""Headings and rows."""


class Store(Protocol):
    """Attributes of a store that a summary reads."""

    @property
    def path(self) -> Path: ...
    @property
    def manifest(self) -> Manifest: ...
    @property
    def cases(self) -> pl.DataFrame: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def exclusive(self) -> bool: ...
    @property
    def size(self) -> int: ...
    @property
    def is_restricted(self) -> bool: ...
    def classes_without_cases(self) -> dict[str, list[str]]: ...


def contents(store: Store) -> str:
    """State the numbers of cases, readings and fixations, and of masks and twins where there are any."""
    counts = store.manifest["counts"]
    parts = [
        count(counts["cases"], "case"),
        count(counts.get("readings", 0), "reading"),
        count(counts.get("fixations", 0), "fixation"),
    ]
    if counts.get("regions"):
        parts.append(count(counts["regions"], "mask"))
    if counts.get("twins"):
        parts.append(count(counts["twins"], "twin"))
    return ", ".join(parts)


def numbers(store: Store) -> Table:
    """Count the cases of each class, all cases and the patients of each split."""
    rows = []
    for split in SPLITS:
        cases = store.cases.filter(store.cases["split"] == split)
        per_class = [int(cases[f"label_{name}"].sum()) for name in store.classes]
        rows.append([split, *map(str, (*per_class, len(cases), cases["patient"].n_unique()))])
    return ["split", *store.classes, "cases", "patients"], rows


def rejected(store: Store) -> dict[str, int]:
    """The numbers of rejected items of the source, by reason."""
    return {reason: n for reason, n in store.manifest["counts"].get("rejections", {}).items() if n}


def notices(store: Store) -> Iterator[str]:
    """Yield what a user of a new store must not miss, a sentence each."""
    for split, names in store.classes_without_cases().items():
        yield f"Note: no {split} case has the class {', '.join(names)}: it cannot be measured there"
    off, fixations = rejected(store).get(OFF_IMAGE, 0), store.manifest["counts"].get("fixations", 0)
    if off and off >= MANY_OFF * (off + fixations):
        yield (
            f"{off:,} of {count(off + fixations, 'fixation')} lie off their images and are left out: x and y "
            "must be in pixels of the image, from its top left"
        )
    burned = store.manifest.get("burned_in_annotation", [])
    if burned:
        yield (
            f"{count(len(burned), 'image')} with burnt-in annotation, as the files say; manifest.json names "
            "them under burned_in_annotation: look at them before you show any"
        )


def text(store: Store) -> str:
    """Describe a store for the prompt."""
    title, facts = _described(store)
    table = _numbers(store)
    return text_facts(title, facts) + ("" if table is None else f"\n\n{text_table(*table)}")


def html(store: Store) -> str:
    """Describe a store for a notebook."""
    table = _numbers(store)
    return html_facts(*_described(store)) + ("" if table is None else html_table(*table))


def _described(store: Store) -> tuple[str, dict[str, str]]:
    kind = "exclusive" if store.exclusive else "not exclusive"
    return f"Store {near(store.path)}", {
        "source": store.manifest["source"],
        "contents": contents(store) + (", of which some readings are used" if store.is_restricted else ""),
        "images": f"{store.size} × {store.size}",
        "classes": f"{len(store.classes)}, {kind}",
        "rejected": ", ".join(f"{reason} {n:,}" for reason, n in rejected(store).items()),
    }


def _numbers(store: Store) -> Table | None:
    """The table of cases; None where the file is damaged, since to show an object raises no error."""
    try:
        return numbers(store)
    except UserError:
        return None
