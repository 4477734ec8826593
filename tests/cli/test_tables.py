import re
from dataclasses import replace
from io import StringIO
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from radgaze.cli.evaluate import show_results
from radgaze.cli.tables import blocks, show
from radgaze.evaluation import comparison_rows
from radgaze.evaluation.comparison import Comparison
from radgaze.reporting.comparison_tables import comparison_markdown
from tests.reporting.fakes import FakeRun, evaluated


def shown(width: int, columns: list[str], rows: list[tuple[str, list[str]]]) -> str:
    out = StringIO()
    show(Console(file=out, width=width), "Results", "class", columns, rows)
    return out.getvalue()


def test_fifteen_classes_fit_into_eighty_columns_with_no_cell_cut() -> None:
    columns = [f"finding number {k}" for k in range(15)]
    rows = [(f"run {r}", [f"0.{k:02d}{r} [0.100, 0.900]" for k in range(15)]) for r in range(3)]
    text = shown(80, columns, rows)
    assert max(map(len, text.splitlines())) <= 80
    for cell in (*columns, *(cell for _, cells in rows for cell in cells)):
        assert text.count(cell + " ") == 1
    assert text.count("run 1") == text.count("class") > 1


def test_a_table_that_fits_stays_whole_and_names_are_not_taken_for_markup() -> None:
    text = shown(200, ["AUC", "Brier"], [("bad[/b]", ["[red]0.5", "0.2"])])
    assert text.count("class") == 1
    assert "bad[/b]" in text
    assert "[red]0.5" in text


def test_every_column_stands_once_and_in_order_in_blocks_that_are_narrow_enough() -> None:
    widths = [10, 30, 5, 70, 8, 8]
    found = blocks(12, widths, 60)
    assert [place for block in found for place in block] == list(range(6))
    assert all(len(block) == 1 or 16 + sum(widths[p] + 3 for p in block) <= 60 for block in found)


def test_a_comparison_of_fifteen_classes_has_a_row_for_each_and_fits_into_eighty_columns() -> None:
    classes = [f"finding {k}" for k in range(15)]
    groups = ["macro", *classes]
    rows = [
        (run, "auc", None, group, 0.5 + place / 100, 0.4, 0.9)
        for run in ("one", "two")
        for place, group in enumerate(groups)
    ]
    table = pl.DataFrame(rows, schema=comparison_rows.TABLE, orient="row")
    none = pl.DataFrame(schema=comparison_rows.PAIRED)
    comparison = Comparison(("one", "two"), tuple(classes), 90, 80, table, none, ())
    text = comparison_markdown(comparison)
    of_classes = text.split("## Paired")[0]
    lines = [line for line in of_classes.splitlines() if line.startswith("|")]
    assert max(map(len, lines)) <= 80
    assert "| finding 7 | 0.580 [0.400, 0.900] | 0.580 [0.400, 0.900] |" in lines
    few = comparison_markdown(replace(comparison, classes=tuple(classes[:3])))
    assert "| run | macro | finding 0 | finding 1 | finding 2 |" in few


@pytest.mark.parametrize(
    ("classes", "rows"),
    [
        (("Normal", "effusion"), ["effusion"]),
        (("Normal", "CHF", "pneumonia"), ["macro", "Normal", "CHF", "pneumonia"]),
    ],
)
def test_an_evaluation_is_named_by_the_run_and_tells_two_exclusive_classes_once(
    classes: tuple[str, ...], rows: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = FakeRun(tmp_path / "my-own-name", classes=classes)
    show_results(evaluated(run), run)
    text = capsys.readouterr().out
    table = text.partition("Agreement with gaze")[0]
    assert "my-own-name: " in table
    named = dict.fromkeys(re.findall(r"^\W*(\w+)", table, re.MULTILINE))
    assert [name for name in named if name in {*classes, "macro"}] == rows
    assert ("effusion is the positive one" in " ".join(text.split())) == (len(classes) == 2)
