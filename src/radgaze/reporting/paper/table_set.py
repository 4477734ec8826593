"""The paper's tables 1 to 5 as values: rows of experiments, and columns of AUCs with published figures.

The layout of the tables in the article was not available. Here table 1 has the baselines; tables 2 to 4 have
one set each, below the baseline, and our experiments are with set 3; table 5 compares the best method with
the baseline. Experiments of other families that were run are in a table 6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from radgaze.evaluation.across_runs import Difference, GridEstimates, SeedMean
from radgaze.evaluation.results import MACRO
from radgaze.evaluation.statistics.evidence import FEW_SEEDS, LEAST_SEEDS
from radgaze.reporting.paper.reference import UNKNOWN, Published, comparable, published
from radgaze.reporting.paper.results import BASELINE, BEST_OF_PAPER, Results, family, title
from radgaze.reporting.paper.words import detectable_words, has_power, power_legend
from radgaze.reporting.statistics_words import cautions, p_words
from radgaze.reporting.wording import DASH, interval, number, signed
from radgaze.words import listed

CAPTIONS = {
    1: "Baselines",
    2: "Set 1: the heatmap learns the gaze map",
    3: "Set 2: the decoder learns the heatmap",
    4: "Set 3: decoder and heatmap both learn the gaze map",
    5: "The best method against the baseline",
}
FAMILIES = {1: ("Baselines",), 2: ("Set 1",), 3: ("Set 2",), 4: ("Set 3", "Ours")}
"""The families in each table."""
FURTHER = 6
"""Number of the table of other families."""

PAPER_INTERVALS = (
    "In brackets the 2.5th and 97.5th percentile over 30 draws of 55 to 60 test cases, the paper's interval. "
    "It ignores patients, and one training stands for a method."
)
CASE_INTERVALS = (
    "In brackets the 95% interval over patients, from DeLong's standard errors. One training stands for a "
    "method: the variation between seeds is not included."
)
SEED_INTERVALS = (
    "Means over {0}s; in brackets the 95% interval, which includes the drawing of cases and of {0}s."
)

Value = str | int | float | bool | None


@dataclass(frozen=True)
class Cell:
    """One AUC, or one difference of AUCs.

    Attributes:
        estimate: Our AUC, or the paired `Difference` to the baseline.
        published: The published AUC; None where it is unknown.
        is_comparable: Whether the figure is comparable with a published AUC.
    """

    estimate: SeedMean
    published: Published | None = None
    is_comparable: bool = True

    @property
    def difference(self) -> Difference | None:
        """The paired difference to the baseline; None where the cell is an AUC."""
        return self.estimate if isinstance(self.estimate, Difference) else None

    @property
    def has_power(self) -> bool:
        """Whether the cell is a difference with a power."""
        return self.difference is not None and has_power(self.difference)

    @property
    def to_published(self) -> float | None:
        """Our AUC minus the published one; None where either is unknown."""
        value = self.estimate.value
        return None if value is None or self.published is None else value - self.published.value

    @property
    def inside(self) -> bool | None:
        """Whether the published AUC is in our interval; None where either is unknown."""
        low, high = self.estimate.low, self.estimate.high
        if low is None or high is None or self.published is None:
            return None
        return low <= self.published.value <= high


@dataclass(frozen=True)
class Row:
    """One row of a table: a cell for each group, or the reason why there is none.

    Attributes:
        experiment: Name of the experiment.
        title: Title of the experiment.
        cells: Cell of each group (`MACRO` or a class); empty where there is a reason.
        reason: "failed: …" or "not run"; empty where there are cells.
        remark: Remark on the cells.
        paired: Whether the cells are paired differences to the baseline.
    """

    experiment: str
    title: str
    cells: Mapping[str, Cell] = field(default_factory=dict)
    reason: str = ""
    remark: str = ""
    paired: bool = False


@dataclass(frozen=True)
class Table:
    """A table of the paper.

    Attributes:
        number: Number of the table.
        caption: Caption.
        groups: The columns: `MACRO` and the classes; `MACRO` alone for two classes that exclude each other.
        headings: Heading of each column.
        rows: The rows.
        notes: Notes below the table.
        stamp: Warning above the table; empty where there is none.
    """

    number: int
    caption: str
    groups: tuple[str, ...]
    headings: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    stamp: str = ""


def tables(results: Results, estimates: GridEstimates) -> list[Table]:
    """Make tables 1 to 5, and one of the attempted experiments of other families, if there are any.

    Args:
        results: The runs.
        estimates: Estimates of their figures.
    """
    notes = _notes(results, estimates)
    members = {
        place: [name for name in results.listed if family(name) in families]
        for place, families in FAMILIES.items()
    }
    captions = dict(CAPTIONS)
    listed_there = {name for names in members.values() for name in names}
    if others := [name for name in results.attempted if name not in listed_there]:
        families = [*dict.fromkeys(map(family, others))]
        captions[FURTHER] = f"Experiments of other families: {listed(families)}"
        members[FURTHER] = others
    rows: dict[int, list[Row]] = {}
    for place, names in members.items():
        shown = names if BASELINE in names else [BASELINE, *names]
        rows[place] = [_row(results, estimates, name) for name in shown]
    rows[5], choice = _best(results, estimates)
    return [
        Table(
            place,
            caption,
            estimates.groups,
            headings(estimates),
            tuple(rows[place]),
            (*notes, *_cell_notes(rows[place], results.unit), *([choice] if place == 5 else [])),
            results.stamp,
        )
        for place, caption in captions.items()
    ]


def _cell_notes(rows: Sequence[Row], unit: str) -> list[str]:
    """Notes on single cells: too few runs, one seed among several, and intervals without width."""
    cells = [(row.title, cell) for row in rows for cell in row.cells.values()]
    notes = []
    if any(cell.estimate.has_too_few_seeds for _, cell in cells):
        notes.append(
            f"“{FEW_SEEDS}”: two {unit}s make no interval, at least {LEAST_SEEDS} are needed; a published "
            "figure is then neither inside nor outside."
        )
    single = dict.fromkeys(title for title, cell in cells if cell.estimate.seeds == 1)
    if max((cell.estimate.seeds for _, cell in cells), default=1) > 1 and single:
        notes.append(f"One {unit} only: {listed([*single])}. Such an interval is over the cases alone.")
    return notes + cautions("".join(cell_words(cell) for _, cell in cells))


def heading(group: str, positive: str | None = None) -> str:
    """Return the heading of a group's column.

    Args:
        group: `MACRO` or a class.
        positive: The positive one of two classes, whose AUC is the mean; None for other classes.
    """
    if group != MACRO:
        return group
    return "Mean AUC" if positive is None else f"AUC of {positive}"


def headings(estimates: GridEstimates) -> tuple[str, ...]:
    """Return the headings of the shown groups' columns."""
    return tuple(heading(group, estimates.positive) for group in estimates.groups)


def cell_words(cell: Cell) -> str:
    """Format a cell as `0.913 (0.860–0.966)`, like the paper; a difference as `+0.041 (−0.012 to 0.094)`."""
    value = cell.estimate.value
    if value is None:
        return DASH
    is_difference = cell.difference is not None
    text = signed(value) if is_difference else number(value)
    around = interval(cell.estimate, form="({} to {})" if is_difference else "({}–{})")
    return f"{text} {around}" if around else text


def published_words(cell: Cell) -> str:
    """Format the published AUC as `0.872`, with an interval where one was published, or as unknown."""
    if cell.published is None:
        return UNKNOWN
    figure = cell.published
    around = f" ({number(figure.low)}–{number(figure.high)})" if figure.low is not None else ""
    return number(figure.value) + around


def difference_words(cell: Cell) -> str:
    """Format our AUC minus the published one, and whether that is in our interval, as `+0.012, inside`."""
    if cell.to_published is None:
        return DASH
    where = {True: ", inside", False: ", outside", None: ""}[cell.inside]
    return signed(cell.to_published) + where


def beside_words(cell: Cell) -> tuple[str, ...]:
    """Return the lines below our figure: the published one and the difference, or a paired difference's p."""
    if cell.difference is not None:
        power = (f"detectable {detectable_words(cell.difference)}",) if cell.has_power else ()
        prefix = "" if cell.difference.lacking else "Holm p "
        return (prefix + p_words_of(cell), *power)
    if not cell.is_comparable:
        return ()
    if cell.published is None:
        return (f"published {UNKNOWN}",)
    if cell.to_published is None:
        return (f"published {published_words(cell)}",)
    return (f"published {published_words(cell)}", f"difference {difference_words(cell)}")


def p_words_of(cell: Cell) -> str:
    """Format the p-value of a paired difference, or the reason why there is no verdict."""
    if cell.difference is None:
        return DASH
    return cell.difference.lacking or p_words(cell.difference.p, cell.difference.p_is_bound)


def _row(results: Results, estimates: GridEstimates, experiment: str, name: str = "") -> Row:
    reason = results.reason(experiment)
    if reason:
        return Row(experiment, name or title(experiment), reason=reason)
    is_comparable = comparable(estimates.classes) and experiment not in results.controls
    cells = {
        group: Cell(
            estimates.auc[experiment][group],
            published(experiment, group) if is_comparable else None,
            is_comparable,
        )
        for group in estimates.groups
    }
    return Row(experiment, name or title(experiment), cells, remark=results.remark(experiment))


def _best(results: Results, estimates: GridEstimates) -> tuple[list[Row], str]:
    """Rows of table 5: the baseline, the paper's best, our best, and their differences to the baseline."""
    best = estimates.best
    rows = [_row(results, estimates, BASELINE)]
    others = [BEST_OF_PAPER] if best in (None, BASELINE, BEST_OF_PAPER) else [BEST_OF_PAPER, best]
    for name in others:
        parts = [
            words
            for words, each in (("the paper's best", BEST_OF_PAPER), ("best here", best))
            if each == name
        ]
        rows.append(_row(results, estimates, name, f"{title(name)} ({', '.join(parts)})"))
    to_baseline = estimates.differences.get(BASELINE, {})
    for name in others:
        if differences := to_baseline.get(name):
            cells = {group: Cell(differences[group], is_comparable=False) for group in estimates.groups}
            rows.append(Row(name, f"{title(name)} − {title(BASELINE)}", cells, paired=True))
    by = "test AUC, as the checkpoints were" if results.stamp else "validation AUC"
    words = f"Best here by mean {by}: {title(best)}. " if best else ""
    paired = (
        f"Differences are paired by {results.unit} and by case, and their intervals include both."
        if results.has_several_seeds
        else "Differences are paired by case; intervals and p-values come from a bootstrap over patients."
    )
    first = next((row.cells[MACRO] for row in rows if row.paired), None)
    if first is None or first.difference is None or not first.has_power:
        return rows, words + paired
    return rows, f"{words}{paired} {power_legend(first.difference)}"


def _notes(results: Results, estimates: GridEstimates) -> tuple[str, ...]:
    if results.has_paper_intervals:
        intervals = PAPER_INTERVALS
    else:
        intervals = SEED_INTERVALS.format(results.unit) if results.has_several_seeds else CASE_INTERVALS
    if estimates.positive is not None:
        other = next(name for name in estimates.classes if name != estimates.positive)
        intervals += f" Of the two classes, {estimates.positive} is the positive; {other} has the same AUC."
    if not comparable(estimates.classes):
        return intervals, "The published figures are of other classes and are left out."
    return (
        intervals,
        "Differences are ours minus the published figure; inside means that the published figure lies "
        "in our interval. It was measured on egd-cxr: on other data the difference says nothing about the "
        "method.",
    )


def records(table: Table, seeds: Mapping[str, Sequence[int]]) -> list[dict[str, Value]]:
    """Return a record for each experiment and group, not rounded, or one with the reason of missing figures.

    Args:
        table: The table.
        seeds: The finished seeds of each experiment.
    """
    lines: list[dict[str, Value]] = []
    for row in table.rows:
        about: dict[str, Value] = {
            "table": table.number,
            "experiment": row.experiment,
            "title": row.title,
            "figure": "difference to baseline" if row.paired else "auc",
            "status": row.reason or row.remark or "done",
            "seeds": len(seeds.get(row.experiment, ())),
        }
        lines += [about | {"group": group} | _record(cell) for group, cell in row.cells.items()]
        if not row.cells:
            lines.append(about)
    return lines


def _record(cell: Cell) -> dict[str, Value]:
    estimate, figure, difference = cell.estimate, cell.published, cell.difference
    record: dict[str, Value] = {
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "published": figure.value if figure else None,
        "published_low": figure.low if figure else None,
        "published_high": figure.high if figure else None,
        "difference_to_published": cell.to_published,
        "published_inside": cell.inside,
        "no_interval": FEW_SEEDS if estimate.has_too_few_seeds else None,
    }
    if difference is None:
        return record
    return record | {
        "p_holm": difference.p,
        "p_holm_is_bound": difference.p_is_bound if difference.p is not None else None,
        "patients": difference.patients,
        "discordant": difference.discordant,
        "no_verdict": difference.lacking or None,
        "detectable": difference.detectable,
        "detectable_at": difference.detectable_at,
        "detectable_note": difference.detectable_note,
    }
