"""DIR/index.html: several runs on the same test cases, in numbers, in differences and in pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from radgaze.console import progress
from radgaze.errors import UserError
from radgaze.evaluation.comparison import Comparison
from radgaze.evaluation.markdown import p_of
from radgaze.evaluation.metrics.multilabel import exclusive
from radgaze.evaluation.results import EvaluationSettings, read_results
from radgaze.evaluation.statistics.evidence import p_equals
from radgaze.evaluation.statistics.power_words import in_words, legend, statement
from radgaze.evaluation.statistics.verdict import verdict_words
from radgaze.reporting import description, intervals
from radgaze.reporting.gallery import CHANGED, Draw, choose_changed, draw_cases, generator_title
from radgaze.reporting.page import Picture, figure_picture, panel_pictures, slug, write_page
from radgaze.reporting.panels import Case, Panel, gaze_of, maps_of_model, mosaic, radiograph
from radgaze.reporting.style import save
from radgaze.reporting.wording import AGREEMENT, FLOORS, MAPS, difference, lacking
from radgaze.runs.config import SELECTED_ON_TEST

if TYPE_CHECKING:
    from radgaze.runs.run import Run

METRICS = {
    "auc": ("AUC", True),
    "average_precision": ("average precision", True),
    "brier": ("Brier score", False),
}


def comparison(runs: Sequence[Run], out: Path, compared: Comparison, *, draw: Draw = draw_cases) -> Path:
    """Write DIR/index.html, forest.png, agreement.png and cases_<class>.png; return the page's path.

    Args:
        runs: The runs, in the order of `compared.names`; the first is the reference.
        out: Folder.
        compared: What `evaluation.compare` found.
        draw: Makes the cases' maps; by default each run's own model does.
    """
    names = compared.names
    with progress("Writing the comparison", total=len(runs) + 1) as bar:
        groups, without = _cases(runs, names, out, draw, bar.advance)
        path = write_page(
            "comparison.html",
            out / "index.html",
            title=f"{' against '.join(names)} – radgaze comparison",
            names=names,
            stamp=SELECTED_ON_TEST if any(run.config.selection == "test" for run in runs) else None,
            reference=compared.reference,
            cases=compared.cases,
            patients=compared.patients,
            experiments=[(name, *_about(run)) for name, run in zip(names, runs, strict=True)],
            findings=findings(compared),
            forest=_forest(compared, out),
            columns_auc=["macro", *compared.classes],
            tables=[_table(compared, metric) for metric in METRICS],
            agreement=_agreement(compared),
            agreement_figure=_agreement_figure(compared, out),
            columns_agreement=[(name, "↑" if higher else "↓") for name, higher, _ in AGREEMENT.values()],
            paired=_paired(compared),
            several=len(names) > 2,
            legend_of_power=_legend_of_power(compared),
            notes=compared.notes,
            selection=CHANGED,
            groups=groups,
            without=without,
            columns=max(
                (len(row) for g in groups for case in g["cases"] for _, row in case["rows"]), default=4
            ),
        )
        bar.advance()
    return path


def findings(compared: Comparison) -> list[str]:
    """Each run against the reference in macro AUC and in agreement, saying no more than intervals allow."""
    sentences = []
    for name in compared.names[1:]:
        macro = _row(compared.paired, run=name, metric="auc", group="macro")
        if macro is None:
            continue
        tests = _tests(macro, {"bootstrap": "p_bootstrap", "DeLong": "p_delong"})
        sentences.append(f"Macro AUC, {name} minus {compared.reference}: {difference(_entry(macro))}{tests}.")
        sentences.append(
            f"{name} against {compared.reference}, as trained: "
            + statement(macro, f"these {compared.cases} cases", "macro AUC")
        )
        for kind in ("heatmap", "mask"):
            nss = _row(compared.paired, run=name, metric="nss", map=kind)
            if nss is not None:
                sentences.append(
                    f"{MAPS[kind]}–gaze agreement (NSS), {name} minus {compared.reference}: "
                    f"{difference(_entry(nss), 2)}{_tests(nss, {'bootstrap': 'p_bootstrap'})}."
                )
    return sentences


def _about(run: Run) -> tuple[str, str]:
    """What the run is, and where its report lies (its folder's name only)."""
    one_each = exclusive(run.predictions(), run.classes)
    words = description.summary(run, description.store_facts(run), exclusive=one_each)
    return words, f"{run.path.resolve().name}/report.html"


def _forest(compared: Comparison, out: Path) -> Picture:
    groups = ["macro", *compared.classes]
    values = {name: _by(compared.table, "group", run=name, metric="auc") for name in compared.names}
    differences = {name: _by(compared.paired, "group", run=name, metric="auc") for name in compared.names[1:]}
    path = save(intervals.forest(values, differences, groups, compared.reference), out / "forest.png")
    return figure_picture(
        path, "AUC of every run, macro and per class, and paired differences; the numbers are in the tables"
    )


def _table(compared: Comparison, metric: str) -> dict[str, Any]:
    name, higher = METRICS[metric]
    rows = []
    for run in compared.names:
        found = _by(compared.table, "group", run=run, metric=metric)
        rows.append((run, [found.get(group) for group in ("macro", *compared.classes)]))
    return {"name": name[0].upper() + name[1:], "higher": higher, "rows": rows}


def _agreement(compared: Comparison) -> list[dict[str, Any]]:
    """Rows of the agreement table, kind by kind, so that the runs stand under each other; the floors once."""
    rows = []
    for kind, label in MAPS.items():
        if kind == "heatmap_raw":
            continue
        for run in compared.names[:1] if kind in FLOORS else compared.names:
            found = _by(compared.table, "metric", run=run, map=kind)
            if found:
                name = label if kind in FLOORS else f"{label}, {run}"
                entries = [found.get(metric) for metric in AGREEMENT]
                rows.append({"name": name, "floor": kind in FLOORS, "entries": entries})
    return rows


def _agreement_figure(compared: Comparison, out: Path) -> Picture | None:
    runs = {
        run: {kind: _by(compared.table, "metric", run=run, map=kind) for kind in MAPS}
        for run in compared.names
    }
    if not any(found for maps in runs.values() for found in maps.values()):
        return None
    path = save(intervals.agreement(runs), out / "agreement.png")
    return figure_picture(path, "Agreement of every run's maps with gaze; the numbers are in the table")


def _paired(compared: Comparison) -> list[dict[str, Any]]:
    """Rows of the table of paired differences, with what may be said of each."""
    rows = []
    for row in compared.paired.filter(pl.col("map").is_null() | pl.col("map").ne("heatmap_raw")).iter_rows(
        named=True
    ):
        if row["map"] is None:
            name, _ = METRICS.get(row["metric"], (row["metric"], True))
            what = f"{name}, {row['group']}"
        else:
            what = f"{AGREEMENT[row['metric']][0]}, {MAPS[row['map']].lower()}"
        rows.append(
            {
                "run": row["run"],
                "what": what,
                "entry": _entry(row),
                "verdict": verdict_words(row, higher_is_better=row["higher_is_better"]),
                "detectable": in_words(row),
                "main": row["metric"] == "auc" or row["map"] in ("heatmap", "mask"),
                "p": [p_of(row, c) for c in ("p_bootstrap", "p_delong", "p_bootstrap_holm", "p_delong_holm")],
            }
        )
    return rows


def _legend_of_power(compared: Comparison) -> str:
    macro = compared.paired.filter(metric="auc", group="macro")
    return legend(macro.row(0, named=True)) if macro.height else ""


def _cases(
    runs: Sequence[Run], names: Sequence[str], out: Path, draw: Draw, advance: Any
) -> tuple[list[dict[str, Any]], str]:
    """The same cases through every run: a row per run, the radiograph and the gaze beside the first two."""
    first, last = (run.predictions().filter(pl.col("split") == "test") for run in (runs[0], runs[-1]))
    chosen = choose_changed(first, last, runs[0].classes)
    ids = [case_id for of_class in chosen.values() for case_id in of_class]
    drawn: list[dict[str, Case]] = []
    titles = []
    for run in runs:
        settings = _settings(run)
        try:
            drawn.append({case.case_id: case for case in draw(run, ids, settings)})
        except UserError as error:
            return [], f"The pictures need the store: {error}."
        titles.append(generator_title(settings))
        advance()
    mask = any(case.mask is not None for cases in drawn for case in cases.values())
    groups = []
    for name, case_ids in chosen.items():
        cases, rows = [], []
        for case_id in case_ids:
            of_case = []
            for place, (name_of_run, title, of_run) in enumerate(zip(names, titles, drawn, strict=True)):
                case = of_run[case_id]
                beside = radiograph(case) if place == 0 else gaze_of(case) if place == 1 else Panel("", None)
                row = [beside, *maps_of_model(case, title, mask=mask)]
                label = f"{'✓' if case.correct else '✗'} {case.predicted} {case.probability:.2f}"
                rows.append((f"{name_of_run}\n{label}", row))
                of_case.append((f"{name_of_run}: {label}", panel_pictures(row, case_id)))
            cases.append({"case_id": case_id, "rows": of_case})
        if rows:
            save(mosaic(rows), out / f"cases_{slug(name)}.png")
        groups.append({"name": name, "cases": cases})
    return groups, ""


def _settings(run: Run) -> EvaluationSettings:
    try:
        return read_results(run.path).settings
    except UserError:
        return EvaluationSettings()


def _by(table: pl.DataFrame, key: str, **where: str) -> dict[str, dict[str, Any]]:
    """Entries by the values of a column, of the rows that match."""
    return {
        row[key]: _entry(row) for row in table.filter(**where).iter_rows(named=True) if row[key] is not None
    }


def _row(table: pl.DataFrame, **where: str) -> dict[str, Any] | None:
    rows = table.filter(**where)
    return rows.row(0, named=True) if rows.height else None


def _entry(row: Mapping[str, Any]) -> dict[str, Any]:
    value = row["value"] if "value" in row else row["difference"]
    rests_on = {key: row[key] for key in ("patients", "discordant") if key in row}
    return {"value": value, "low": row["low"], "high": row["high"], **rests_on}


def _tests(row: Mapping[str, Any], columns: Mapping[str, str]) -> str:
    """` (bootstrap p ≤ 0.001, DeLong p = 0.012)`; nothing where too few patients were tested."""
    if lacking(row):
        return ""
    words = [
        f"{name} p {p_equals(row[column], row.get(f'{column}_is_bound'))}" for name, column in columns.items()
    ]
    return f" ({', '.join(words)})"
