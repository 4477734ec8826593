"""Sentences made for the tests, and what each says of the findings that it mentions."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from radgaze.errors import UserError
from radgaze.sources.dictation.matcher import MATCHERS, Matcher, Mention, make, register
from radgaze.sources.dictation.phrases import Phrases, own_phrases

REFLACX = (
    "Abnormal mediastinal contour",
    "Acute fracture",
    "Atelectasis",
    "Consolidation",
    "Enlarged cardiac silhouette",
    "Enlarged hilum",
    "Groundglass opacity",
    "Hiatal hernia",
    "High lung volume / emphysema",
    "Interstitial lung disease",
    "Lung nodule or mass",
    "Pleural abnormality",
    "Pneumothorax",
    "Pulmonary edema",
)
SHORT = {
    "mediastinum": "Abnormal mediastinal contour",
    "fracture": "Acute fracture",
    "atelectasis": "Atelectasis",
    "consolidation": "Consolidation",
    "heart": "Enlarged cardiac silhouette",
    "hilum": "Enlarged hilum",
    "groundglass": "Groundglass opacity",
    "hernia": "Hiatal hernia",
    "emphysema": "High lung volume / emphysema",
    "interstitial": "Interstitial lung disease",
    "nodule": "Lung nodule or mass",
    "pleura": "Pleural abnormality",
    "pneumothorax": "Pneumothorax",
    "edema": "Pulmonary edema",
}

# Each sentence, and its mentions: +finding present, ?finding uncertain, -finding denied.
SENTENCES = (
    # Affirmed, in several wordings and numbers.
    ("there is a left pleural effusion .", "+pleura"),
    ("bilateral pleural effusions are present .", "+pleura"),
    ("Moderate cardiomegaly .", "+heart"),
    ("the heart is mildly enlarged .", "+heart"),
    ("enlargement of the cardiac silhouette .", "+heart"),
    ("multiple pulmonary nodules and masses .", "+nodule +nodule"),
    ("bibasilar atelectases .", "+atelectasis"),
    ("ground-glass opacities in both lungs .", "+groundglass"),
    ("ground glass opacity in the right lower lobe", "+groundglass"),
    ("old healed rib fractures", "+fracture"),
    ("Large hiatus hernia .", "+hernia"),
    ("the lungs are hyperinflated with flattened hemidiaphragms", "+emphysema"),
    ("the mediastinum is widened", "+mediastinum"),
    ("prominent right hilum", "+hilum"),
    ("right-sided pneumothorax, a chest tube is in place", "+pneumothorax"),
    ("blunting of the left costophrenic angle", "+pleura"),
    ("apical pleural thickening .", "+pleura"),
    ("pulmonary oedema", "+edema"),
    # A longer phrase takes its words from a shorter one.
    ("interstitial edema .", "+edema"),
    ("no mass effect .", ""),
    ("nipple shadows", ""),
    # Units, also misspelt ones, and numbers with a point.
    ("a 1.5 cm nodule in the left upper lobe .", "+nodule"),
    ("a 1.5 cmm nodule in the left upper lobe .", "+nodule"),
    ("nodule of 8 milimeter", "+nodule"),
    ("no nodule above 3 . 5 mm", "-nodule"),
    ("pneumothorax of 2 centimetres, no effusion", "+pneumothorax -pleura"),
    # Denied.
    ("no pneumothorax .", "-pneumothorax"),
    ("there is no evidence of pneumothorax or pleural effusion .", "-pneumothorax -pleura"),
    ("lungs without consolidation", "-consolidation"),
    ("the lungs are free of consolidation .", "-consolidation"),
    ("negative for fracture", "-fracture"),
    ("pneumothorax has been ruled out .", "-pneumothorax"),
    ("pneumothorax is excluded", "-pneumothorax"),
    ("the heart is not enlarged", "-heart"),
    ("pleural effusions have resolved", "-pleura"),
    ("interval resolution of the effusion", "-pleura"),
    ("a fracture is not seen .", "-fracture"),
    ("the effusion is no longer seen", "-pleura"),
    ("pneumonia is unlikely", "-consolidation"),
    ("neither effusion nor pneumothorax is seen", "-pleura -pneumothorax"),
    ("no finding to suggest pneumonia", "-consolidation"),
    ("atelectasis rather than pneumonia", "+atelectasis -consolidation"),
    # Lists.
    ("no focal consolidation, pleural effusion, or pneumothorax .", "-consolidation -pleura -pneumothorax"),
    ("no focal consolidation , pleural effusion , pneumothorax or mass .",
     "-consolidation -pleura -pneumothorax -nodule"),
    ("without consolidation, effusion, and pneumothorax", "-consolidation -pleura -pneumothorax"),
    ("no effusion and no pneumothorax", "-pleura -pneumothorax"),
    ("no consolidation, effusion, nor pneumothorax", "-consolidation -pleura -pneumothorax"),
    ("pneumothorax, effusion or consolidation is not identified", "-pneumothorax -pleura -consolidation"),
    ("effusion and pneumothorax are absent", "-pleura -pneumothorax"),
    # The scope ends.
    ("no pneumothorax but a small effusion is seen", "-pneumothorax +pleura"),
    ("no pneumothorax , however effusion is present", "-pneumothorax +pleura"),
    ("no consolidation although there is atelectasis", "-consolidation +atelectasis"),
    ("no effusion , small pneumothorax", "-pleura +pneumothorax"),
    ("cardiomegaly, no effusion", "+heart -pleura"),
    ("no pneumothorax and a small effusion", "-pneumothorax +pleura"),
    ("no pneumothorax; effusion on the left", "-pneumothorax +pleura"),
    ("no pneumothorax there is an effusion", "-pneumothorax +pleura"),
    ("no abnormality except atelectasis", "+atelectasis"),
    ("the heart is enlarged, no effusion, pneumothorax or mass", "+heart -pleura -pneumothorax -nodule"),
    ("effusion is present, pneumothorax is absent", "+pleura -pneumothorax"),
    ("pulmonary edema without effusion", "+edema -pleura"),
    ("apart from atelectasis no consolidation", "+atelectasis -consolidation"),
    # Uncertain.
    ("possible left pleural effusion", "?pleura"),
    ("opacity may represent pneumonia", "?consolidation"),
    ("cannot exclude a small pneumothorax", "?pneumothorax"),
    ("a small pneumothorax cannot be excluded", "?pneumothorax"),
    ("a small pneumothorax is not excluded", "?pneumothorax"),
    ("atelectasis versus pneumonia", "?atelectasis ?consolidation"),
    ("suspicious for a pulmonary nodule", "?nodule"),
    ("rule out pneumonia", "?consolidation"),
    ("consolidation which may represent atelectasis", "+consolidation ?atelectasis"),
    ("effusion is likely", "?pleura"),
    ("no pneumothorax with possible effusion", "-pneumothorax ?pleura"),
    ("probable effusion but no pneumothorax", "?pleura -pneumothorax"),
    ("possible effusion, definite pneumothorax", "?pleura +pneumothorax"),
    ("findings concerning for consolidation or mass", "?consolidation ?nodule"),
    ("possible effusion without pneumothorax", "?pleura -pneumothorax"),
    # Negations that deny nothing, and double ones.
    ("no change in the effusion", "+pleura"),
    ("no significant change in the size of the pneumothorax", "+pneumothorax"),
    ("no interval change of bibasilar atelectasis", "+atelectasis"),
    ("no significant interval change in consolidation", "+consolidation"),
    ("no substantial interval change in the pleural effusion", "+pleura"),
    ("no major change in the pulmonary edema", "+edema"),
    ("without significant interval change in the pleural effusion", "+pleura"),
    ("no evidence of change in the effusion", "+pleura"),
    ("no evidence of significant interval change in the effusion", "+pleura"),
    ("not much change in the effusion", "+pleura"),
    ("not significantly changed effusion", "+pleura"),
    ("no interval worsening of the pulmonary edema", "+edema"),
    ("no significant worsening of the pulmonary edema", "+edema"),
    ("no interval progression of the consolidation", "+consolidation"),
    ("no significant interval increase in the pneumothorax", "+pneumothorax"),
    ("no interval improvement of the consolidation", "+consolidation"),
    ("no evidence of worsening edema", "+edema"),
    ("no evidence of effusion or change in the heart", "-pleura"),
    ("no significant effusion", "-pleura"),
    ("not without effusion", "+pleura"),
    ("the lungs are not free of consolidation", "+consolidation"),
    ("the lungs are not entirely free of consolidation", "+consolidation"),
    ("the heart is not enlarged without effusion", "-heart -pleura"),
    ("the effusion has not resolved", "+pleura"),
    ("the effusion has not cleared", "+pleura"),
    ("no increase in the effusion", "+pleura"),
    ("no increased interstitial markings", "-interstitial"),
    ("not only effusion but pneumothorax", "+pleura +pneumothorax"),
    ("an effusion not seen on the prior study", "+pleura"),
    ("pneumothorax is not ruled out", "?pneumothorax"),
    ("there is no doubt about the fracture", "+fracture"),
    # Longer sentences, as they are dictated.
    ("mild to moderate cardiomegaly with small bilateral pleural effusions and bibasilar atelectasis .",
     "+heart +pleura +atelectasis"),
    ("there is opacity at the left base which could represent atelectasis or pneumonia .",
     "?atelectasis ?consolidation"),
    ("right basilar opacity may reflect atelectasis , pneumonia not excluded .",
     "?atelectasis ?consolidation"),
    ("no acute fracture is seen , old right rib fractures .", "-fracture +fracture"),
    ("low lung volumes with bibasilar atelectasis , no definite consolidation .",
     "+atelectasis -consolidation"),
    ("blunting of the costophrenic angles suggesting small effusions", "+pleura ?pleura"),
    ("the cardiac silhouette is enlarged but stable .", "+heart"),
    # No class.
    ("lungs are clear .", ""),
    ("the heart size is normal .", ""),
    ("endotracheal tube in place .", ""),
)  # fmt: skip
SIGNS = {"+": "present", "?": "uncertain", "-": "denied"}


def matched(sentence: str, match: Matcher) -> list[tuple[str, str]]:
    return sorted((mention.label, mention.polarity) for mention in match(sentence.split()))


@pytest.fixture(scope="module")
def match() -> Matcher:
    return make("phrases", REFLACX, own_phrases())


def test_there_are_enough_sentences() -> None:
    assert len({sentence for sentence, _ in SENTENCES}) == len(SENTENCES) >= 60


@pytest.mark.parametrize(("sentence", "mentions"), SENTENCES)
def test_a_sentence_mentions_findings_as_a_reader_understands_it(
    sentence: str, mentions: str, match: Matcher
) -> None:
    expected = sorted((SHORT[each[1:]], SIGNS[each[0]]) for each in mentions.split())
    assert matched(sentence, match) == expected


@pytest.mark.parametrize(("sentence", "mentions"), SENTENCES)
def test_letter_case_and_spaces_before_marks_do_not_matter(
    sentence: str, mentions: str, match: Matcher
) -> None:
    attached = sentence.upper().replace(" ,", ",").replace(" .", ".").replace("3.5", "3 . 5")
    assert matched(attached, match) == matched(sentence, match), mentions


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("the lungs are clear", [("Normal", "present")]),
        ("the lungs are not clear", [("Normal", "denied")]),
        ("unclear", []),
        ("no acute cardiopulmonary process", [("Normal", "present")]),
        ("no acute infiltrate", [("Normal", "present"), ("Normal", "present"), ("pneumonia", "denied")]),
        ("no edema", [("CHF", "denied"), ("Normal", "present")]),
        # A present effusion says nothing of a normal image, a possible one neither.
        ("pleural effusion", [("CHF", "present")]),
        ("possible effusion", [("CHF", "uncertain")]),
        ("there is an opacity in the left lung", [("pneumonia", "present")]),
        ("concerning for Pneumonia", [("pneumonia", "uncertain")]),
        ("no evidence of pneumonia", [("Normal", "present"), ("pneumonia", "denied")]),
        ("congestive heart failure", [("CHF", "present"), ("CHF", "present")]),
    ],
)
def test_classes_of_egd_are_mentioned(sentence: str, expected: list[tuple[str, str]]) -> None:
    match = make("phrases", ("Normal", "CHF", "pneumonia"), own_phrases())
    assert matched(sentence, match) == expected


def test_a_mention_has_the_last_word_that_names_it(match: Matcher) -> None:
    words = [
        "the",
        "heart",
        "is",
        "mildly",
        "enlarged",
        ",",
        "with",
        "a",
        "left",
        "pleural",
        "effusion",
        "today",
        ".",
    ]
    last = {mention.label: words[mention.last] for mention in match(words)}
    assert last == {SHORT["heart"]: "enlarged", SHORT["pleura"]: "effusion"}
    # Pieces of several words, as of egd-cxr, are places too.
    pieces = ["the heart is", "mildly enlarged, with", "an effusion today"]
    assert [mention.last for mention in match(pieces)] == [1, 2]


def test_only_classes_that_are_requested_take_words_from_others() -> None:
    alone = make("phrases", ("Interstitial lung disease",), own_phrases())
    assert matched("interstitial edema", alone) == [("Interstitial lung disease", "present")]


def test_a_class_without_phrases_is_found_by_its_name() -> None:
    match = make("phrases", ("Azygos lobe",), own_phrases())
    assert matched("there is an azygos lobe", match) == [("Azygos lobe", "present")]


def test_every_class_of_reflacx_and_egd_has_phrases() -> None:
    assert all(own_phrases().labels[" ".join(name.replace("/", " ").lower().split())] for name in REFLACX)


def test_another_matcher_can_be_registered_and_named() -> None:
    @register("exclamations")
    def exclamations(labels: Sequence[str], phrases: Phrases) -> Matcher:
        return lambda words: [Mention(labels[0], "present", len(words) - 1)] * words.count("!")

    try:
        match = make("exclamations", ("Mass",), own_phrases())
        assert match(["a", "!"]) == [Mention("Mass", "present", 1)]
        assert (
            register("exclamations")(exclamations) is exclamations
        )  # a cell of a notebook that is run again
        with pytest.raises(ValueError, match="already"):
            register("phrases")(exclamations)
    finally:
        del MATCHERS["exclamations"]
    with pytest.raises(UserError, match="`align_matcher` must be one of phrases, got 'exclamations'"):
        make("exclamations", ("Mass",), own_phrases())
