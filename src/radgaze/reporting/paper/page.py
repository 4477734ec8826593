"""The page of a grid, with its tables and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from radgaze.console import progress
from radgaze.evaluation.across_runs import GridEstimates, estimate_grid
from radgaze.evaluation.interval_estimate import IntervalEstimate
from radgaze.evaluation.options import RESAMPLES
from radgaze.experiments.faithful import COPIED, NOT_COPIED, Difference
from radgaze.reporting import description
from radgaze.reporting.gallery import Draw, draw_cases
from radgaze.reporting.page import Picture, figure_picture, slugs, write_page
from radgaze.reporting.paper import cases, plots
from radgaze.reporting.paper.claim_checks import RULE, claims
from radgaze.reporting.paper.controls import TITLE as TITLE_OF_CONTROLS
from radgaze.reporting.paper.controls import control_table, write_controls
from radgaze.reporting.paper.files import write_tables
from radgaze.reporting.paper.limitations import limits
from radgaze.reporting.paper.power import TITLE, power_table, write_power
from radgaze.reporting.paper.published_results import HEADINGS, NOTES, published_results, write_published
from radgaze.reporting.paper.published_results import TITLE as TITLE_OF_PUBLISHED
from radgaze.reporting.paper.reliance import TITLE as TITLE_OF_RELIANCE
from radgaze.reporting.paper.reliance import reliance_tables
from radgaze.reporting.paper.results import BASELINE, BEST_OF_PAPER, Results, title
from radgaze.reporting.paper.stacked import write_stacked
from radgaze.reporting.paper.table_set import Table, beside_words, cell_words, headings, tables
from radgaze.reporting.style import save
from radgaze.reporting.wording import AGREEMENT, FLOORS, LOCALISATION, MAPS
from radgaze.runs.run import Run
from radgaze.words import count, listed


def write(
    results: Results,
    out: Path,
    *,
    draw: Draw = draw_cases,
    each: int = cases.EACH,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Path:  # long: a list of what the page shows
    """Write the folders `tables` and `figures`, and `index.html`; return the page's path.

    The same runs result in the same bytes. Tables are written first, in case a picture cannot be made.

    Args:
        results: The runs. Their stores are needed only for the pictures of cases.
        out: Folder of the page.
        draw: Function that computes the maps of cases; by default with the model of each run.
        each: Number of cases of each class.
        resamples: Number of bootstrap resamples.
        seed: Seed of the bootstrap and of the draw of cases.

    Raises:
        UserError: No run is finished, or two have different classes.
    """
    with progress("Writing the paper's tables and figures", total=len(results.attempted) + 3) as bar:
        estimates = estimate_grid(
            {name: results.runs[name] for name in results.experiments},
            results.classes,
            (BASELINE, BEST_OF_PAPER),
            paper_intervals=results.has_paper_intervals,
            selected_on_test=bool(results.stamp),
            controls=results.controls,
            resamples=resamples,
            seed=seed,
        )
        all_tables = tables(results, estimates)
        controlled, relied = control_table(results, estimates), reliance_tables(results, estimates)
        write_tables(all_tables, {name: [*runs] for name, runs in results.runs.items()}, out / "tables")
        write_power(estimates, out / "tables", results.stamp)
        write_controls(controlled, out / "tables", results.stamp)
        if relied:
            write_stacked(relied, out / "tables" / "reliance", results.stamp)
        published = published_results(results)
        write_published(published, out / "tables")
        bar.advance()
        figures = _figures(results, estimates, out / "figures")
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
            facts=_facts(results, estimates),
            claims=claims(estimates),
            rule=RULE,
            title_of_controls=TITLE_OF_CONTROLS,
            controls=controlled,
            title_of_reliance=TITLE_OF_RELIANCE,
            relied=relied,
            title_of_power=TITLE,
            power=power_table(estimates),
            tables=[_shown(table) for table in all_tables],
            headings=headings(estimates),
            title_of_published=TITLE_OF_PUBLISHED,
            published=published,
            headings_of_published=HEADINGS,
            notes_of_published=NOTES,
            figures=figures,
            rows_agreement=_map_rows(estimates.agreement, tuple(AGREEMENT)),
            columns_agreement=[(name, "↑" if higher else "↓") for name, higher, _ in AGREEMENT.values()],
            rows_localisation=_map_rows(estimates.localisation, tuple(LOCALISATION)),
            columns_localisation=list(LOCALISATION.values()),
            selection=choice.rule,
            groups=cases.page_groups(choice, drawn),
            columns=2 * each,
            seeds=seed_tables(results, estimates),
            unit=results.unit,
            differences=_differences(results),
            limits=limits(results, estimates),
        )
        bar.advance()
    return path


@dataclass(frozen=True)
class ShownFigures:
    """The figures of the page.

    Attributes:
        forest: AUCs of all experiments.
        curves: ROC curves of each class.
        agreement: Agreement of maps with gaze; None where it was not measured.
        localisation: Localisation of boxes by maps; None where it was not measured.
    """

    forest: Picture
    curves: tuple[Picture, ...]
    agreement: Picture | None
    localisation: Picture | None


def _figures(results: Results, estimates: GridEstimates, folder: Path) -> ShownFigures:
    """Write the figures as files, and return them as pictures of the page."""
    predictions = {
        name: [
            run.predictions().filter(pl.col("split") == "test")
            for _, run in sorted(results.runs[name].items())
        ]
        for name in results.experiments
    }
    forest = save(plots.forest(estimates), folder / "forest.png")
    curves, parts = [], slugs(estimates.shown_classes)
    for name in estimates.shown_classes:
        path = save(plots.roc(predictions, name, estimates.auc), folder / f"roc_{parts[name]}.png")
        curves.append(figure_picture(path, f"ROC curves of {name} against the rest, all experiments", name))
    maps: dict[str, Picture | None] = {}
    for name, figure, words in (
        ("agreement", plots.agreement(estimates), "Agreement of each experiment's maps with gaze"),
        ("localisation", plots.localisation(estimates), "How each experiment's maps point into boxes"),
    ):
        maps[name] = None
        if figure is not None:
            path = save(figure, folder / f"{name}.png")
            maps[name] = figure_picture(path, f"{words}; numbers in the table")
    words = "AUC of every experiment, mean and per class, with intervals; the numbers are in the tables"
    picture = figure_picture(forest, words)
    return ShownFigures(picture, tuple(curves), maps["agreement"], maps["localisation"])


def _lead(results: Results) -> str:
    done, failed = len(results.experiments), len(results.attempted) - len(results.experiments)
    runs = count(sum(map(len, results.runs.values())), "finished run")
    controls = len({*results.experiments} & {*results.controls})
    beside = f" and {count(controls, 'control')} of gaze" if controls else ""
    words = (
        f"{count(done - controls, 'experiment')}{beside} to distinguish {listed(results.classes)}, {runs}."
    )
    if failed:
        words += f" {count(failed, 'experiment')} failed; the tables say why."
    attention = description.store_facts(_first(results)).attention
    if attention != "gaze":
        words += f" The store has no gaze: “gaze” on this page means its {attention}, which stand in for it."
    return words


def _facts(results: Results, estimates: GridEstimates) -> list[tuple[str, str]]:
    source = description.store_facts(_first(results)).source
    seeds = sorted({seed for runs in results.runs.values() for seed in runs})
    shown = ", ".join(map(str, seeds)) if len(seeds) <= 6 else f"{len(seeds)}, {seeds[0]} to {seeds[-1]}"
    facts = [
        ("Protocol", results.protocol),
        ("Checkpoint chosen by", "test AUC (see above)" if results.stamp else "validation AUC"),
        (f"{results.unit.capitalize()}s", shown),
        ("Data source", source),
        (
            "Best by test AUC" if results.stamp else "Best by validation AUC",
            title(estimates.best) if estimates.best else "",
        ),
    ]
    return [(name, str(value)) for name, value in facts if value]


def _first(results: Results) -> Run:
    return next(iter(results.runs[results.experiments[0]].values()))


@dataclass(frozen=True)
class ShownRow:
    """A row of a table on the page; see `tables.Row`.

    Attributes:
        reference: Whether it is the baseline.
        cells: Our figure of each cell, and the lines below it.
    """

    title: str
    reason: str
    remark: str
    reference: bool
    cells: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class ShownTable:
    """A table on the page; see `tables.Table`."""

    number: int
    caption: str
    rows: tuple[ShownRow, ...]
    notes: tuple[str, ...]


def _shown(table: Table) -> ShownTable:
    rows = tuple(
        ShownRow(
            row.title,
            row.reason,
            row.remark,
            row.experiment == BASELINE,
            tuple((cell_words(row.cells[g]), beside_words(row.cells[g])) for g in table.groups if row.cells),
        )
        for row in table.rows
    )
    return ShownTable(table.number, table.caption, rows, table.notes)


@dataclass(frozen=True)
class MapRow:
    """A row of the table of maps.

    Attributes:
        name: Map and experiment.
        floor: Whether it is a baseline map.
        entries: The estimate of each metric; None where it was not measured.
    """

    name: str
    floor: bool
    entries: tuple[IntervalEstimate | None, ...]


def _map_rows(
    figures: Mapping[str, Mapping[str, Mapping[str, IntervalEstimate] | None]], metrics: Sequence[str]
) -> list[MapRow]:
    """Rows of a table of maps: for each map all experiments, and each baseline map once."""
    rows = []
    for kind, label in MAPS.items():
        if kind == "heatmap_raw":
            continue
        measured = [(name, by_metric) for name, maps in figures.items() if (by_metric := maps.get(kind))]
        for name, by_metric in measured[:1] if kind in FLOORS else measured:
            words = label if kind in FLOORS else f"{label}, {title(name)}"
            rows.append(MapRow(words, kind in FLOORS, tuple(by_metric.get(metric) for metric in metrics)))
    return rows


@dataclass(frozen=True)
class SeedLine:
    """One seed of an experiment.

    Attributes:
        seed: The seed.
        values: Test AUC of each group, validation AUC and NSS; empty where the run failed.
        reason: Reason of a failure; empty for a finished run.
    """

    seed: int
    values: tuple[float | None, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class SeedTable:
    """The seeds of an experiment.

    Attributes:
        title: Title of the experiment.
        lines: A line for each seed.
    """

    title: str
    lines: tuple[SeedLine, ...]


def seed_tables(results: Results, estimates: GridEstimates) -> list[SeedTable]:
    """Make the table of the seeds of each attempted experiment."""
    columns = (*estimates.groups, "validation", "nss")
    result = []
    for name in results.attempted:
        lines = [
            SeedLine(seed, tuple(values.get(column) for column in columns))
            for seed, values in estimates.seeds.get(name, {}).items()
        ]
        lines += [SeedLine(seed, reason=reason) for seed, reason in results.reasons(name).items()]
        result.append(SeedTable(title(name), tuple(sorted(lines, key=lambda line: line.seed))))
    return result


def _differences(results: Results) -> list[tuple[str, Sequence[Difference]]]:
    """Differences of the faithful protocol to the published code, and what it reproduces; else empty."""
    if results.protocol != "faithful":
        return []
    return [("Not copied", NOT_COPIED), ("Copied", COPIED)]
