"""Tables of the reliance on confounders of all experiments and their controls."""

from __future__ import annotations

from collections.abc import Iterator

from radgaze.evaluation.across_runs import Difference, GridEstimates, SeedMean
from radgaze.evaluation.metrics.reliance import METRICS
from radgaze.reporting.paper.results import BASELINE, Results, title
from radgaze.reporting.paper.stacked import Cell, StackedRow, StackedTable
from radgaze.reporting.paper.words import mean_words, short_words
from radgaze.reporting.wording import RELIANCE

TITLE = "Reliance on confounders"
NOTE = (
    "Some test images have twins, which differ from them in the confounder alone; a network that does not "
    "use it has 0. A network that always predicts the same has 0, too: read it beside the AUC. Means over "
    "test cases and seeds or folds with 95% intervals like those of the AUC. Differences are paired by seed "
    "or fold and by case, with Holm's correction over the experiments, and over the controls."
)
COLUMNS = (
    *("confounder", "experiment", "figure", "metric", "value", "low", "high", "seeds"),
    *("p_holm", "p_holm_is_bound", "patients", "discordant", "no_verdict"),
)


def reliance_tables(results: Results, estimates: GridEstimates) -> list[StackedTable]:
    """Make a table for each confounder; none where no run was measured on twins."""
    return [_table(confounder, results, estimates) for confounder in estimates.reliance.means]


def _table(confounder: str, results: Results, estimates: GridEstimates) -> StackedTable:
    reliance, rows, records = estimates.reliance, list[StackedRow](), list[tuple[Cell, ...]]()
    to_baseline = reliance.differences[confounder].get(BASELINE, {})
    for name in results.attempted:
        means = reliance.means[confounder].get(name)
        is_control = name in results.controls
        if means is None:
            reason = results.reason(name) or "not measured on twins"
            rows.append(StackedRow(title(name), reason=reason, is_control=is_control))
            continue
        change, lead = to_baseline.get(name, {}), "minus baseline"
        if is_control:
            change, lead = reliance.controls[confounder].get(name, {}), "own gaze minus this"
        cells = tuple(
            (
                mean_words(means[metric]),
                *([f"{lead}: {short_words(change[metric])}"] if metric in change else []),
            )
            for metric in RELIANCE
        )
        rows.append(StackedRow(title(name), cells, results.remark(name), is_control=is_control))
        figures: list[tuple[str, str, SeedMean]] = [("reliance", m, means[m]) for m in RELIANCE]
        figures += [(lead, metric, each) for metric, each in change.items()]
        records += [_record(confounder, name, *figure) for figure in figures]
    headings = tuple(f"{name} ↓" if METRICS[each].directed else name for each, (name, _) in RELIANCE.items())
    caption = f"{TITLE}: {confounder}"
    return StackedTable(caption, headings, tuple(rows), (NOTE, *_glossary()), COLUMNS, tuple(records))


def _glossary() -> Iterator[str]:
    yield " ".join(f"{name}: {words}" for name, words in RELIANCE.values())


def _record(confounder: str, name: str, figure: str, metric: str, mean: SeedMean) -> tuple[Cell, ...]:
    about = (confounder, name, figure, metric, mean.value, mean.low, mean.high, mean.seeds)
    if not isinstance(mean, Difference):
        return (*about, *[None] * 5)
    is_bound = mean.p_is_bound if mean.p is not None else None
    return (*about, mean.p, is_bound, mean.patients, mean.discordant, mean.lacking or None)
