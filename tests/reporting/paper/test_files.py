import io
import re
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from radgaze.reporting.paper.files import as_csv, latex, markdown, write_tables
from radgaze.reporting.paper.table_set import Table, tables
from tests.reporting.paper.grids import REASON, change, made, results

EVIL = ("A|b<i>", "50% & $x_1$ #{~^\\}", "`c` *d* [e]")


def table(
    number: int = 1, classes: tuple[str, ...] = ("Normal", "CHF", "pneumonia"), **options: object
) -> Table:
    names = ["baseline", "set3_guided"]
    difference = {g: change(0.05, 0.02, p=0.01) for g in ("macro", *classes)}
    estimates = made(
        {"baseline": 0.8, "set3_guided": 0.9}, {"baseline": {"set3_guided": difference}}, classes
    )
    return tables(results(names, classes=classes, **options), estimates)[number - 1]


def unescaped(line: str) -> list[str]:
    """A table's line of Markdown as its cells."""
    return re.split(r"(?<!\\)\|", line.strip().strip("|"))


@pytest.mark.parametrize("number", range(1, 6))
def test_markdown_has_one_cell_for_every_column(number: int) -> None:
    lines = [line for line in markdown(table(number, EVIL)).splitlines() if line.startswith("|")]
    assert len(lines) >= 4
    assert {len(unescaped(line)) for line in lines} == {5}


def test_markdown_shows_class_names_as_they_are() -> None:
    head = next(line for line in markdown(table(1, EVIL)).splitlines() if line.startswith("| Experiment"))
    assert "<i>" not in head
    assert r"A\|b&lt;i&gt;" in head
    assert r"\`c\` \*d\* \[e\]" in head


@pytest.mark.parametrize("number", range(1, 6))
def test_latex_is_whole(number: int) -> None:
    text = latex(table(number, EVIL, failed={("no_decoder", 0): "50% of a_b & c"}))
    bare = re.sub(r"\\[\\{}&%$#_]", "", text)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    for environment in ("table", "tabular"):
        assert text.count(rf"\begin{{{environment}}}") == text.count(rf"\end{{{environment}}}") == 1
    for rule in ("toprule", "midrule", "bottomrule"):
        assert text.count(rf"\{rule}") == 1
    columns = re.search(r"begin\{tabular\}\{(\w+)\}", text)
    assert columns is not None
    assert columns[1] == "lcccc"
    lines = [line for line in text.splitlines() if line.endswith(r" \\")]
    assert len(lines) > 2
    for line in lines:
        cells = len(re.split(r"(?<!\\)&", line)) + (3 if r"\multicolumn{4}" in line else 0)
        assert cells == 5


def test_latex_escapes_what_it_would_take_as_its_own() -> None:
    text = latex(table(1, EVIL, failed={("no_decoder", 0): "50% of a_b & c"}))
    assert r"50\% \& \$x\_1\$ \#\{\textasciitilde{}\textasciicircum{}\textbackslash{}\}" in text
    assert r"A\textbar{}b\textless{}i\textgreater{}" in text
    assert r"failed: 50\% of a\_b \& c" in text
    assert text.isascii()


def test_csv_holds_unrounded_figures_and_a_line_for_each_group() -> None:
    frame = pl.read_csv(io.StringIO(as_csv(table(1), {"baseline": [0, 1]})))
    own = frame.filter(pl.col("experiment") == "baseline")
    assert own["group"].to_list() == ["macro", "Normal", "CHF", "pneumonia"]
    assert own["seeds"].to_list() == [2] * 4
    assert own["published"].to_list() == [0.872, 0.923, 0.916, 0.781]
    assert own["difference_to_published"][0] == pytest.approx(0.8 - 0.872)
    assert own["published_inside"].to_list() == [False, False, False, True]
    missing = frame.filter(pl.col("experiment") == "temporal")
    assert missing["status"].to_list() == ["not run"]
    assert missing["value"].to_list() == [None]


def test_table_5_says_which_lines_are_differences() -> None:
    frame = pl.read_csv(io.StringIO(as_csv(table(5), {})))
    paired = frame.filter(pl.col("figure") == "difference to baseline")
    assert paired["p_holm"].to_list() == [0.01] * 4


def test_the_stamp_stands_at_the_head_of_every_file(tmp_path: Path) -> None:
    stamped = [table(n, selection="test") for n in range(1, 6)]
    paths = write_tables(stamped, {}, tmp_path)
    assert {path.name for path in paths} == {
        f"table{n}.{kind}" for n in range(1, 6) for kind in ("md", "csv", "tex")
    }
    for path in paths:
        text = path.read_text(encoding="utf-8")
        assert "SELECTED ON TEST CASES" in text[:300]
    assert pl.read_csv(tmp_path / "table1.csv", comment_prefix="#").height > 4
    for path in write_tables([table(n) for n in range(1, 6)], {}, tmp_path):
        assert "SELECTED" not in path.read_text(encoding="utf-8")


def test_a_failed_run_is_a_row_with_its_reason_in_every_form() -> None:
    failed = table(1, failed={("no_decoder", 0): REASON})
    for text in (markdown(failed), latex(failed), as_csv(failed, {})):
        line = next(line for line in text.splitlines() if "No decoder" in line)
        assert "failed: CUDA out of memory; the store was" in line
        assert "private" not in text


def test_a_bound_a_lack_of_patients_and_of_seeds_are_told_in_every_form() -> None:
    names = ["baseline", "set3_guided"]
    bound = change(0.05, 0.02, p=11 * 2 / 2001, patients=50, discordant=50, p_is_bound=True)
    differences = {
        **{"macro": bound, "Normal": bound, "CHF": replace(bound, patients=5)},
        "pneumonia": replace(bound, low=None, high=None, p=None, seeds=2),
    }
    estimates = made({"baseline": 0.8, "set3_guided": 0.9}, {"baseline": {"set3_guided": differences}})
    fifth = tables(results(names), estimates)[4]
    assert markdown(fifth).count("Holm p ≤ 0.011") == 2
    assert latex(fifth).count(r"$\le$ 0.011") == 2
    for text in (markdown(fifth), latex(fifth)):
        assert "too few patients (5; at least 20)" in text
        assert "too few runs (2; at least 3)" in text
        assert "+0.050 (too few runs)" in text
    assert latex(fifth).isascii()
    frame = pl.read_csv(io.StringIO(as_csv(fifth, {})))
    paired = frame.filter(pl.col("figure") == "difference to baseline")
    assert paired["p_holm_is_bound"].to_list() == [True, True, True, None]
    assert paired["no_verdict"].to_list() == [
        None,
        None,
        "too few patients (5; at least 20)",
        "too few runs (2; at least 3)",
    ]
    assert paired["no_interval"].to_list() == [None, None, None, "too few runs"]
    assert paired["patients"].to_list() == [50, 50, 5, 50]
