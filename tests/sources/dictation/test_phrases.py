"""A user's own file of phrases."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from radgaze.errors import UserError
from radgaze.sources.dictation.matcher import make
from radgaze.sources.dictation.phrases import label_key, own_phrases, read_phrases, tokens_of


def read(folder: Path, text: str) -> list[tuple[str, str]]:
    """Mentions of "kein Erguss, Herz gross" with a file of that text."""
    path = folder / "phrases.yaml"
    path.write_text(text, encoding="utf-8")
    match = make("phrases", ("Effusion", "Heart"), read_phrases(path))
    return [
        (mention.label, mention.polarity)
        for mention in match(["kein", "Erguß", ",", "das", "Herz", "ist", "groß", "."])
    ]


def test_a_file_replaces_what_it_names_and_leaves_the_rest(tmp_path: Path) -> None:
    labels = "labels:\n  effusion: [ergu*]\n  Heart: [herz ... groß]\n"
    # "kein" is no word of the built-in list.
    assert read(tmp_path, labels) == [("Effusion", "present"), ("Heart", "present")]
    denied = labels.casefold().replace("groß", "gross") + "denied_before: [kein, keine]\n"
    assert read(tmp_path, denied) == [("Effusion", "denied"), ("Heart", "present")]
    only_cues = read_phrases(_written(tmp_path, "ends: [but]\n"))
    assert only_cues.labels == own_phrases().labels
    assert len(only_cues.cues["ends"]) == 1
    assert only_cues.cues["neither"] == own_phrases().cues["neither"]


def test_the_digest_tells_files_apart(tmp_path: Path) -> None:
    first = read_phrases(_written(tmp_path, "ends: [but]\n")).digest
    assert first != read_phrases(_written(tmp_path, "ends: [yet]\n")).digest
    assert first == read_phrases(_written(tmp_path, "ends: [but]\n")).digest
    assert own_phrases().digest == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it must map sections"),
        ("- mass", "it must map sections"),
        ("label: {}", "there is no section 'label'"),
        ("labels: [mass]", "must map names of labels to phrases"),
        ("labels: {Mass: mass}", "the label 'Mass' must have a list"),
        ("labels: {Mass: [mass], mass: [masses]}", "the label 'Mass' occurs twice"),
        ("labels: {Mass: [no]}", "the label 'Mass' has 'False', which is no phrase"),
        ("labels: {Mass: ['mass (large)']}", "which is no phrase"),
        ("labels: {Mass: ['... mass']}", "which is no phrase"),
        ("labels: {Mass: ['']}", "which is no phrase"),
        ("labels: {Mass: [{seen: mass}]}", "which is no phrase"),
        ("ends: [{denied: but}]", "the section ends has"),
        ("labels: {a: [", "is not YAML"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, said: str, tmp_path: Path) -> None:
    path = _written(tmp_path, text)
    with pytest.raises(UserError, match=re.escape(said)) as told:
        read_phrases(path)
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_phrases(tmp_path / "none.yaml")


def test_hyphens_slashes_and_points_of_numbers_separate_nothing_else() -> None:
    assert tokens_of("Ground-glass/haze, 1.5 cm.") == ["ground", "glass", "haze", ",", "15", "cm", "."]
    assert label_key("High lung volume / emphysema") == label_key("high lung volume emphysema")


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("heart is mildly enlarged", {0, 3}),
        ("heart enlarged", {0, 1}),
        ("heart a b c d enlarged", {0, 5}),
        ("heart a b c d e enlarged", None),
        ("heart , enlarged", None),
        ("heart normal hilum enlarged", None),
        ("the heart is enlarged and enlarged", {1, 3}),
    ],
)
def test_a_gap_is_of_up_to_four_words_within_a_clause(text: str, literal: set[int] | None) -> None:
    phrases = own_phrases().labels[label_key("Enlarged cardiac silhouette")]
    places = [
        tokens for phrase in phrases for _, _, tokens in phrase.places(text) if 0 in tokens or 1 in tokens
    ]
    assert places == ([] if literal is None else [frozenset(literal)])


def _written(folder: Path, text: str) -> Path:
    path = folder / "own.yaml"
    path.write_text(text, encoding="utf-8")
    return path
