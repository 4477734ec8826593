"""Choose fonts that have the characters of a figure's text: class names are written in many scripts.

Matplotlib ships DejaVu Sans, which has Latin, Greek, Cyrillic and Arabic letters, but no Chinese, Japanese or
Korean, and no Devanagari or other script of India. Where a text needs more, fonts of this machine are added
as fallbacks by the characters they have; where none has them, a message says once which to install.

Text from right to left, and joined letters, are a best effort: before version 3.11 Matplotlib sets one letter
after the other, from left to right, and forms no ligatures of Devanagari; the characters are right.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import cache

from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

from radgaze.console import say

BASE = "DejaVu Sans"
# Tried first, in this order; then any other font of the machine.
PREFERRED = ("Noto Sans", "Source Han Sans", "WenQuanYi", "Microsoft YaHei", "PingFang", "Hiragino", "Malgun")
# Fonts that draw a box with the number of the character, or have only symbols.
_USELESS = ("LastResort", "Last Resort", "Adobe Blank", "Unifont")
# What to install for a script, by the first word of its characters' Unicode names.
INSTALL = {
    **dict.fromkeys(("CJK", "HIRAGANA", "KATAKANA", "HANGUL"), "Noto Sans CJK (Debian: fonts-noto-cjk)"),
    "ARABIC": "Noto Sans Arabic (Debian: fonts-noto-core)",
    "DEVANAGARI": "Noto Sans Devanagari (Debian: fonts-noto-core)",
}
_reported = set[str]()


def families(text: str) -> list[str]:
    """Names of fonts that together have all characters of a text that any font of this machine has.

    A character that none has is reported once, with the font to install.
    """
    missing = needed(text) - covered(font_manager.findfont(BASE))
    names = [BASE]
    for name, path in _fonts() if missing else ():
        if gained := missing & covered(path):
            names.append(name)
            missing -= gained
        if not missing:
            break
    _report(missing)
    return names


def needed(text: str) -> set[int]:
    """The characters of a text that must be drawn: no spaces, controls or marks of direction."""
    return {ord(c) for c in text if not c.isspace() and unicodedata.category(c) not in ("Cc", "Cf")}


@cache
def covered(path: str) -> frozenset[int]:
    """The characters that a font file has; none where it cannot be read."""
    try:
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError, ValueError):
        return frozenset()


def complete(figure: Figure) -> None:
    """Give every text of a figure the fonts that have its characters."""
    for axis in figure.axes:  # labels of ticks are made when they are read
        axis.get_xticklabels()
        axis.get_yticklabels()
    base = covered(font_manager.findfont(BASE))
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if needed(text.get_text()) - base:
            text.set_fontfamily(families(text.get_text()))


@cache
def _fonts() -> tuple[tuple[str, str], ...]:
    """Name and file of the fallback fonts: upright and regular ones."""
    files = {
        entry.name: entry.fname
        for entry in font_manager.fontManager.ttflist
        if entry.style == "normal"
        and entry.weight in (400, "normal", "regular")
        and not entry.name.startswith((*_USELESS, "DejaVu"))
    }

    def rank(name: str) -> tuple[int, str]:
        places = (i for i, start in enumerate(PREFERRED) if name.startswith(start))
        return next(places, len(PREFERRED)), name

    return tuple((name, files[name]) for name in sorted(files, key=rank))


def _report(missing: Iterable[int]) -> None:
    """Report the scripts that cannot be drawn, each once."""
    scripts = {unicodedata.name(chr(c), "unknown").split()[0] for c in missing} - _reported
    _reported.update(scripts)
    for script in sorted(scripts):
        install = INSTALL.get(script, f"Noto Sans {script.capitalize()}")
        say(
            f"No font here has {script} characters: they show as boxes in the figures (not in the pages). "
            f"Install {install} and remove Matplotlib's font cache"
        )
