"""Counts and lists in a sentence."""

from __future__ import annotations

from collections.abc import Sequence


def count(n: int, thing: str) -> str:
    """Format a count with its noun: `1 case`, `2 cases`."""
    return f"{n:,} {thing}" + ("" if n == 1 else "s")


def listed(words: Sequence[str]) -> str:
    """Join words to a list: `a`, `a and b`, `a, b and c`."""
    return ", ".join(words[:-1]) + " and " + words[-1] if len(words) > 1 else "".join(words)
