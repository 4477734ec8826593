"""Sentences of a dictated report, with the times of their words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_ENDS = re.compile(r"[.?!]$")
_NUMBER = re.compile(r"\d+$")
_INSIDE = re.compile(r"(?<=[^\W\d_]{2}[.?!]) +(?=\w)|(?<=[.?!]) +(?=[A-Z])")
"""Space between two sentences within one text."""
ABBREVIATIONS = frozenset(("dr.", "vs.", "approx.", "e.g.", "i.e.", "no.", "st.", "a.p.", "p.a."))
"""Words whose full stop ends no sentence."""


@dataclass(frozen=True)
class Word:
    """A word, or a piece of a report of several words that share their times.

    Attributes:
        text: The word as transcribed; a punctuation mark may be a word of its own.
        begin, end: Times at which it is spoken, in seconds since the image was shown.
    """

    text: str
    begin: float
    end: float


@dataclass(frozen=True)
class Sentence:
    """A sentence of a report; it has at least one word.

    Attributes:
        words: Words in order.
    """

    words: tuple[Word, ...]

    @property
    def begin(self) -> float:
        """Time at which it begins, in seconds."""
        return min(word.begin for word in self.words)

    @property
    def end(self) -> float:
        """Time at which it ends, in seconds."""
        return max(word.end for word in self.words)

    @property
    def text(self) -> str:
        """Its words, separated by spaces."""
        return " ".join(word.text for word in self.words)


def sentences_of(pieces: Sequence[Word]) -> list[Sentence]:
    """Divide a report into sentences, in the order in which they are given.

    A sentence ends with a full stop, question mark or exclamation mark, which is a word of its own or the end
    of one, but not with the point of a number or an abbreviation. Where a report has no such mark and a piece
    of it has several words, each piece is a sentence.

    Args:
        pieces: Words, or longer pieces, of the report.
    """
    divided = [part for piece in pieces for part in _divided(piece)]
    if not any(_ENDS.search(part.text) for part in divided) and any(" " in part.text for part in divided):
        return [Sentence((part,)) for part in divided]
    sentences, words = list[Sentence](), list[Word]()
    for i, part in enumerate(divided):
        words.append(part)
        if _is_end(divided, i):
            sentences.append(Sentence(tuple(words)))
            words = []
    if words:
        sentences.append(Sentence(tuple(words)))
    # A mark that follows another one is no sentence.
    return [each for each in sentences if any(re.search(r"\w", word.text) for word in each.words)]


def _divided(piece: Word) -> list[Word]:
    """Divide a piece at the ends of sentences within it; its parts share its times."""
    text = " ".join(piece.text.split())
    return [Word(part, piece.begin, piece.end) for part in _INSIDE.split(text) if part]


def _is_end(words: Sequence[Word], i: int) -> bool:
    text = words[i].text
    if not _ENDS.search(text):
        return False
    if text.rpartition(" ")[2].casefold() in ABBREVIATIONS:
        return False
    before = words[i - 1].text if i else ""
    after = words[i + 1].text if i + 1 < len(words) else ""
    # "2 . 5" or "2." "5" is one number.
    number = _NUMBER.search(before) if text == "." else _NUMBER.search(text[:-1])
    return not (number and re.match(r"\d", after))
