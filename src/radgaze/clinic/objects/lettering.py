"""Letters on a picture: a font that has the characters of a text, and a size at which it fits."""

from __future__ import annotations

from functools import lru_cache

from matplotlib import font_manager
from PIL import ImageFont
from PIL.ImageFont import FreeTypeFont

from radgaze.reporting.fonts import families

LEAST = 12
"""Smallest size of letters."""


def font(text: str, size: int) -> FreeTypeFont:
    """Return the font that has most characters of a text: Pillow draws a text in one font."""
    names = families(text)
    return _loaded(names[-1] if len(names) > 1 else names[0], size)


def fitted(text: str, width: int, size: int) -> tuple[FreeTypeFont, str]:
    """Return a font and a text of at most a width: the font smaller than `size`, then the text shortened.

    Line breaks and other characters that are not drawn become spaces.
    """
    text = "".join(c if c.isprintable() else " " for c in text)
    while size > LEAST and font(text, size).getlength(text) > width:
        size -= 1
    chosen = font(text, size)
    whole = text
    while len(text) > 1 and chosen.getlength(text) > width:
        whole = whole[: max(1, len(whole) - 1 - len(whole) // 20)]
        text = f"{whole}…"
    return chosen, text


@lru_cache(maxsize=64)
def _loaded(family: str, size: int) -> FreeTypeFont:
    return ImageFont.truetype(font_manager.findfont(family), size)
