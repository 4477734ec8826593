"""The same cases through every experiment: the four panels of each, and a sheet per class to compare them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from radgaze.errors import UserError
from radgaze.evaluation.results import read_results, read_scores
from radgaze.reporting.description import without_paths
from radgaze.reporting.gallery import Draw, generator_title
from radgaze.reporting.page import panel_pictures, slug
from radgaze.reporting.panels import Case, Panel, gaze_of, maps_of_model, mosaic, radiograph
from radgaze.reporting.paper.results import Results, title
from radgaze.reporting.style import save

if TYPE_CHECKING:
    from radgaze.runs.run import Run

EACH = 2
SEED = 0


@dataclass(frozen=True)
class Choice:
    """The cases that are shown.

    Attributes:
        ids: Per class, case ids.
        seeds: Per experiment, the seed whose run draws them.
        rule: How they were chosen, as a caption.
    """

    ids: Mapping[str, tuple[str, ...]]
    seeds: Mapping[str, int]
    rule: str


@dataclass(frozen=True)
class Drawn:
    """What one experiment made of the cases: by case id, or the reason why there is nothing.

    Attributes:
        cases: By case id.
        generator: The heatmap's, as a title.
        reason: Why there are no cases; empty if there are.
    """

    cases: Mapping[str, Case]
    generator: str = "Heatmap"
    reason: str = ""


def choose(results: Results, *, each: int = EACH, seed: int = SEED) -> Choice:
    """Up to `each` cases of every class that all experiments have among their test cases, by a seeded draw.

    The runs are those of the first seed that all experiments have, else each experiment's first. Cases with
    recorded gaze go first, so that there is something to compare with.
    """
    experiments, classes = results.experiments, results.classes
    common = set.intersection(*({*results.runs[e]} for e in experiments))
    seeds = {e: min(common or results.runs[e]) for e in experiments}
    tables = {e: _test(results.runs[e][seeds[e]]) for e in experiments}
    shared = set.intersection(*({*table["case_id"]} for table in tables.values()))
    looked = set().union(*(_with_gaze(results.runs[e][seeds[e]]) for e in experiments))
    first = tables[experiments[0]]
    ids = {}
    for place, name in enumerate(classes):
        own = sorted(shared.intersection(first.filter(pl.col(f"label_{name}") == 1)["case_id"]))
        order = np.random.default_rng([seed, place]).permutation(len(own))
        drawn = sorted((own[i] for i in order), key=lambda case: case not in looked)  # stable: keeps the draw
        ids[name] = tuple(drawn[:each])
    rule = (
        f"The cases are chosen by a rule, not by hand: of the {len(shared):,} test cases that all "
        f"experiments share, up to {each} of each class by a random draw with seed {seed}, those with "
        "recorded gaze first."
    )
    if len(set(seeds.values())) == 1:
        rule += f" The runs are those of seed {seeds[experiments[0]]}."
    return Choice(ids, seeds, rule)


def draw_all(results: Results, choice: Choice, draw: Draw, advance: Callable[[], None]) -> dict[str, Drawn]:
    """Each attempted experiment's maps of the chosen cases; those that have none say why.

    Args:
        results: The runs.
        choice: The cases.
        draw: Makes a run's maps.
        advance: Called after each experiment.
    """
    ids = [case_id for of_class in choice.ids.values() for case_id in of_class]
    drawn = {}
    for name in results.attempted:
        if name in choice.seeds:
            drawn[name] = _drawn(results.runs[name][choice.seeds[name]], ids, draw)
        else:
            drawn[name] = Drawn({}, reason=results.reason(name))
        advance()
    return drawn


def four_panels(case: Case | None, drawn: Drawn) -> list[Panel]:
    """Radiograph, gaze, mask and heatmap of one case, as the paper shows them; empty ones say why."""
    if case is None:
        return [
            Panel(name, None, _wrapped(drawn.reason)) for name in ("Radiograph", "Gaze", "Mask", "Heatmap")
        ]
    return [radiograph(case), gaze_of(case), *_own_maps(case, drawn)]


def write_figures(choice: Choice, drawn: Mapping[str, Drawn], folder: Path) -> list[Path]:
    """Write cases/<experiment>_<class>.png with the four panels, and sheet_<class>.png; return the paths."""
    written = []
    for name, ids in choice.ids.items():
        if not ids:
            continue
        for experiment, own in drawn.items():
            rows = [
                (_label(f"{name}, case {place}", own.cases.get(i)), four_panels(own.cases.get(i), own))
                for place, i in enumerate(ids, 1)
            ]
            written.append(save(mosaic(rows), folder / "cases" / f"{slug(experiment)}_{slug(name)}.png"))
        labelled = [(words, panels) for words, _, panels in sheet(ids, drawn)]
        written.append(save(mosaic(labelled), folder / f"sheet_{slug(name)}.png"))
    return written


def sheet(ids: Sequence[str], drawn: Mapping[str, Drawn]) -> list[tuple[str, str, list[Panel]]]:
    """Rows of a class's sheet: a label for the figure, one for the page, and the panels.

    First radiograph and gaze of each case, then each experiment's mask and heatmap of each.
    """
    known = next((own.cases for own in drawn.values() if own.cases), {})
    top = [panel for i in ids if i in known for panel in (radiograph(known[i]), gaze_of(known[i]))]
    rows = [("Cases and gaze", "Cases and gaze", top)] if top else []
    for experiment, own in drawn.items():
        row = [panel for i in ids for panel in four_panels(own.cases.get(i), own)[2:]]
        decisions = [_decision(own.cases[i]) for i in ids if i in own.cases]
        label = "\n".join(_wrapped(words, 18) for words in (title(experiment), *decisions))
        rows.append(
            (label, ": ".join([title(experiment), *([", ".join(decisions)] if decisions else [])]), row)
        )
    return rows


def page_groups(choice: Choice, drawn: Mapping[str, Drawn]) -> list[dict[str, Any]]:
    """The sheets as the page's template wants them. Cases are numbered: no id of the data set is shown."""
    groups = []
    for name, ids in choice.ids.items():
        rows = []
        for _, label, panels in sheet(ids, drawn) if ids else []:
            pictures = panel_pictures(panels, "")
            per_case = len(pictures) // len(ids)
            numbered = []
            for place, picture in enumerate(pictures):
                number = place // per_case + 1
                over = "" if picture.title == "Radiograph" else " over the radiograph"
                alt = f"{name}, case {number}: {picture.title}{over}; {label}"
                numbered.append(replace(picture, alt=alt, title=f"Case {number}: {picture.title}"))
            rows.append((label, numbered))
        groups.append({"name": name, "rows": rows})
    return groups


def _drawn(run: Run, ids: Sequence[str], draw: Draw) -> Drawn:
    if not ids:
        return Drawn({}, reason="no case is shared by all experiments")
    try:
        settings = read_results(run.path).settings
        return Drawn({case.case_id: case for case in draw(run, ids, settings)}, generator_title(settings))
    except UserError as error:
        return Drawn({}, reason=f"no picture: {without_paths(str(error))}")


def _own_maps(case: Case, drawn: Drawn) -> list[Panel]:
    maps = maps_of_model(case, drawn.generator, mask=True)
    return [maps[-1], maps[0]]


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
