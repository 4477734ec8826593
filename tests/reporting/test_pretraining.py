"""The line on what an encoder saw says what is known, counts, and names no case."""

from __future__ import annotations

import pytest

from radgaze.evaluation.pretraining import SeenCases
from radgaze.reporting.pretraining import sentence
from radgaze.runs.initial_weights import InitialWeights


@pytest.mark.parametrize(
    ("weights", "seen", "expected"),
    [
        ("none", None, ""),
        (
            "torchxrayvision:densenet121-res224-all",
            SeenCases(107, 12),
            "pretrained on images of MIMIC-CXR, with their labels (the data sets in the name of "
            "torchxrayvision's file): 12 of 107 test cases are in the list of images that they saw.",
        ),
        (
            "hf:microsoft/rad-dino",
            SeenCases(107, 90, 95, 100),
            "90 of 107 test cases are in the list of images that they saw; 95 are of studies with a listed "
            "image and 100 are of patients with a listed image.",
        ),
        ("hf:microsoft/rad-dino", None, "how many of the test cases are among them is not known"),
        ("hf:MapleF/eva_x", None, "It is not confirmed whether the encoder's weights (EVA-X, "),
        ("mine.pt", None, "It is not known whether the encoder's weights (a local file) were pretrained"),
        ("ark6.pth", None, "The encoder's weights (Ark, Ark+, a local file) were pretrained on images"),
        ("mine.pt", SeenCases(1, 1), "MIMIC-CXR: 1 of 1 test case are in"),
        (
            "imagenet",
            None,
            "weights (imagenet) were not pretrained on MIMIC-CXR (photographs).",
        ),
    ],
)
def test_sentences(weights: str, seen: SeenCases | None, expected: str) -> None:
    words = sentence(InitialWeights(weights, "resnet18"), seen)
    assert expected in words
    assert words.endswith(".") or not expected
