"""Names of classes and findings, which tables write in different ways."""

from __future__ import annotations

import re


def plain(name: str) -> str:
    """A name without case, and with one space for whatever parts its words."""
    return re.sub(r"[\W_]+", " ", name).strip().casefold()
