"""Findings that a sentence mentions, and whether each is present, uncertain or denied.

A matcher is any function from the words of a sentence to mentions. `phrase_matcher` makes one of a list of
phrases; register another with `register` and name it in `align_matcher`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from radgaze.errors import UserError
from radgaze.sources.dictation.phrases import Phrase, Phrases, compiled, label_key, tokens_of
from radgaze.sources.dictation.scope import Polarity, scopes_of


@dataclass(frozen=True)
class Mention:
    """A mention of a finding.

    Attributes:
        label: Name of the class.
        polarity: Whether the finding is said to be present, uncertain or absent ("denied").
        last: Index of the last word of the sentence that names it.
    """

    label: str
    polarity: Polarity
    last: int


Matcher = Callable[[Sequence[str]], Sequence[Mention]]
"""Function that finds the mentions of a sentence, which is given word by word, with punctuation."""

Maker = Callable[[Sequence[str], Phrases], Matcher]
"""Function that makes a matcher for some classes from a list of phrases."""

MATCHERS: dict[str, Maker] = {}
"""Makers of matchers, by name."""


def register(name: str) -> Callable[[Maker], Maker]:
    """Register a maker of matchers under a name; a module that is run again replaces its own."""

    def add(maker: Maker) -> Maker:
        if name in MATCHERS and MATCHERS[name].__module__ != maker.__module__:
            raise ValueError(f"there is a matcher {name!r} already")
        MATCHERS[name] = maker
        return maker

    return add


def names() -> tuple[str, ...]:
    """List the names of the matchers."""
    return tuple(MATCHERS)


def make(name: str, labels: Sequence[str], phrases: Phrases) -> Matcher:
    """Make a matcher.

    Args:
        name: Name of a registered matcher.
        labels: Names of the classes to find.
        phrases: List of phrases.

    Raises:
        UserError: There is no such matcher.
    """
    if name not in MATCHERS:
        raise UserError(f"`align_matcher` must be one of {', '.join(MATCHERS)}, got {name!r}")
    return MATCHERS[name](labels, phrases)


@register("phrases")
def phrase_matcher(labels: Sequence[str], phrases: Phrases) -> Matcher:
    """Make a matcher that looks for phrases.

    For a class without phrases, its name is the phrase. A mention whose words are a proper subset of those of
    another one is dropped.

    Args:
        labels: Names of the classes to find.
        phrases: List of phrases.
    """
    of_labels = {label: phrases.labels.get(label_key(label)) or _of_name(label) for label in labels}

    def find(words: Sequence[str]) -> list[Mention]:
        tokens, owners = _tokens(words)
        text = " ".join(tokens)
        found_at: list[tuple[frozenset[int], str, bool]] = [
            (literal, label, phrase.denied)
            for label, each in of_labels.items()
            for phrase in each
            for _, _, literal in phrase.places(text)
        ]
        if not found_at:
            return []
        others = [literal for phrase in phrases.nothing for _, _, literal in phrase.places(text)]
        scopes = scopes_of(tokens, phrases.cues)
        longer = [literal for literal, _, denied in found_at if not denied] + others
        mentions = dict[Mention, None]()
        for literal, label, denied in found_at:
            if literal in others or (not denied and any(literal < other for other in longer)):
                continue
            polarity = scopes.polarity(literal)
            if denied and polarity != "denied":
                continue
            last = owners[max(literal)]
            mentions[Mention(label, "present" if denied else polarity, last)] = None
        return sorted(mentions, key=lambda mention: (mention.last, mention.label, mention.polarity))

    return find


def _of_name(label: str) -> tuple[Phrase, ...]:
    name = label_key(label)
    return (compiled(name),) if name else ()


def without_phrases(labels: Sequence[str], phrases: Phrases) -> list[str]:
    """List the classes for which a list has no phrases."""
    return [label for label in labels if not phrases.labels.get(label_key(label))]


def _tokens(words: Sequence[str]) -> tuple[list[str], list[int]]:
    """Make the tokens of a sentence, and the index of the word that each comes from."""
    tokens, owners = list[str](), list[int]()
    for i, word in enumerate(words):
        parts = tokens_of(word)
        tokens += parts
        owners += [i] * len(parts)
    return tokens, owners
