"""The main table of a store: AUC, its difference to the baseline, and the gap closed."""

from __future__ import annotations

from radgaze.evaluation.across_runs import Difference, SeedMean
from radgaze.evaluation.results import MACRO
from radgaze.reporting.paper.results import BASELINE, title
from radgaze.reporting.paper.stacked import Cell, StackedRow, StackedTable
from radgaze.reporting.paper.words import mean_words, short_words
from radgaze.reporting.reasons.worlds import World
from radgaze.reporting.wording import DASH, RELIANCE

HEADINGS = ("Mean AUC", "Minus baseline", "Gap closed", "Reliance")
COLUMNS = (
    *("store", "experiment", "figure", "value", "low", "high", "seeds", "p_holm", "p_holm_is_bound"),
    *("patients", "discordant", "no_verdict", "undefined"),
)
NOTE = (
    "Gap closed: the mean AUC minus that of the baseline, divided by the gap; 0 is the baseline, 1 the "
    "baseline trained on the clean store. It is a ratio of means over seeds, with Fieller's 95% interval, on "
    "which both the drawing of cases and of seeds count. Differences are paired by seed and case."
)


def gap_table(world: World) -> StackedTable:
    """Make the table of a store."""
    estimates, rows, records = world.estimates, list[StackedRow](), list[tuple[Cell, ...]]()
    to_baseline = estimates.differences.get(BASELINE, {})
    of_confounder = {} if world.confounder is None else estimates.reliance.means[world.confounder]
    for name in world.results.attempted:
        is_control = name in world.results.controls
        if reason := world.results.reason(name):
            rows.append(StackedRow(title(name), reason=reason, is_control=is_control))
            continue
        auc, change = estimates.auc[name][MACRO], to_baseline.get(name, {}).get(MACRO)
        closed, relied = world.gaps.closed.get(name), of_confounder.get(name, {})
        cells = (
            (mean_words(auc),),
            (DASH if change is None else short_words(change),),
            (("0" if not world.gaps.lack else DASH) if name == BASELINE else mean_words(closed),),
            (mean_words(relied.get("reliance")),),
        )
        rows.append(StackedRow(title(name), cells, world.results.remark(name), is_control=is_control))
        figures: dict[str, SeedMean | None] = {"auc": auc, "auc minus baseline": change, "gap closed": closed}
        figures |= {metric: relied.get(metric) for metric in RELIANCE}
        records += [
            _record(world.name, name, figure, mean, closed.lack if closed and mean is closed else "")
            for figure, mean in figures.items()
            if mean is not None
        ]
    records += [
        _record(world.name, "baseline on clean", "auc", world.gaps.clean, world.gaps.lack),
        _record(world.name, "baseline", "gap", world.gaps.size, world.gaps.lack),
    ]
    about = "" if world.confounder in (None, world.name) else f" Reliance is that on {world.confounder}."
    notes = (*world.gap_words, NOTE + about)
    return StackedTable(f"Store {world.name}", HEADINGS, tuple(rows), notes, COLUMNS, tuple(records))


def _record(store: str, name: str, figure: str, mean: SeedMean, undefined: str) -> tuple[Cell, ...]:
    about = (store, name, figure, mean.value, mean.low, mean.high, mean.seeds)
    if not isinstance(mean, Difference):
        return (*about, *[None] * 5, undefined or None)
    is_bound = mean.p_is_bound if mean.p is not None else None
    return (*about, mean.p, is_bound, mean.patients, mean.discordant, mean.lacking or None, None)
