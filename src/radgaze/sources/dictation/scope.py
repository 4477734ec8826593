"""Words that deny a finding or make it uncertain, and their scope.

The rules follow NegEx (Chapman et al. 2001, doi:10.1006/jbin.2001.1029) and ConText (Harkema et al. 2009): a
word applies forwards or backwards up to the end of its clause, and some phrases only look like a negation.
Added are scopes that include all items of a list with commas, and double negations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from radgaze.sources.dictation.phrases import Phrase

Polarity = Literal["present", "uncertain", "denied"]

MARKS = frozenset(".;:()?!")
SIZES = ("small", "tiny", "trace", "moderate", "large", "mild", "minimal")
STARTS = frozenset(("a", "an", "another", "there", *SIZES, "stable", "unchanged", "persistent"))
"""Words after "and" and "with" that begin another statement."""
VERBS = ("is", "are", "was", "were", "has", "have", "had", "remains", "remain", "appears", "appear")
NOT_BARE = STARTS | frozenset((*VERBS, "seen", "shows", "show", "shown", "noted", "present", "the"))
"""Words that a plain item of a list does not have."""
NEGATIONS = frozenset(("no", "not", "without"))
COMMA = ","


@dataclass(frozen=True)
class Cue:
    """Words that deny a finding or make it uncertain, or that end a clause.

    Attributes:
        kinds: Sections of the phrase list that contain them.
        first, last: Indices of the first and the last token.
    """

    kinds: frozenset[str]
    first: int
    last: int


@dataclass(frozen=True)
class Scopes:
    """The cues and clauses of a sentence.

    Attributes:
        cues: Cues in order, which do not overlap.
        clauses: Number of the clause of each token.
        adverbs: Indices of the tokens that end in "ly".
    """

    cues: tuple[Cue, ...]
    clauses: tuple[int, ...]
    adverbs: frozenset[int]

    def polarity(self, literal: frozenset[int]) -> Polarity:
        """Decide whether a finding is present, uncertain or denied.

        Args:
            literal: Indices of the tokens that name the finding.
        """
        first, last = min(literal), max(literal)
        clause = self.clauses[last]
        near = [
            cue
            for cue in self.cues
            if self.clauses[cue.last] == clause and literal.isdisjoint(range(cue.first, cue.last + 1))
        ]
        before = [cue for cue in near if cue.first < last and "denied_before" in cue.kinds]
        after = [cue for cue in near if cue.first > first and "denied_after" in cue.kinds]
        # A later negation starts a scope of its own, unless it cancels the one that it directly follows: "not
        # entirely without".
        negations = 1 if before else 0
        for earlier, later in zip(before[-2::-1], before[:0:-1], strict=True):
            if not self.adverbs.issuperset(range(earlier.last + 1, later.first)):
                break
            negations += 1
        if (negations + bool(after)) % 2:
            return "denied"
        uncertain = any(
            ("uncertain_before" in cue.kinds and cue.first < last)
            or ("uncertain_after" in cue.kinds and cue.first > first)
            for cue in near
        )
        return "uncertain" if uncertain else "present"


def scopes_of(tokens: Sequence[str], cues: Mapping[str, Sequence[Phrase]]) -> Scopes:
    """Find the cues and clauses of a sentence.

    Args:
        tokens: Words and marks of the sentence.
        cues: Phrases of each section.
    """
    text = " ".join(tokens)
    places: dict[tuple[int, int], set[str]] = {}
    for kind, phrases in cues.items():
        for phrase in phrases:
            for first, last, _ in phrase.places(text):
                places.setdefault((first, last), set()).add(kind)
    chosen, taken = list[Cue](), set[int]()
    for first, last in sorted(places, key=lambda place: (place[0] - place[1], place[0])):
        if taken.isdisjoint(range(first, last + 1)):
            taken |= set(range(first, last + 1))
            chosen.append(Cue(frozenset(places[first, last]), first, last))
    chosen.sort(key=lambda cue: cue.first)
    adverbs = frozenset(i for i, word in enumerate(tokens) if word.endswith("ly"))
    return Scopes(tuple(chosen), _clauses(tokens, chosen), adverbs)


def _clauses(tokens: Sequence[str], cues: Sequence[Cue]) -> tuple[int, ...]:
    """Number the clause of each token."""
    ends = {cue.first for cue in cues if "ends" in cue.kinds}
    acting = {cue.first for cue in cues if "ends" not in cue.kinds}
    begins = set(ends)
    for i, word in enumerate(tokens):
        following = tokens[i + 1] if i + 1 < len(tokens) else ""
        joins = word in ("and", "with")
        if word in MARKS:
            begins |= {i, i + 1}
        # A new statement: "and no …", "with possible …", "and a small …".
        acts = i + 1 in acting and (joins or word == "or")
        if acts or word == "nor" or (joins and following in STARTS):
            begins.add(i)
    begins |= _commas(tokens, begins)
    numbers, number = [], 0
    for i in range(len(tokens)):
        number += i in begins
        numbers.append(number)
    return tuple(numbers)


def _commas(tokens: Sequence[str], begins: set[int]) -> set[int]:
    """Find the commas that end a clause: those that separate no items of a list."""
    commas = [i for i, word in enumerate(tokens) if word == COMMA]
    listed = set[int]()
    for k, comma in enumerate(commas):
        until = commas[k + 1] if k + 1 < len(commas) else len(tokens)
        item = tokens[comma + 1 : until]
        close = next((i for i, token in enumerate(item) if token in ("or", "nor")), None)
        closes = close is not None and _bare(item[:close])
        if not closes and item[:1] == ["and"]:
            between = tokens[commas[k - 1] + 1 : comma] if k else ()
            closes = _bare(item[1:]) and bool(between) and _bare(between)
        if not closes or any(begin in begins for begin in range(comma, comma + 1 + (close or 0))):
            continue
        listed.add(comma)
        for earlier in range(k - 1, -1, -1):
            span = range(commas[earlier], commas[earlier + 1])
            if not _bare(tokens[span[0] + 1 : span[-1] + 1]) or any(i in begins for i in span):
                break
            listed.add(commas[earlier])
    return set(commas) - listed


def _bare(item: Sequence[str]) -> bool:
    """Whether words are a plain item of a list, such as "pleural effusion"."""
    return not any(word in NOT_BARE or word in NEGATIONS or word in MARKS for word in item)
