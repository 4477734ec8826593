"""The figure of the gaze of each class: which cases it shows, where fixations are, and whom it names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from radgaze.cli import main
from radgaze.reporting import alignment
from radgaze.reporting.case_panels import HEIGHT, Panel, mosaic
from radgaze.reporting.layers import CONTOUR
from radgaze.store.store import Store
from tests.reporting.pages import Page
from tests.store.cohorts import make_cohort, with_mentions
from tests.stores import prepare


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("alignment")
    cohort = with_mentions(make_cohort(folder / "images", 12, shape=(80, 80)))
    return prepare(cohort, folder / "store", size=64, workers=1)


def classes_of(store: Store) -> dict[str, set[str]]:
    """The classes with gaze of each case, from the tables."""
    rows = store.mentions.join(store.readings.select("reading_id", "case_id"), on="reading_id")
    found: dict[str, set[str]] = {}
    for case, label in rows.filter(pl.col("share") > 0).select("case_id", "label").iter_rows():
        found.setdefault(case, set()).add(label)
    return found


def test_the_cases_are_those_with_gaze_of_most_classes(store: Store) -> None:
    counts = {case: len(labels) for case, labels in classes_of(store).items()}
    chosen = alignment.cases_with_most_classes(store)
    assert len(chosen) == alignment.CASES
    rest = set(counts) - set(chosen)
    assert min(counts[case] for case in chosen) >= max(counts[case] for case in rest)


def test_each_class_has_a_panel_with_as_many_points_as_it_has_fixations(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = list[tuple[str, list[Panel]]]()

    def spied(rows: list[tuple[str, list[Panel]]], words: str) -> object:
        shown.extend(rows)
        return mosaic(rows, words)

    monkeypatch.setattr(alignment, "mosaic", spied)
    figure = alignment.alignment_figure(store)
    assert figure is not None
    assert [label for label, _ in shown] == ["Case 1", "Case 2", "Case 3", "Case 4"]
    labels, readings = classes_of(store), dict(store.readings.select("case_id", "reading_id").iter_rows())
    for (_, panels), case in zip(shown, alignment.cases_with_most_classes(store), strict=True):
        assert {panel.title for panel in panels[1:]} == labels[case]
        assert panels[0].note == str(store.fixations.filter(reading_id=readings[case]).height)
        for panel in panels[1:]:
            of_class = store.mentions.filter(reading_id=readings[case], label=panel.title)
            assert panel.note == str(of_class.height)
    words = [text.get_text() for text in figure.texts]
    assert not any("case-" in each or each in readings.values() for each in words)


def test_a_fixation_is_drawn_where_it_is() -> None:
    grey = np.zeros((HEIGHT, 2 * HEIGHT, 3), np.uint8)
    drawn = alignment.dotted(grey, np.array([[80.0, 240.0]]))
    y, x = np.nonzero((drawn == CONTOUR).all(2))
    assert (y.mean() / HEIGHT, x.mean() / (2 * HEIGHT)) == pytest.approx((0.75, 0.25), abs=0.003)


def test_the_page_of_a_store_shows_it_and_one_without_mentions_does_not(store: Store, tmp_path: Path) -> None:
    assert main(["inspect", str(store.path), "--out", str(tmp_path / "out")]) == 0
    page = Page((tmp_path / "out" / "inspect.html").read_text(encoding="utf-8"))
    assert "Gaze of each class" in page.text
    assert (tmp_path / "out" / "gaze_of_classes.png").is_file()
    cohort = make_cohort(tmp_path / "images", 12, shape=(80, 80))
    plain = prepare(replace(cohort), tmp_path / "plain", size=64, workers=1)
    assert alignment.write_alignment(plain, tmp_path / "none.png") is None
    assert not (tmp_path / "none.png").exists()
    assert main(["inspect", str(plain.path), "--out", str(tmp_path / "other")]) == 0
    other = Page((tmp_path / "other" / "inspect.html").read_text(encoding="utf-8"))
    assert "Gaze of each class" not in other.text
