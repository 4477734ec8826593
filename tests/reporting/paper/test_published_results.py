"""Published figures stand beside their protocols, and only where the data are egd-cxr."""

from __future__ import annotations

from math import sqrt
from pathlib import Path
from re import findall

import pytest

from radgaze.reporting.description import StoreFacts
from radgaze.reporting.paper import published_results
from radgaze.reporting.paper.limitations import pretrained
from radgaze.reporting.paper.published_results import HEADINGS, RESULTS, write_published
from radgaze.reporting.paper.results import Results
from tests.reporting.paper.grids import grid


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return grid(tmp_path_factory.mktemp("grid"))


@pytest.mark.parametrize(
    ("source", "shown"), [("egd", True), ("reflacx", False), ("table", False), (None, False)]
)
def test_they_are_shown_for_egd_cxr_alone(
    source: str | None, shown: bool, results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published_results, "store_facts", lambda run: StoreFacts(source))
    rows = published_results.published_results(results)
    assert bool(rows) == shown
    (tmp_path / "published.md").write_text("of an earlier page")
    write_published(rows, tmp_path)
    assert (tmp_path / "published.md").is_file() == shown


def test_the_table_has_a_row_for_each_figure_and_a_cell_for_each_part_of_the_protocol(tmp_path: Path) -> None:
    write_published(RESULTS, tmp_path)
    lines = [line for line in (tmp_path / "published.md").read_text().splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(RESULTS)
    assert {line.replace("\\|", "").count("|") for line in lines} == {1 + len(HEADINGS)}
    assert all(each.cases and each.selected and each.gaze for each in RESULTS)


def test_accuracies_and_their_intervals_are_those_of_the_counted_cases() -> None:
    counted = 0
    for each in RESULTS:
        for percent, right, of, low, high in findall(
            r"accuracy ([\d.]+)% \((\d+) of (\d+); Wilson \[([\d.]+), ([\d.]+)\]%\)", each.figure
        ):
            counted += 1
            n, p, z = int(of), int(right) / int(of), 1.959964
            middle, half = p + z**2 / (2 * n), z * sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
            ends = ((middle + side * half) / (1 + z**2 / n) for side in (-1, 1))
            assert [f"{100 * end:.1f}" for end in ends] == [low, high]
            assert abs(100 * p - float(percent)) < 0.01  # one of them is cut, not rounded
    assert counted == 2


def test_what_the_encoders_saw_is_said_once_for_all_experiments(results: Results) -> None:
    sentences = pretrained(results)
    assert len(sentences) == len(set(sentences))
    weights = {run.config.model.weights for runs in results.runs.values() for run in runs.values()}
    for each in weights - {"none"}:
        assert sum(f"({each})" in sentence for sentence in sentences) == 1
