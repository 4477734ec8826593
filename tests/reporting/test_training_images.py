"""The section of a run's page with the training images as the network saw them."""

from __future__ import annotations

from base64 import b64decode
from io import BytesIO
from pathlib import Path
from typing import cast

import numpy as np
import polars as pl
import pytest
from PIL import Image

from radgaze.evaluation.results import EvaluationResults
from radgaze.reporting import description
from radgaze.reporting.description import StoreFacts
from radgaze.reporting.sections.section import EvaluatedRun
from radgaze.reporting.sections.training_images import TrainingImagesSection
from radgaze.reporting.training_images import draw_training_images
from radgaze.runs import settings, training_images
from radgaze.runs.training_images import TrainingImage
from tests.reporting.fakes import FakeRun
from tests.reporting.pages import Page


class ChangedRun(FakeRun):
    """A run on changed images, which counted them in two epochs."""

    def history(self) -> pl.DataFrame:
        return pl.DataFrame(
            {
                "epoch": [0, 1],
                "counterfactual/changed": [900.0, 910.0],
                "counterfactual/without_region": [12.0, 16.0],
                "counterfactual/without_partner": [0.0, 0.0],
            }
        )


def section_of(run: FakeRun) -> str:
    shown = TrainingImagesSection().rendered(EvaluatedRun(run, cast(EvaluationResults, None)))
    return "" if shown is None else str(shown)


def images(count: int = 3) -> list[TrainingImage]:
    draw = np.random.default_rng(0)
    before, after = (draw.integers(0, 256, (count, 40, 40)).astype(np.uint8) for _ in range(2))
    region = np.zeros((40, 40), np.uint8)
    region[10:30, 5:20] = 255
    after[0] = before[0]
    return [TrainingImage(a, region, b) for a, b in zip(before, after, strict=True)]


def test_the_page_shows_the_images_and_counts_those_that_stayed(tmp_path: Path) -> None:
    run = ChangedRun(tmp_path, experiment="exchange")
    training_images.write(images(), tmp_path / training_images.FILE)
    html = section_of(run)
    text = " ".join(Page(f"<main>{html}</main>").text.split())
    assert "In each training image, the pixels outside of the places where the gaze map is" in text
    assert "Changed in an epoch: 905 images; 14 without a region stayed as they are." in text
    assert "Images of validation and test cases are never changed." in text
    source = html.split('src="data:image/png;base64,')[1].split('"')[0]
    with (
        Image.open(BytesIO(b64decode(source))) as shown,
        Image.open(tmp_path / "figures" / "training_images.png") as written,
    ):
        assert shown.size == written.size
        assert np.array_equal(np.asarray(shown), np.asarray(written))
    assert "case" not in html.split("<img")[1].split(">")[0].replace("cases", "")  # no id of a case


def test_the_figure_has_both_rows_the_outline_and_which_stayed() -> None:
    given = images()
    figure = draw_training_images(given)
    axes = figure.get_axes()
    assert len(axes) == 6
    for i, each in enumerate(given):
        for axis, pixels in ((axes[i], each.image), (axes[3 + i], each.seen)):
            np.testing.assert_array_equal(axis.get_images()[0].get_array(), pixels)
    assert [bool(axis.collections) for axis in axes] == [True] * 3 + [False] * 3
    assert [axis.get_xlabel() for axis in axes[3:]] == ["unchanged", "", ""]


@pytest.mark.parametrize("content", [None, b"no picture"])
def test_without_its_picture_the_page_says_so(content: bytes | None, tmp_path: Path) -> None:
    run = ChangedRun(tmp_path, experiment="exchange")
    if content is not None:
        (tmp_path / training_images.FILE).write_bytes(content)
    html = section_of(run)
    assert "<img" not in html
    assert training_images.FILE in html


def test_a_run_on_its_images_as_they_are_has_no_such_section(tmp_path: Path) -> None:
    assert section_of(FakeRun(tmp_path, experiment="baseline")) == ""


def test_what_a_run_learned_from_says_how_images_were_changed(tmp_path: Path) -> None:
    facts = StoreFacts()
    run = FakeRun(tmp_path, experiment="no_decoder")
    assert "gaze had no part in it." in description.summary(run, facts)
    for fields, words in (
        (
            {"kind": "exchange", "partner": "other_class"},
            "at least 0.1 of its maximum were replaced by another patient's of another class, but for the "
            "region of that one.",
        ),
        ({"kind": "exchange", "keep": "own"}, "of its maximum were replaced by another patient's."),
        ({"kind": "noise", "share": 0.25, "region": "lungs"}, "In 25% of the training images, the pixels"),
        ({"kind": "fill", "region": "boxes"}, "outside of its boxes were replaced by its mean grey."),
    ):
        changed = settings.resolve("no_decoder", counterfactual={"threshold": 0.1, **fields})
        object.__setattr__(run, "config", changed)
        said = description.summary(run, facts)
        assert words in said
        assert ("gaze had no part in it" in said) == (changed.counterfactual.region != "gaze")
