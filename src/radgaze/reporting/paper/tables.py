"""The paper's tables 1 to 5 as values: rows of experiments, columns of AUCs, published figures in each cell.

The layout of the article's own tables was not at hand, so this one is chosen in its order of telling: 1 holds
the baselines, 2 to 4 one set each with the baseline above, ours beside set 3, and 5 the best method against
the baseline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from radgaze.evaluation.statistics.evidence import FEW_SEEDS, LEAST_SEEDS
from radgaze.evaluation.summary import MACRO
from radgaze.reporting.paper.measured import Entry, Measured
from radgaze.reporting.paper.published import UNKNOWN, Published, comparable, published
from radgaze.reporting.paper.results import BASELINE, BEST_OF_PAPER, Results, family, title
from radgaze.reporting.statistics_words import cautions, in_words, legend, p_words
from radgaze.reporting.wording import DASH, bounds, interval, lacking, listed, number, of_few_seeds, signed

CAPTIONS = {
    1: "Baselines",
    2: "Set 1: the heatmap learns the gaze map",
    3: "Set 2: the decoder learns the heatmap",
    4: "Set 3: decoder and heatmap both learn the gaze map",
    5: "The best method against the baseline",
}
_HELD = {1: ("Baselines",), 2: ("Set 1",), 3: ("Set 2",), 4: ("Set 3", "Ours")}

OF_PAPER = (
    "In brackets the 2.5th and 97.5th percentile over 30 draws of 55 to 60 test cases, the paper's interval. "
    "It ignores patients, and one training stands for a method."
)
OF_CASES = (
    "In brackets the 95% interval over patients, of DeLong's errors. One training stands for a method: "
    "another seed is not in it."
)
OF_SEEDS = "Means over seeds; in brackets the 95% interval, which counts the drawing of cases and of seeds."


@dataclass(frozen=True)
class Cell:
    """One AUC, or one difference of AUCs.

    Attributes:
        own: What was found here: value, low, high.
        published: What was published, if it is known.
        compared: Whether a published figure could stand here at all.
        paired: Whether it is a paired difference to the baseline, and not an AUC.
        p: Of a paired difference, after Holm's correction.
        p_is_bound: Whether that is at the floor of the resampling.
    """

    own: Entry
    published: Published | None = None
    compared: bool = True
    paired: bool = False
    p: float | None = None
    p_is_bound: bool = False

    @property
    def difference(self) -> float | None:
        """Ours minus the published one; None where either is unknown."""
        value = bounds(self.own)[0]
        return None if value is None or self.published is None else value - self.published.value

    @property
    def inside(self) -> bool | None:
        """Whether the published figure lies within our interval; None where either is unknown."""
        _, low, high = bounds(self.own)
        if low is None or high is None or self.published is None:
            return None
        return low <= self.published.value <= high


@dataclass(frozen=True)
class Row:
    """One line of a table: a cell for each group, or the reason why there is none.

    Attributes:
        experiment: Its name.
        title: Its name on paper.
        cells: By group, "macro" or a class; empty where there is a reason.
        reason: "failed: …" or "not run"; empty where there are cells.
        remark: What a reader must know of the cells.
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
        number: Of the table.
        caption: What it holds.
        groups: The columns: "macro" and the classes.
        rows: The lines.
        notes: What a reader must know.
        stamp: What must stand at its head, or nothing.
    """

    number: int
    caption: str
    groups: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    stamp: str = ""


def tables(results: Results, measured: Measured) -> list[Table]:
    """Tables 1 to 5.

    Args:
        results: The runs.
        measured: What they amount to.
    """
    notes = _notes(results, measured)
    held: dict[int, list[Row]] = {}
    for place, families in _HELD.items():
        own = [name for name in results.listed if family(name) in families]
        shown = own if BASELINE in own else [BASELINE, *own]
        held[place] = [_row(results, measured, name) for name in shown]
    held[5], choice = _best(results, measured)
    return [
        Table(
            place,
            caption,
            measured.groups,
            tuple(held[place]),
            (*notes, *_of_cells(held[place]), *([choice] if place == 5 else [])),
            results.stamp,
        )
        for place, caption in CAPTIONS.items()
    ]


def _of_cells(rows: Sequence[Row]) -> list[str]:
    """What must be said of single cells: of few seeds, of one among several, of intervals of no width."""
    cells = [(row.title, cell) for row in rows for cell in row.cells.values()]
    notes = []
    if any(of_few_seeds(cell.own) for _, cell in cells):
        notes.append(
            f"“{FEW_SEEDS}”: two seeds make no interval, at least {LEAST_SEEDS} are needed; a published "
            "figure is then neither inside nor outside."
        )
    seeds = [cell.own.get("seeds", 1) for _, cell in cells]
    alone = dict.fromkeys(title for title, cell in cells if cell.own.get("seeds") == 1)
    if max(seeds, default=1) > 1 and alone:
        notes.append(f"Of one seed: {listed([*alone])}. Such an interval is of the drawing of cases alone.")
    return notes + cautions("".join(own_words(cell) for _, cell in cells))


def heading(group: str) -> str:
    """A group as a column's heading."""
    return "Mean AUC" if group == MACRO else group


def own_words(cell: Cell) -> str:
    """`0.913 (0.860–0.966)`, the paper's form; of a difference `+0.041 (−0.012 to 0.094)`."""
    value = bounds(cell.own)[0]
    if value is None:
        return DASH
    text = signed(value) if cell.paired else number(value)
    found = interval(cell.own, form="({} to {})" if cell.paired else "({}–{})")
    return f"{text} {found}" if found else text


def published_words(cell: Cell) -> str:
    """`0.872`, with an interval where one is known, or that it is not known here."""
    if cell.published is None:
        return UNKNOWN
    figure = cell.published
    interval = f" ({number(figure.low)}–{number(figure.high)})" if figure.low is not None else ""
    return number(figure.value) + interval


def difference_words(cell: Cell) -> str:
    """`+0.012, inside`: ours minus the published one, and whether that one lies within our interval."""
    if cell.difference is None:
        return DASH
    where = {True: ", inside", False: ", outside", None: ""}[cell.inside]
    return signed(cell.difference) + where


def beside_words(cell: Cell) -> tuple[str, ...]:
    """Lines under our figure: the published one and the difference, or a paired difference's p-value."""
    if cell.paired:
        power = (f"detectable {in_words(cell.own)}",) if "detectable" in cell.own else ()
        return (lacking(cell.own) or f"Holm p {holm_words(cell)}", *power)
    if not cell.compared:
        return ()
    if cell.published is None:
        return (f"published {UNKNOWN}",)
    if cell.difference is None:
        return (f"published {published_words(cell)}",)
    return (f"published {published_words(cell)}", f"difference {difference_words(cell)}")


def holm_words(cell: Cell) -> str:
    """A paired difference's p-value; a dash where too little was measured for one."""
    return p_words(None if lacking(cell.own) else cell.p, cell.p_is_bound)


def _row(results: Results, measured: Measured, experiment: str, name: str = "") -> Row:
    reason = results.reason(experiment)
    if reason:
        return Row(experiment, name or title(experiment), reason=reason)
    compared = comparable(measured.classes)
    cells = {
        group: Cell(
            measured.auc[experiment][group],
            published(experiment, group) if compared else None,
            compared=compared,
        )
        for group in measured.groups
    }
    return Row(experiment, name or title(experiment), cells, remark=results.remark(experiment))


def _best(results: Results, measured: Measured) -> tuple[list[Row], str]:
    """Rows of table 5: the baseline, the paper's best, our best, and their differences to the baseline."""
    best = measured.best
    rows = [_row(results, measured, BASELINE)]
    others = [BEST_OF_PAPER] if best in (None, BASELINE, BEST_OF_PAPER) else [BEST_OF_PAPER, best]
    for name in others:
        parts = [
            part for part, of in (("the paper's best", BEST_OF_PAPER), ("best here", best)) if of == name
        ]
        rows.append(_row(results, measured, name, f"{title(name)} ({', '.join(parts)})"))
    for name in others:
        found = measured.differences.get(BASELINE, {}).get(name)
        if found:
            cells = {
                g: Cell(
                    found[g],
                    compared=False,
                    paired=True,
                    p=found[g].get("p"),
                    p_is_bound=bool(found[g].get("p_is_bound")),
                )
                for g in measured.groups
            }
            rows.append(Row(name, f"{title(name)} − {title(BASELINE)}", cells, paired=True))
    by = "test AUC, as the checkpoints were" if results.stamp else "validation AUC"
    words = f"Best here by mean {by}: {title(best)}. " if best else ""
    paired = (
        "Differences are paired by seed and by case, and their intervals count both."
        if max(len(runs) for runs in results.runs.values()) > 1
        else "Differences are paired by case; intervals and p-values come from a bootstrap over patients."
    )
    first = next((row.cells[MACRO].own for row in rows if row.paired), {})
    return rows, words + paired + (f" {legend(first)}" if "detectable" in first else "")


def _notes(results: Results, measured: Measured) -> tuple[str, ...]:
    several = max(len(runs) for runs in results.runs.values()) > 1
    notes = [OF_PAPER if results.of_paper else OF_SEEDS if several else OF_CASES]
    if comparable(measured.classes):
        notes.append(
            "Differences are ours minus the published figure; inside means that the published figure lies "
            "within our interval. It was measured on egd-cxr: on other data the difference tells nothing of "
            "the method."
        )
    else:
        notes.append("The published figures are of other classes and are left out.")
    return tuple(notes)


def as_records(table: Table, seeds: Mapping[str, Sequence[int]]) -> list[dict[str, Any]]:
    """A record per experiment and group, unrounded; an experiment without figures has one with its reason."""
    records = []
    for row in table.rows:
        about = {
            "table": table.number,
            "experiment": row.experiment,
            "title": row.title,
            "figure": "difference to baseline" if row.paired else "auc",
            "status": row.reason or row.remark or "done",
            "seeds": len(seeds.get(row.experiment, ())),
        }
        for group, cell in row.cells.items():
            value, low, high = bounds(cell.own)
            figure = cell.published or Published(float("nan"))
            known = cell.published is not None
            records.append(
                about
                | {"group": group, "value": value, "low": low, "high": high}
                | {"published": figure.value if known else None}
                | {"published_low": figure.low, "published_high": figure.high}
                | {"difference_to_published": cell.difference, "published_inside": cell.inside}
                | {"p_holm": cell.p, "p_holm_is_bound": cell.p_is_bound if cell.p is not None else None}
                | {key: cell.own.get(key) for key in ("patients", "discordant")}
                | {"no_interval": FEW_SEEDS if of_few_seeds(cell.own) else None}
                | {"no_verdict": lacking(cell.own) or None}
                | {key: cell.own.get(key) for key in ("detectable", "detectable_at", "detectable_note")}
            )
        if not row.cells:
            records.append(about)
    return records
