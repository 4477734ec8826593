"""The documentation's pieces of code run, one after the other, as they stand."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from radgaze import attribution
from radgaze.attribution.readout import READOUTS
from radgaze.attribution.registry import PRESETS
from radgaze.cli.demo_sizes import FULL
from radgaze.objectives import distances, terms
from radgaze.simulation.plan import plan_cases
from tests import processes

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize(
    "page",
    ["heatmaps.md", *(pytest.param(each, marks=pytest.mark.slow) for each in ("own_models.md", "python.md"))],
)
def test_code_of_a_page_runs(page: str, tmp_path: Path) -> None:
    pieces = re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.M | re.S)
    assert pieces
    # A process of its own: the pieces register generators, and change the allocator.
    told = processes.python("\n".join(pieces), folder=tmp_path)
    assert told.returncode == 0, told.stderr


def test_an_own_network_and_data_set_take_less_than_30_lines() -> None:
    text = (DOCS / "own_models.md").read_text(encoding="utf-8")
    whole = text.split("```python\n", 1)[1].split("```", 1)[0]
    assert all(
        name in whole for name in ("nn.Module", "rg.prepare", "set3_guided", "rg.evaluate", "rg.audit")
    )
    assert len(whole.splitlines()) < 30


def rows(page: str, heading: str) -> dict[str, str]:
    """The rows of the table under a heading of its first column, by the name in backquotes at their start."""
    text = (DOCS / page).read_text(encoding="utf-8")
    table = text.split(f"| {heading} ", 1)[1].split("\n\n", 1)[0]
    return {line.split("`")[1]: line for line in table.splitlines()[2:]}


def test_each_distance_stands_with_its_options_where_the_help_says() -> None:
    listed = rows("methods.md", "`distance`")
    assert set(listed) == set(distances.REGISTRY)
    for name, distance in distances.REGISTRY.items():
        last = listed[name].rsplit(" | ", 1)[1]
        assert re.findall(r"`(\w+)`", last) == list(distance.options), name
        assert ("| as made |" in listed[name]) == distance.raw, name


def test_each_kind_of_term_stands_with_its_options_where_the_help_says() -> None:
    listed = rows("methods.md", "`kind` of a term")
    assert set(listed) == set(terms.REGISTRY)
    for name, kind in terms.REGISTRY.items():
        last = listed[name].rsplit(" | ", 1)[1]
        assert re.findall(r"`(\w+)`", last) == [each.name for each in fields(kind)], name


def test_each_readout_generator_and_kind_of_schedule_stands_where_the_help_says() -> None:
    page = (DOCS / "heatmaps.md").read_text(encoding="utf-8")
    for name in READOUTS:
        assert f'"{name}"' in page, name
    for name in attribution.names():
        assert f"\n| `{name}` |" in page, name
    for name in ("linear", "warmup", "steps"):
        assert f"`{name}(" in (DOCS / "methods.md").read_text(encoding="utf-8"), name


def test_each_method_stands_in_the_table_of_methods() -> None:
    page = (DOCS / "explaining.md").read_text(encoding="utf-8")
    table = page.split("| name | method |", 1)[1].split("\n\n", 1)[0]
    named = [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(named) == sorted(PRESETS)


def test_the_case_that_is_explained_is_a_test_case_of_the_demo(tmp_path: Path) -> None:
    page = (DOCS / "explaining.md").read_text(encoding="utf-8")
    (named,) = re.findall(r"radgaze explain demo/set3_guided ([0-9a-f-]{44}) ", page)
    (case,) = [each for each in plan_cases(FULL.simulation(tmp_path, 7)) if each.dicom_id == named]
    assert (case.split, case.fault) == ("test", None)
