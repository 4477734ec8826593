"""DIR/tables, DIR/figures and DIR/index.html, from the runs that are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from radgaze.console import progress
from radgaze.evaluation.statistics.resampling import RESAMPLES
from radgaze.evaluation.summary import MACRO
from radgaze.experiments.faithful import COPIED, KEPT, Difference
from radgaze.reporting import description
from radgaze.reporting.gallery import Draw, draw_cases
from radgaze.reporting.page import Picture, figure_picture, slug, write_page
from radgaze.reporting.paper import cases, plots
from radgaze.reporting.paper.claims import RULE, claims
from radgaze.reporting.paper.files import write_tables
from radgaze.reporting.paper.measured import Measured, measure
from radgaze.reporting.paper.powered import TITLE, powered, write_powered
from radgaze.reporting.paper.results import BASELINE, Results, title
from radgaze.reporting.paper.tables import (
    Table,
    beside_words,
    heading,
    own_words,
    tables,
)
from radgaze.reporting.style import save
from radgaze.reporting.wording import AGREEMENT, FLOORS, LOCALISATION, MAPS, count, listed


def write(
    results: Results,
    out: Path,
    *,
    draw: Draw = draw_cases,
    each: int = cases.EACH,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Path:
    """Write out/tables, out/figures and out/index.html; return the page's path.

    The same runs give the same bytes. Tables come first: where a picture cannot be made, they are there.

    Args:
        results: The runs. Their stores are needed for the pictures of cases only.
        out: Folder.
        draw: Makes the cases' maps; by default each run's own model does.
        each: How many cases of each class are shown.
        resamples: Of the bootstrap.
        seed: Of the bootstrap and of the choice of cases.

    Raises:
        UserError: No run is finished, or two have different classes.
    """
    with progress("Writing what the paper shows", total=len(results.attempted) + 3) as bar:
        measured = measure(results, resamples=resamples, seed=seed)
        made = tables(results, measured)
        write_tables(made, {name: [*runs] for name, runs in results.runs.items()}, out / "tables")
        write_powered(measured, out / "tables", results.stamp)
        bar.advance()
        figures = _figures(results, measured, out / "figures")
        bar.advance()
        choice = cases.choose(results, each=each, seed=seed)
        drawn = cases.draw_all(results, choice, draw, bar.advance)
        cases.write_figures(choice, drawn, out / "figures")
        path = write_page(
            "paper.html",
            out / "index.html",
            title="The paper's experiments – radgaze",
            stamp=results.stamp,
            lead=_lead(results),
            facts=_facts(results, measured),
            claims=claims(measured),
            rule=RULE,
            title_of_power=TITLE,
            powered=powered(measured),
            tables=[_shown(table) for table in made],
            headings=[heading(group) for group in measured.groups],
            **figures,
            rows_agreement=_of_maps(measured.agreement, tuple(AGREEMENT)),
            columns_agreement=[(name, "↑" if higher else "↓") for name, higher, _ in AGREEMENT.values()],
            rows_localisation=_of_maps(measured.localisation, tuple(LOCALISATION)),
            columns_localisation=list(LOCALISATION.values()),
            selection=choice.rule,
            groups=cases.page_groups(choice, drawn),
            columns=2 * each,
            seeds=_seeds(results, measured),
            differences=_differences(results),
            limits=_limits(results, measured),
        )
        bar.advance()
    return path


def _figures(results: Results, measured: Measured, folder: Path) -> dict[str, Any]:
    """Forest, ROC curves and how maps did as files, and as pictures of the page."""
    predictions = {
        name: [
            run.predictions().filter(pl.col("split") == "test")
            for _, run in sorted(results.runs[name].items())
        ]
        for name in results.experiments
    }
    forest = save(plots.forest(measured), folder / "forest.png")
    curves = []
    for name in measured.classes:
        path = save(plots.roc(predictions, name, measured.auc), folder / f"roc_{slug(name)}.png")
        curves.append(figure_picture(path, f"ROC curves of {name} against the rest, all experiments", name))
    maps: dict[str, Picture | None] = {}
    for what, drawn, words in (
        ("agreement", plots.agreement(measured), "Agreement of each experiment's maps with gaze"),
        ("localisation", plots.localisation(measured), "How each experiment's maps point into boxes"),
    ):
        maps[what] = None
        if drawn is not None:
            path = save(drawn, folder / f"{what}.png")
            maps[what] = figure_picture(path, f"{words}; numbers in the table")
    words = "AUC of every experiment, mean and per class, with intervals; the numbers are in tables 1 to 4"
    return {"forest": figure_picture(forest, words), "curves": curves, **maps}


def _lead(results: Results) -> str:
    done, failed = len(results.experiments), len(results.attempted) - len(results.experiments)
    runs = sum(len(of) for of in results.runs.values())
    words = (
        f"{count(done, 'experiment')} to tell {listed(results.classes)} apart, {count(runs, 'finished run')}."
    )
    if failed:
        words += f" {count(failed, 'experiment')} failed; the tables say why."
    return words


def _facts(results: Results, measured: Measured) -> list[tuple[str, str]]:
    first = results.runs[results.experiments[0]]
    source = description.store_facts(next(iter(first.values()))).source
    seeds = sorted({seed for of in results.runs.values() for seed in of})
    split = {"test": "test AUC (see above)"}.get(results.selection, "validation AUC")
    known = [
        ("Protocol", results.protocol),
        ("Checkpoint chosen by", split),
        (
            "Seeds",
            ", ".join(map(str, seeds)) if len(seeds) <= 6 else f"{len(seeds)}, {seeds[0]} to {seeds[-1]}",
        ),
        ("Data source", source),
        ("Best by test AUC" if results.stamp else "Best by validation AUC", _best(measured)),
    ]
    return [(name, str(value)) for name, value in known if value]


def _best(measured: Measured) -> str:
    return title(measured.best) if measured.best else ""


def _shown(table: Table) -> dict[str, Any]:
    """A table as the page's template wants it."""
    rows = [
        {
            "title": row.title,
            "reason": row.reason,
            "remark": row.remark,
            "reference": row.experiment == BASELINE,
            "cells": [
                (own_words(row.cells[g]), beside_words(row.cells[g])) for g in table.groups if row.cells
            ],
        }
        for row in table.rows
    ]
    return {"number": table.number, "caption": table.caption, "rows": rows, "notes": table.notes}


def _of_maps(of: plots.OfMaps, metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of a table of maps, map by map so that the experiments stand under each other; floors once."""
    rows = []
    for kind, label in MAPS.items():
        if kind == "heatmap_raw":
            continue
        own = [(name, found[kind]) for name, found in of.items() if found.get(kind)]
        for name, entries in own[:1] if kind in FLOORS else own:
            words = label if kind in FLOORS else f"{label}, {title(name)}"
            rows.append(
                {"name": words, "floor": kind in FLOORS, "entries": [entries.get(m) for m in metrics]}
            )
    return rows


def _seeds(results: Results, measured: Measured) -> list[dict[str, Any]]:
    """Per experiment a line for each seed: what it scored, or why it did not."""
    groups = (MACRO, *measured.classes)
    found = []
    for name in results.attempted:
        lines: dict[int, Mapping[str, Any]] = {
            seed: {"values": [values.get(g) for g in (*groups, "validation", "nss")]}
            for seed, values in measured.seeds.get(name, {}).items()
        }
        lines |= {seed: {"reason": why} for seed, why in results.reasons(name).items()}
        found.append({"title": title(name), "lines": sorted(lines.items())})
    return found


def _differences(results: Results) -> list[tuple[str, Sequence[Difference]]]:
    """Of the faithful protocol, what it does otherwise than the published code, and what it has copied."""
    if results.protocol != "faithful":
        return []
    return [("Not copied", KEPT), ("Copied", COPIED)]


def _limits(results: Results, measured: Measured) -> list[str]:
    """What a reader must keep in mind about these numbers."""
    several = max(len(of) for of in results.runs.values()) > 1
    words = [
        "The intervals count the drawing of test cases and of seeds, not another hospital or another reader."
        if several
        else "Each method was trained once: a difference of two runs is not yet one of two methods.",
        "Agreement with gaze says where a map is bright, not why the classifier decided. A map that never "
        "saw the case can agree well: read it beside the floors.",
    ]
    if several:
        words.append("Few seeds say little about how much seeds matter, and no interval can mend that.")
    return [*words, *measured.notes]
