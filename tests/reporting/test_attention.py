"""A store with boxes only is told to have boxes, and not gaze."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import numpy as np
import polars as pl
import pytest

from radgaze.evaluation.interval_estimate import IntervalEstimate
from radgaze.evaluation.results import LocalisationCases, Maps
from radgaze.reporting.attention import attention_of, told_of
from radgaze.reporting.case_panels import gaze_of, mosaic, outlined_in, panels
from radgaze.reporting.run_page import report
from radgaze.reporting.wording import LOCALISATION, MAPS
from radgaze.store.store import Store
from radgaze.training.callbacks import announce
from tests.reporting.fakes import FakeRun, FakeStore, case, draw, evaluated
from tests.reporting.pages import Page


@dataclass(frozen=True)
class Boxed(FakeStore):
    """A store with boxes, and without a reading."""

    boxes: pl.DataFrame = field(default_factory=lambda: pl.DataFrame({"case_id": ["a"]}))


def boxed(readings: int = 0, boxes: int = 1, regions: int = 0) -> Store:
    counts = {"cases": 1, "readings": readings, "regions": regions}
    table = pl.DataFrame({"case_id": ["a"] * boxes})
    return cast(Store, Boxed({"source": "table", "counts": counts}, pl.DataFrame(), boxes=table))


def test_a_store_has_gaze_where_it_has_a_reading_and_else_its_boxes_or_masks() -> None:
    assert attention_of(boxed(readings=1)) == "gaze"
    assert attention_of(boxed()) == "boxes"
    assert attention_of(boxed(boxes=0, regions=3)) == "masks"
    assert attention_of(boxed(boxes=0)) == "gaze"


def test_words_of_gaze_are_of_boxes_and_other_words_stay() -> None:
    assert told_of("its mask was pulled towards the gaze map", "boxes") == (
        "its mask was pulled towards the map of the boxes"
    )
    assert told_of("mask–gaze 0.50; radgaze", "boxes") == "mask–boxes 0.50; radgaze"
    assert told_of("the gaze map", "gaze") == "the gaze map"


def test_panels_and_outlines_are_of_boxes() -> None:
    marked = replace(case(), attention="Boxes")
    drawn = panels(marked, "Guided backprop")
    assert outlined_in([drawn]) == "boxes"
    assert outlined_in([drawn, panels(case(), "Guided backprop")]) == "gaze or boxes"
    assert any("blue line: boxes at" in text.get_text() for text in mosaic([("x", drawn)]).texts)
    bare = panels(case(gaze=False), "Guided backprop")
    assert not any("blue line" in text.get_text() for text in mosaic([("x", bare)]).texts)
    assert gaze_of(replace(case(gaze=False), attention="Boxes")).note == "no boxes"


def test_the_report_of_a_store_with_boxes_only_does_not_speak_of_gaze(tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "run", gaze=False, test_cases=40)
    results = evaluated(run)
    of_boxes: Maps = dict.fromkeys(MAPS)
    of_boxes["heatmap"] = dict.fromkeys(LOCALISATION, IntervalEstimate(0.375, 0.25, 0.5))
    test = replace(results.test, localisation=of_boxes, localisation_cases=LocalisationCases(12, 28))
    held = cast(FakeStore, run.store)
    store = Boxed({"source": "table", "counts": {"cases": 80, "readings": 0}}, held.cases)
    object.__setattr__(run, "__dict__", run.__dict__ | {"store": store})

    def with_boxes(run: FakeRun, ids: list[str], settings: object) -> list[object]:
        return [
            replace(each, attention="Boxes", gaze=np.eye(224))
            for each in draw(run, ids, settings)  # type: ignore[arg-type]
        ]

    page = report(run, replace(results, test=test), draw=with_boxes)  # type: ignore[arg-type]
    text = Page(page.read_text(encoding="utf-8")).text.partition("Configuration of the run")[0]
    said = re.findall(r"[^.;:]*\bgaze\b[^.;:]*", text)
    allowed = ("No agreement was measured: no test case has gaze", "the setting gaze")
    assert [
        words for words in said if not any(each in words or words.strip() in each for each in allowed)
    ] == []
    assert "its mask was pulled towards the map of the boxes" in text
    assert "Heatmap inside the boxes" in text
    assert "outline of the boxes" in text


def test_training_tells_of_boxes(capsys: pytest.CaptureFixture[str]) -> None:
    announce(20, 0, 8, 5, 2.0)
    announce(20, 3, 8, 5)
    said = "".join(capsys.readouterr())
    assert "20 training cases, 8 of them with boxes or masks; 5 validation cases" in said
    assert "those with boxes or masks 2.0 times" in said
    assert "3 of them with gaze, 8 with boxes or masks in its place" in said
