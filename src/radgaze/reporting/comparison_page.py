"""DIR/index.html: a comparison of runs on the same test cases, with metrics, differences and pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from radgaze.console import progress
from radgaze.errors import UserError
from radgaze.evaluation.comparison import Comparison
from radgaze.evaluation.comparison_rows import EstimateRow, PairedRow
from radgaze.evaluation.interval_estimate import IntervalEstimate
from radgaze.evaluation.metrics.classification import METRICS
from radgaze.evaluation.paired import CLASS_METRICS
from radgaze.evaluation.results import EvaluationSettings, read_results
from radgaze.evaluation.statistics.decision import Difference
from radgaze.reporting import description, intervals
from radgaze.reporting.case_panels import Case, Panel, gaze_of, maps_of_model, mosaic, outlined_in, radiograph
from radgaze.reporting.comparison_tables import compared_classes, is_shown, p_value
from radgaze.reporting.control_words import control_sentences
from radgaze.reporting.gallery import CHANGED, Draw, choose_changed, draw_cases, generator_title
from radgaze.reporting.page import Picture, figure_picture, slugs, write_page
from radgaze.reporting.pretraining import sentences
from radgaze.reporting.run_links import report_of
from radgaze.reporting.shown_panels import Pictures, ShownPanel
from radgaze.reporting.statistics_words import in_words, legend, p_equals, statement, verdict_words
from radgaze.reporting.style import save
from radgaze.reporting.wording import AGREEMENT, FLOORS, MAPS, RELIANCE, difference
from radgaze.runs.config import SELECTED_ON_TEST

if TYPE_CHECKING:
    from radgaze.runs.run import Run


@dataclass(frozen=True)
class ClassTable:
    """A metric of predictions, runs by classes.

    Attributes:
        name: Title of the metric.
        higher: Whether higher is better.
        rows: Name of each run and its estimates; None where there is none.
    """

    name: str
    higher: bool
    rows: tuple[tuple[str, list[IntervalEstimate | None]], ...]


@dataclass(frozen=True)
class AgreementRow:
    """A map in the agreement table.

    Attributes:
        name: Title of the map, and the run.
        floor: Whether it is a baseline map.
        entries: Estimates of the metrics.
    """

    name: str
    floor: bool
    entries: list[IntervalEstimate | None]


@dataclass(frozen=True)
class DifferenceRow:
    """A row in the table of paired differences.

    Attributes:
        run: Name of the run.
        figure: Title of the figure.
        estimate: The difference.
        verdict: Verdict on it, in words.
        detectable: Detectable difference, in words.
        main: Whether it is in the first table.
        p: P-values of the bootstrap and of DeLong's test, and both after Holm's correction, in words.
    """

    run: str
    figure: str
    estimate: Difference
    verdict: str
    detectable: str
    main: bool
    p: list[str]


@dataclass(frozen=True)
class CaseRows:
    """A case, with the pictures of each run.

    Attributes:
        case_id: Id of the case.
        rows: Name, decision and pictures of each run.
    """

    case_id: str
    rows: list[tuple[str, str, Sequence[ShownPanel]]]


@dataclass(frozen=True)
class CaseGroup:
    """The cases of a class.

    Attributes:
        name: Name of the class.
        cases: Cases of the class.
    """

    name: str
    cases: list[CaseRows]


@dataclass(frozen=True)
class DrawnRun:
    """The drawn cases of a run.

    Attributes:
        name: Name of the run.
        title: Title of the generator of its heatmaps.
        cases: The cases, by id.
    """

    name: str
    title: str
    cases: Mapping[str, Case]


def comparison(runs: Sequence[Run], out: Path, compared: Comparison, *, draw: Draw = draw_cases) -> Path:
    """Write DIR/index.html, forest.png, agreement.png and cases_<class>.png; return the page's path.

    Args:
        runs: The runs, in the order of `compared.names`; the first is the reference.
        out: Folder of the page and the pictures.
        compared: Result of `evaluation.compare`.
        draw: Function that makes the maps of cases; by default with the model of each run.
    """
    names = compared.names
    with progress("Writing the comparison", total=len(runs) + 1) as bar:
        groups, without, outlined = _cases(runs, names, out, draw, bar.advance)
        path = write_page(
            "comparison.html",
            out / "index.html",
            links=[report_of(run) for run in runs],
            words=f"Comparison of {' against '.join(names)}",
            title=f"{' against '.join(names)} – radgaze comparison",
            names=names,
            stamp=SELECTED_ON_TEST if any(run.config.selection == "test" for run in runs) else None,
            reference=compared.reference,
            cases=compared.cases,
            patients=compared.patients,
            experiments=[(name, *_about(run, name)) for name, run in zip(names, runs, strict=True)],
            findings=[*findings(compared), *control_sentences(compared)],
            forest=_forest(compared, out),
            of_two=compared_classes(compared),
            main_title=compared.main_title,
            columns_auc=list(compared.groups),
            tables=[_table(compared, metric) for metric in CLASS_METRICS],
            agreement=_agreement(compared),
            agreement_figure=_agreement_figure(compared, out),
            columns_agreement=[(name, "↑" if higher else "↓") for name, higher, _ in AGREEMENT.values()],
            reliance=_reliance(compared),
            columns_reliance=list(RELIANCE.values()),
            paired=_paired(compared),
            several=len(names) > 2,
            legend_of_power=_legend_of_power(compared),
            notes=[*compared.notes, *sentences(zip(names, runs, strict=True))],
            selection=CHANGED,
            groups=groups,
            outlined=outlined,
            without=without,
            columns=max(
                (len(pictures) for g in groups for case in g.cases for *_, pictures in case.rows), default=4
            ),
        )
        bar.advance()
    return path


def findings(compared: Comparison) -> list[str]:
    """State the differences of each run to the reference in macro AUC and in agreement with gaze."""
    sentences, title = [], compared.main_title[0].upper() + compared.main_title[1:]
    for name in compared.names[1:]:
        macro = compared.differences(run=name, metric="auc", group=compared.main)
        if not macro:
            continue
        tests = _tests(macro[0], {"bootstrap": "p_bootstrap", "DeLong": "p_delong"})
        sentences.append(
            f"{title}, {name} minus {compared.reference}: {difference(macro[0].estimate)}{tests}."
        )
        sentences.append(
            f"{name} against {compared.reference}, as trained: "
            + statement(macro[0].power, f"these {compared.cases} cases", compared.main_title)
        )
        for kind in ("heatmap", "mask"):
            sentences += [
                f"{MAPS[kind]}–gaze agreement (NSS), {name} minus {compared.reference}: "
                f"{difference(nss.estimate, 2)}{_tests(nss, {'bootstrap': 'p_bootstrap'})}."
                for nss in compared.differences(run=name, metric="nss", map=kind)
            ]
        sentences += [
            f"Reliance on the {row.group}, {name} minus {compared.reference}: {difference(row.estimate, 2)}"
            f"{_tests(row, {'bootstrap': 'p_bootstrap'})}."
            for row in compared.differences(run=name, metric="reliance")
        ]
    return sentences


def _about(run: Run, name: str) -> tuple[str, str]:
    """Name the experiment, where the name of the run does not, and describe the run."""
    words = description.summary(run, description.store_facts(run), exclusive=run.exclusive)
    experiment = description.experiment_of(run)
    return "" if name == experiment else f"experiment {experiment}", words


def _forest(compared: Comparison, out: Path) -> Picture:
    groups = list(compared.groups)
    values = {name: _by_group(compared.estimates(run=name, metric="auc")) for name in compared.names}
    differences = {
        name: _by_group(compared.differences(run=name, metric="auc")) for name in compared.names[1:]
    }
    path = save(intervals.forest(values, differences, groups, compared.reference), out / "forest.png")
    return figure_picture(
        path, "AUC of every run, macro and per class, and paired differences; the numbers are in the tables"
    )


def _table(compared: Comparison, metric: str) -> ClassTable:
    described, rows = METRICS[metric], []
    for run in compared.names:
        by_group = _by_group(compared.estimates(run=run, metric=metric))
        rows.append((run, [by_group.get(group) for group in compared.groups]))
    return ClassTable(
        described.title[0].upper() + described.title[1:], described.higher_is_better, tuple(rows)
    )


def _agreement(compared: Comparison) -> list[AgreementRow]:
    """Rows of the agreement table, grouped by map; baseline maps once."""
    rows = []
    for kind, label in MAPS.items():
        if kind == "heatmap_raw":
            continue
        is_baseline = kind in FLOORS
        for run in compared.names[:1] if is_baseline else compared.names:
            by_metric = _by_metric(compared.estimates(run=run, map=kind))
            if by_metric:
                name = label if is_baseline else f"{label}, {run}"
                rows.append(AgreementRow(name, is_baseline, [by_metric.get(metric) for metric in AGREEMENT]))
    return rows


def _reliance(compared: Comparison) -> list[AgreementRow]:
    """Rows of the table of reliance, grouped by confounder."""
    rows = [row for row in compared.estimates() if row.metric in RELIANCE]
    table = []
    for confounder in dict.fromkeys(row.group for row in rows):
        for run in compared.names:
            by_metric = _by_metric(row for row in rows if (row.group, row.run) == (confounder, run))
            entries = [by_metric.get(metric) for metric in RELIANCE]
            table.append(AgreementRow(f"{confounder}, {run}", False, entries))
    return table


def _agreement_figure(compared: Comparison, out: Path) -> Picture | None:
    runs = {
        run: {kind: _by_metric(compared.estimates(run=run, map=kind)) for kind in MAPS}
        for run in compared.names
    }
    if not any(by_metric for maps in runs.values() for by_metric in maps.values()):
        return None
    path = save(intervals.agreement(runs), out / "agreement.png")
    return figure_picture(path, "Agreement of every run's maps with gaze; the numbers are in the table")


def _paired(compared: Comparison) -> list[DifferenceRow]:
    """Rows of the table of paired differences."""
    return [
        DifferenceRow(
            run=row.run,
            figure=_figure(row),
            estimate=row.estimate,
            verdict=verdict_words(row.estimate, higher_is_better=row.higher_is_better),
            detectable=in_words(row.power),
            main=row.metric in ("auc", "reliance") or row.map in ("heatmap", "mask"),
            p=[p_value(row, c) for c in ("p_bootstrap", "p_delong", "p_bootstrap_holm", "p_delong_holm")],
        )
        for row in compared.differences()
        if row.map != "heatmap_raw" and is_shown(row, compared)
    ]


def _figure(row: PairedRow) -> str:
    if row.metric in RELIANCE:
        return f"{RELIANCE[row.metric][0]}, {row.group}"
    if row.map is None:
        return f"{METRICS[row.metric].title}, {row.group}"
    return f"{AGREEMENT[row.metric][0]}, {MAPS[row.map].lower()}"


def _legend_of_power(compared: Comparison) -> str:
    macro = compared.differences(metric="auc", group=compared.main)
    return legend(macro[0].power) if macro else ""


def _cases(
    runs: Sequence[Run],
    names: Sequence[str],
    out: Path,
    draw: Draw,
    advance: Callable[[], object],
) -> tuple[list[CaseGroup], str, str]:
    """Draw the same cases for every run, by class.

    Args:
        runs: The runs.
        names: Names of the runs.
        out: Folder of the pictures.
        draw: Function that makes the cases' maps.
        advance: Function that is called after each run.

    Returns:
        The groups, an empty text and what the outline is of; or no group, the reason and an empty text.
    """
    first, last = (run.predictions().filter(pl.col("split") == "test") for run in (runs[0], runs[-1]))
    chosen = choose_changed(first, last, runs[0].classes)
    ids = [case_id for of_class in chosen.values() for case_id in of_class]
    drawn = []
    for run, name in zip(runs, names, strict=True):
        settings = _settings(run)
        try:
            by_id = {case.case_id: case for case in draw(run, ids, settings)}
        except UserError as error:
            return [], f"The pictures need the store: {error}.", ""
        drawn.append(DrawnRun(name, generator_title(settings), by_id))
        advance()
    mask = any(case.mask is not None for run in drawn for case in run.cases.values())
    pictures = Pictures()
    parts = slugs(chosen)
    groups = [
        _group(name, ids, drawn, out / f"cases_{parts[name]}.png", pictures, mask=mask)
        for name, ids in chosen.items()
    ]
    return groups, "", outlined_in([[gaze_of(case)] for case in drawn[-1].cases.values()])


def _group(
    name: str,
    case_ids: Sequence[str],
    drawn: Sequence[DrawnRun],
    file: Path,
    pictures: Pictures,
    *,
    mask: bool,
) -> CaseGroup:
    """Draw the cases of a class: a row for each run, the radiograph and the gaze beside the first two."""
    cases, rows = [], []
    for case_id in case_ids:
        shown: list[tuple[str, str, Sequence[ShownPanel]]] = []
        for place, run in enumerate(drawn):
            case = run.cases[case_id]
            beside = radiograph(case) if place == 0 else gaze_of(case) if place == 1 else Panel("", None)
            row = [beside, *maps_of_model(case, run.title, mask=mask)]
            label = f"{'✓' if case.correct else '✗'} {case.predicted} {case.probability:.2f}"
            rows.append((f"{run.name}\n{label}", row))
            shown.append((run.name, label, pictures.row(row, case_id)))
        cases.append(CaseRows(case_id, shown))
    if rows:
        save(mosaic(rows), file)
    return CaseGroup(name, cases)


def _settings(run: Run) -> EvaluationSettings:
    try:
        return read_results(run.path).settings
    except UserError:
        return EvaluationSettings()


def _by_group(rows: Iterable[EstimateRow] | Iterable[PairedRow]) -> dict[str, IntervalEstimate]:
    return {row.group: row.estimate for row in rows if row.group is not None}


def _by_metric(rows: Iterable[EstimateRow]) -> dict[str, IntervalEstimate]:
    return {row.metric: row.estimate for row in rows}


def _tests(row: PairedRow, columns: Mapping[str, str]) -> str:
    """Text ` (bootstrap p ≤ 0.001, DeLong p = 0.012)`; empty where there are too few patients for a test."""
    if row.estimate.lacking:
        return ""
    words = [
        f"{name} p {p_equals(getattr(row, column), getattr(row, f'{column}_is_bound', False))}"
        for name, column in columns.items()
    ]
    return f" ({', '.join(words)})"
