"""Selection of fonts that have the characters of a figure's text, since class names may be in any script.

Matplotlib ships DejaVu Sans, which has Latin, Greek, Cyrillic and Arabic letters, but no Chinese, Japanese or
Korean, and no Devanagari or other script of India. Where a text needs more, fonts of this machine that have
the characters are added as fallbacks; where none has them, a message states once which font to install.

Right-to-left text and joined letters are supported only in part: before version 3.11 Matplotlib places
letters from left to right, and forms no ligatures of Devanagari, but the characters are correct.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import cache

from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

from radgaze.console import note

BASE = "DejaVu Sans"
# Tried first, in this order; then any other font of the machine.
PREFERRED = ("Noto Sans", "Source Han Sans", "WenQuanYi", "Microsoft YaHei", "PingFang", "Hiragino", "Malgun")
# Fonts that draw boxes with the numbers of characters, or have only symbols.
_USELESS = ("LastResort", "Last Resort", "Adobe Blank", "Unifont")
# Font to install for a script, by the first word of the Unicode names of its characters.
INSTALL = {
    **dict.fromkeys(("CJK", "HIRAGANA", "KATAKANA", "HANGUL"), "Noto Sans CJK (Debian: fonts-noto-cjk)"),
    "ARABIC": "Noto Sans Arabic (Debian: fonts-noto-core)",
    "DEVANAGARI": "Noto Sans Devanagari (Debian: fonts-noto-core)",
}
_reported = set[str]()


def families(text: str) -> list[str]:
    """Select fonts that together have all characters of a text that any font of this machine has.

    Characters that no font has are reported once, with the font to install.
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
    """Return the characters of a text that are drawn, without spaces, controls and marks of direction."""
    return {ord(c) for c in text if not c.isspace() and unicodedata.category(c) not in ("Cc", "Cf")}


@cache
def covered(path: str) -> frozenset[int]:
    """Return the characters that a font file has; none where it cannot be read."""
    try:
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError, ValueError):
        return frozenset()


def complete(figure: Figure) -> None:
    """Set the fonts of every text of a figure to fonts that have its characters."""
    for axis in figure.axes:  # labels of ticks are created when they are read
        axis.get_xticklabels()
        axis.get_yticklabels()
    base = covered(font_manager.findfont(BASE))
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if needed(text.get_text()) - base:
            text.set_fontfamily(families(text.get_text()))


@cache
def _fonts() -> tuple[tuple[str, str], ...]:
    """Name and file of each fallback font, which are upright and of regular weight."""
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
        note(
            f"No font here has {script} characters: they show as boxes in the figures (not in the pages). "
            f"Install {install} and remove Matplotlib's font cache"
        )
