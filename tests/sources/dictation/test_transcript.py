"""Sentences of reports: where they end, and their times."""

from __future__ import annotations

import pytest

from radgaze.sources.dictation.transcript import Sentence, Word, sentences_of


def spoken(text: str, *, step: float = 0.5) -> list[Word]:
    """Words that take half a second each, marks included."""
    return [Word(word, i * step, (i + 1) * step) for i, word in enumerate(text.split())]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("no pneumothorax . heart is normal .", ["no pneumothorax .", "heart is normal ."]),
        ("no pneumothorax. heart is normal.", ["no pneumothorax.", "heart is normal."]),
        ("no pneumothorax . heart is normal", ["no pneumothorax .", "heart is normal"]),
        ("is there a mass ? no mass !", ["is there a mass ?", "no mass !"]),
        ("nodule of 2 . 5 cm . no effusion .", ["nodule of 2 . 5 cm .", "no effusion ."]),
        ("nodule of 2.5 cm. no effusion.", ["nodule of 2.5 cm.", "no effusion."]),
        ("nodule of 2. 5 cm .", ["nodule of 2. 5 cm ."]),
        ("edema vs. pneumonia .", ["edema vs. pneumonia ."]),
        ("edema . . no effusion .", ["edema .", "no effusion ."]),
        (". .", []),
        ("", []),
        ("edema", ["edema"]),
        ("in segment 5 . no mass .", ["in segment 5 .", "no mass ."]),
    ],
)
def test_sentences_end_with_their_marks_and_not_within_numbers(text: str, sentences: list[str]) -> None:
    assert [sentence.text for sentence in sentences_of(spoken(text))] == sentences


def test_a_sentence_lasts_from_its_first_word_to_its_last() -> None:
    first, second = sentences_of(spoken("no mass . an effusion ."))
    assert (first.begin, first.end, second.begin, second.end) == (0.0, 1.5, 1.5, 3.0)


def test_single_words_without_any_mark_are_one_sentence_and_longer_pieces_are_one_each() -> None:
    words = spoken("no effusion or mass")
    assert sentences_of(words) == [Sentence(tuple(words))]
    pieces = [Word("the heart is enlarged", 1, 3), Word("with effusion", 3, 4)]
    assert sentences_of(pieces) == [Sentence((piece,)) for piece in pieces]
    # With a mark, pieces are joined up to it: here a sentence goes on in the next piece.
    pieces = [Word("there is no", 1, 3), Word("effusion.", 3, 4), Word("The heart is large.", 4, 6)]
    assert [(each.text, each.begin, each.end) for each in sentences_of(pieces)] == [
        ("there is no effusion.", 1, 4),
        ("The heart is large.", 4, 6),
    ]


def test_two_sentences_in_one_piece_share_its_times() -> None:
    one, other = sentences_of([Word("No effusion. The heart is large.", 2.0, 6.0)])
    assert (one.text, other.text) == ("No effusion.", "The heart is large.")
    assert (one.begin, one.end) == (other.begin, other.end) == (2.0, 6.0)
