"""Lists of phrases that mention findings, deny them or make them uncertain, built in or of a user's file."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path

from radgaze.errors import UserError, shortened
from radgaze.files import parse_yaml, read_yaml

CUES = ("denied_before", "denied_after", "uncertain_before", "uncertain_after", "neither", "ends")
"""Sections of words that deny a finding or make it uncertain, that do neither, or that end a clause."""
SECTIONS = ("labels", "nothing", *CUES)
GAP = 4
"""Maximum number of words that `...` stands for."""
NOT_IN_GAP = ("but", "however", "with", "without", "normal", "clear")
"""Words over which `...` does not reach."""
MOST = 20_000
"""Maximum number of phrases in a file."""

_WORD = re.compile(r"[\w']+|[.,;:()?!]")


@dataclass(frozen=True)
class Phrase:
    """A phrase to look for.

    Attributes:
        pattern: Expression over tokens that are joined by spaces; each gap is a group.
        part: Letters that every match contains; texts without them are skipped, for speed.
        denied: Whether the phrase mentions the label where it is denied, and not where it is affirmed, such
            as "effusion" for the label Normal.
    """

    pattern: re.Pattern[str]
    part: str
    denied: bool = False

    def places(self, text: str) -> Iterator[tuple[int, int, frozenset[int]]]:
        """Find the phrase in tokens that are joined by spaces.

        Yields:
            Index of the first token, that of the last one, and the indices of all tokens outside of gaps.
        """
        if self.part not in text:
            return
        for match in self.pattern.finditer(text):
            first = text.count(" ", 0, match.start())
            last = text.count(" ", 0, match.end())
            gaps = set[int]()
            for group in range(1, len(match.groups()) + 1):
                start, end = match.span(group)
                # A gap begins with the space before its first word.
                gaps |= set(range(text.count(" ", 0, start + 1), text.count(" ", 0, end) + 1))
            yield first, last, frozenset(range(first, last + 1)) - gaps


@dataclass(frozen=True)
class Phrases:
    """A list of phrases, see `phrases.yaml` of this folder.

    Attributes:
        labels: Phrases of each label, by its name as `label_key` gives it.
        nothing: Phrases that contain words of a finding and mention none.
        cues: Phrases of each section of `CUES`.
        digest: Digest of the text that it was read from; "" for the list of this package.
    """

    labels: Mapping[str, tuple[Phrase, ...]]
    nothing: tuple[Phrase, ...]
    cues: Mapping[str, tuple[Phrase, ...]]
    digest: str = ""


def tokens_of(text: str) -> list[str]:
    """Split a text into lower-case words and punctuation marks; hyphens and slashes separate words.

    A point between digits is removed, so that a decimal number is one word.
    """
    plain = text.casefold().replace("’", "'")
    plain = re.sub(r"(?<=\d)\.(?=\d)", "", plain)
    return _WORD.findall(plain)


def label_key(name: str) -> str:
    """Normalise the name of a label: lower-case words, joined by single spaces, without punctuation."""
    return " ".join(re.findall(r"\w+", name.casefold()))


@cache
def own_phrases() -> Phrases:
    """Read the list of this package."""
    text = (files("radgaze.sources.dictation") / "phrases.yaml").read_text(encoding="utf-8")
    return _of_sections(_sections(parse_yaml(text), "phrases.yaml"), "")


def read_phrases(path: Path) -> Phrases:
    """Read a user's file of phrases; sections that it does not have are taken from the built-in list.

    Raises:
        UserError: The file is missing, is no YAML, or does not have the form of `phrases.yaml`.
    """
    if not path.is_file():
        raise UserError(f"`align_phrases={path}`: no such file")
    sections = _sections(read_yaml(path), str(path))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return _of_sections(sections, digest)


def _of_sections(sections: Mapping[str, object], digest: str) -> Phrases:
    default = own_phrases() if digest else None
    labels = sections.get("labels")
    if isinstance(labels, Mapping):
        of_labels = {label_key(name): tuple(map(_phrase, entries)) for name, entries in labels.items()}
    else:
        assert default is not None
        of_labels = dict(default.labels)

    def section(name: str) -> tuple[Phrase, ...]:
        entries = sections.get(name)
        if isinstance(entries, Sequence):
            return tuple(map(_phrase, entries))
        assert default is not None
        return default.nothing if name == "nothing" else default.cues[name]

    return Phrases(of_labels, section("nothing"), {name: section(name) for name in CUES}, digest)


def _phrase(entry: str | Mapping[str, str]) -> Phrase:
    if isinstance(entry, str):
        return compiled(entry)
    return replace(compiled(entry["denied"]), denied=True)


def compiled(text: str) -> Phrase:
    """Compile the text of a phrase; `*` stands for any letters, and `...` for up to `GAP` words."""
    pieces, before, parts = list[str](), "", [""]
    for word in text.casefold().replace("…", "...").replace("-", " ").replace("/", " ").split():
        if word == "...":
            barred = "|".join(NOT_IN_GAP)
            before += rf"((?: (?!(?:{barred})(?!\S))[\w']+){{0,{GAP}}}?)"
            continue
        pieces.append(before + (" " if pieces else "") + re.escape(word).replace(r"\*", r"[\w']*"))
        parts += word.split("*")
        before = ""
    return Phrase(re.compile(rf"(?<!\S){''.join(pieces)}(?!\S)"), max(parts, key=len))


def _sections(content: object, name: str) -> dict[str, object]:
    """Check the form of a file."""
    fault = f"{name} is no list of phrases"
    if not isinstance(content, Mapping) or not content:
        raise UserError(f"{fault}: it must map sections, {', '.join(SECTIONS)}, to phrases")
    unknown = [key for key in content if key not in SECTIONS]
    if unknown:
        raise UserError(
            f"{fault}: there is no section {shortened(str(unknown[0]))!r}, only {', '.join(SECTIONS)}"
        )
    labels = content.get("labels", {})
    if not isinstance(labels, Mapping) or not all(isinstance(label, str) for label in labels):
        raise UserError(f"{fault}: its section labels must map names of labels to phrases")
    keys = [label_key(label) for label in labels]
    twice = next((label for label in labels if keys.count(label_key(label)) > 1), None)
    if twice is not None:
        raise UserError(f"{fault}: the label {shortened(twice)!r} occurs twice")
    lists = [(f"the label {label!r}", entries, True) for label, entries in labels.items()]
    lists += [(f"the section {key}", content[key], False) for key in content if key != "labels"]
    if sum(len(entries) for _, entries, _ in lists if isinstance(entries, list)) > MOST:
        raise UserError(f"{fault}: it has more than {MOST:,} phrases")
    for place, entries, may_be_denied in lists:
        if not isinstance(entries, list):
            raise UserError(f"{fault}: {place} must have a list of phrases")
        for entry in entries:
            if not _is_phrase(entry, may_be_denied=may_be_denied):
                raise UserError(
                    f"{fault}: {place} has {shortened(str(entry))!r}, which is no phrase; a phrase is text "
                    "of words, with quotes where YAML reads something else, such as “no”"
                )
    return dict(content)


def _is_phrase(entry: object, *, may_be_denied: bool) -> bool:
    if may_be_denied and isinstance(entry, Mapping) and list(entry) == ["denied"]:
        entry = entry["denied"]
    if not isinstance(entry, str) or len(entry) > 200:
        return False
    words = entry.replace("…", "...").split()
    real = [word for word in words if word != "..."]
    return (
        bool(real)
        and words[0] != "..."
        and words[-1] != "..."
        and all(re.search(r"\w", word) and re.fullmatch(r"[\w'*/-]+", word) for word in real)
    )
