"""Comparison of names of classes and findings that are spelt differently."""

from __future__ import annotations

import re


def plain(name: str) -> str:
    """Normalise a name: in lower case, with one space in place of all characters between words."""
    return re.sub(r"[\W_]+", " ", name).strip().casefold()
