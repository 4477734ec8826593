"""Pictures of the same cases for every experiment: four panels of each case, and a sheet for each class."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from radgaze.errors import UserError
from radgaze.evaluation.results import read_results, read_scores
from radgaze.reporting.case_panels import Case, Panel, gaze_of, maps_of_model, mosaic, radiograph
from radgaze.reporting.description import without_paths
from radgaze.reporting.gallery import Draw, generator_title
from radgaze.reporting.page import slugs
from radgaze.reporting.paper.results import Results, title
from radgaze.reporting.shown_panels import Pictures, ShownPanel
from radgaze.reporting.style import save

if TYPE_CHECKING:
    from radgaze.runs.run import Run

EACH = 2
"""Number of cases of each class."""
SEED = 0
"""Seed of the draw of cases."""


@dataclass(frozen=True)
class Choice:
    """The cases that are shown.

    Attributes:
        ids: Case ids of each class.
        seeds: For each experiment the seed of the run whose maps are shown.
        rule: The rule by which cases were selected, as a caption.
    """

    ids: Mapping[str, tuple[str, ...]]
    seeds: Mapping[str, int]
    rule: str


@dataclass(frozen=True)
class CaseMaps:
    """The maps of one experiment.

    Attributes:
        cases: The cases with their maps, by case id.
        generator: Title of the heatmap's generator.
        reason: Reason why there are no cases; empty where there are.
    """

    cases: Mapping[str, Case]
    generator: str = "Heatmap"
    reason: str = ""


def choose(results: Results, *, each: int = EACH, seed: int = SEED) -> Choice:
    """Select up to `each` cases of every class at random from the test cases that all experiments share.

    The runs are those of the first seed that all experiments have, or else the first of each experiment.
    Cases with recorded gaze come first, since maps can be compared with it.
    """
    experiments, classes = results.experiments, results.classes
    common = set.intersection(*({*results.runs[e]} for e in experiments))
    seeds = {e: min(common or results.runs[e]) for e in experiments}
    tables = {e: _test(results.runs[e][seeds[e]]) for e in experiments}
    shared = set.intersection(*({*table["case_id"]} for table in tables.values()))
    with_gaze = set().union(*(_with_gaze(results.runs[e][seeds[e]]) for e in experiments))
    first = tables[experiments[0]]
    ids = {}
    for place, name in enumerate(classes):
        members = sorted(shared.intersection(first.filter(pl.col(f"label_{name}") == 1)["case_id"]))
        order = np.random.default_rng([seed, place]).permutation(len(members))
        drawn = sorted(
            (members[i] for i in order), key=lambda case: case not in with_gaze
        )  # stable: keeps the draw
        ids[name] = tuple(drawn[:each])
    rule = (
        f"The cases are chosen by a rule, not by hand: of the {len(shared):,} test cases that all "
        f"experiments share, up to {each} of each class by a random draw with seed {seed}, those with "
        "recorded gaze first."
    )
    if len(set(seeds.values())) == 1:
        rule += f" The runs are those of {results.unit} {seeds[experiments[0]]}."
    return Choice(ids, seeds, rule)


def draw_all(
    results: Results, choice: Choice, draw: Draw, advance: Callable[[], None]
) -> dict[str, CaseMaps]:
    """Compute the maps of the selected cases for each attempted experiment, or the reason why there are none.

    Args:
        results: The runs.
        choice: The cases.
        draw: Function that computes the maps of a run.
        advance: Function that is called after each experiment.
    """
    ids = [case_id for of_class in choice.ids.values() for case_id in of_class]
    drawn = {}
    for name in results.attempted:
        if name in choice.seeds:
            drawn[name] = _case_maps(results.runs[name][choice.seeds[name]], ids, draw)
        else:
            drawn[name] = CaseMaps({}, reason=results.reason(name))
        advance()
    return drawn


def four_panels(case: Case | None, maps: CaseMaps) -> list[Panel]:
    """Make the panels of radiograph, gaze, mask and heatmap of one case, in the order of the paper.

    Args:
        case: The case; None where there is none, so that the panels show the reason.
        maps: Maps of the experiment.
    """
    if case is None:
        return [
            Panel(name, None, _wrapped(maps.reason)) for name in ("Radiograph", "Gaze", "Mask", "Heatmap")
        ]
    shown = maps_of_model(case, maps.generator, mask=True)
    return [radiograph(case), gaze_of(case), shown[-1], shown[0]]


def write_figures(choice: Choice, drawn: Mapping[str, CaseMaps], folder: Path) -> list[Path]:
    """Write cases/<experiment>_<class>.png with the four panels, and sheet_<class>.png; return the paths."""
    written = []
    of_class = slugs(choice.ids)
    of_both = slugs(f"{experiment}/{name}" for name in choice.ids for experiment in drawn)
    for name, ids in choice.ids.items():
        if not ids:
            continue
        for experiment, maps in drawn.items():
            rows = [
                (_label(f"{name}, case {place}", maps.cases.get(i)), four_panels(maps.cases.get(i), maps))
                for place, i in enumerate(ids, 1)
            ]
            file = f"{of_both[f'{experiment}/{name}']}.png"
            written.append(save(mosaic(rows), folder / "cases" / file))
        labelled = [(words, panels) for words, _, panels in sheet(ids, drawn)]
        written.append(save(mosaic(labelled), folder / f"sheet_{of_class[name]}.png"))
    return written


def sheet(ids: Sequence[str], drawn: Mapping[str, CaseMaps]) -> list[tuple[str, str, list[Panel]]]:
    """Make the rows of the sheet of a class: a label for the figure, one for the page, and the panels.

    The first row has radiograph and gaze of each case, the others mask and heatmap of an experiment.
    """
    first = next((maps.cases for maps in drawn.values() if maps.cases), {})
    top = [panel for i in ids if i in first for panel in (radiograph(first[i]), gaze_of(first[i]))]
    rows = [("Cases and gaze", "Cases and gaze", top)] if top else []
    for experiment, maps in drawn.items():
        row = [panel for i in ids for panel in four_panels(maps.cases.get(i), maps)[2:]]
        decisions = [_decision(maps.cases[i]) for i in ids if i in maps.cases]
        label = "\n".join(_wrapped(words, 18) for words in (title(experiment), *decisions))
        rows.append(
            (label, ": ".join([title(experiment), *([", ".join(decisions)] if decisions else [])]), row)
        )
    return rows


@dataclass(frozen=True)
class Group:
    """The sheet of one class on the page.

    Attributes:
        name: The class.
        rows: Label and pictures of each row.
    """

    name: str
    rows: tuple[tuple[str, Sequence[ShownPanel]], ...]


def page_groups(choice: Choice, drawn: Mapping[str, CaseMaps]) -> list[Group]:
    """Make the sheets of the page. Cases are numbered, so that no id of the data set is shown."""
    groups, embedded = [], Pictures()
    for name, ids in choice.ids.items():
        rows = []
        for _, label, panels in sheet(ids, drawn) if ids else []:
            pictures = embedded.row(panels, "")
            per_case = len(pictures) // len(ids)
            numbered = []
            for place, picture in enumerate(pictures):
                number = place // per_case + 1
                over = "" if picture.title == "Radiograph" else " over the radiograph"
                alt = f"{name}, case {number}: {picture.title}{over}; {label}"
                numbered.append(replace(picture, alt=alt, title=f"Case {number}: {picture.title}"))
            rows.append((label, numbered))
        groups.append(Group(name, tuple(rows)))
    return groups


def _case_maps(run: Run, ids: Sequence[str], draw: Draw) -> CaseMaps:
    if not ids:
        return CaseMaps({}, reason="no case is shared by all experiments")
    try:
        settings = read_results(run.path).settings
        return CaseMaps({case.case_id: case for case in draw(run, ids, settings)}, generator_title(settings))
    except UserError as error:
        return CaseMaps({}, reason=f"no picture: {without_paths(str(error))}")


def _test(run: Run) -> pl.DataFrame:
    return run.predictions().filter(pl.col("split") == "test")


def _with_gaze(run: Run) -> set[str]:
    file = run.path / "agreement.parquet"
    return {*read_scores(file)["case_id"]} if file.is_file() else set()


def _label(words: str, case: Case | None) -> str:
    return "\n".join(_wrapped(part, 18) for part in (words, *([_decision(case)] if case else [])))


def _decision(case: Case) -> str:
    return f"{'✓' if case.correct else '✗'} {case.predicted} {case.probability:.2f}"


def _wrapped(words: str, width: int = 30) -> str:
    return textwrap.fill(textwrap.shorten(words, 6 * width, placeholder=" …"), width)
