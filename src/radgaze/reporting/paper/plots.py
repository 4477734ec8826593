"""The figures over all experiments: ROC curves, a forest of AUCs, maps against gaze and against boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from radgaze.evaluation.metrics import discrimination
from radgaze.evaluation.statistics.evidence import FEW_SEEDS
from radgaze.reporting.paper.measured import Entry, Measured
from radgaze.reporting.paper.published import comparable, published
from radgaze.reporting.paper.results import BASELINE, families, family, title
from radgaze.reporting.paper.tables import heading
from radgaze.reporting.style import INK, MUTED, canvas, colour, line, styled
from radgaze.reporting.wording import AGREEMENT, FLOORS, LOCALISATION, MAPS, bounds, number, of_few_seeds

MARKERS = ("o", "s", "D", "^", "v")
GRID = np.linspace(0, 1, 401)  # of 1 − specificity, on which the curves of several seeds are averaged
SHOWN = {"heatmap": "o", "mask": "s", "grad_cam": "^"}  # the maps that are shown, and their markers


OfMaps = Mapping[str, Mapping[str, Mapping[str, Entry]]]
"""Per experiment, map and metric a figure."""


def roc(
    predictions: Mapping[str, Sequence[pl.DataFrame]], name: str, auc: Mapping[str, Mapping[str, Entry]]
) -> Figure:
    """One class's ROC curves, a panel per family of experiments, the baseline's in each.

    Args:
        predictions: Per experiment the test predictions of each of its runs. Of several runs the mean curve
            is drawn: of sensitivity at equal specificity.
        name: The class.
        auc: Per experiment and group the AUC's entry, for the legend.
    """
    drawn = {of: [e for e in predictions if family(e) == of and e != BASELINE] for of in families()}
    shown = [of for of, own in drawn.items() if own] or [families()[0]]
    with styled():
        columns = min(3, len(shown))
        rows = -(-len(shown) // columns)
        figure = canvas(0.5 + 3.15 * columns, 0.4 + 3.5 * rows)
        grid = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
        for axis, of in zip(grid, shown, strict=False):
            axis.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=":", zorder=1)
            order = [*([BASELINE] if BASELINE in predictions else []), *drawn[of]]
            for place, experiment in enumerate(order, start=len(drawn[of]) - len(order)):
                x, y = _curve(predictions[experiment], name)
                if x.size:
                    # The baseline, where there is one, comes first and has place −1.
                    tint, style = (INK, line(3)) if experiment == BASELINE else (colour(place), line(place))
                    label = _legend(experiment, auc[experiment].get(name))
                    axis.plot(x, y, color=tint, linestyle=style, linewidth=1.5, label=label, zorder=3)
            axis.set(
                xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), aspect="equal", title=of, xlabel="1 − specificity"
            )
            axis.set_xticks(np.linspace(0, 1, 6))
            axis.set_yticks(np.linspace(0, 1, 6))
            if not axis.get_legend_handles_labels()[0]:
                axis.text(
                    0.97, 0.1, "undefined: the test cases\nare of one class only", ha="right", color=MUTED
                )
            else:
                axis.legend(loc="lower right", title="AUC", alignment="left")
        for axis in grid[::columns]:
            axis.set_ylabel("Sensitivity")
        for axis in grid[len(shown) :]:
            axis.remove()
    return figure


def forest(measured: Measured) -> Figure:
    """Every experiment's AUC with its interval, a panel per group; published figures as hollow marks.

    The dotted line is at the baseline's value, the hollow marks carry an interval where one was published.
    """
    experiments, groups = list(measured.auc), measured.groups
    compare = comparable(measured.classes)
    with styled():
        columns = min(4, len(groups))
        rows = -(-len(groups) // columns)
        figure = canvas(1.9 + 2.05 * columns, 0.55 + rows * (0.75 + 0.34 * len(experiments)))
        grid = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
        for axis, group in zip(grid, groups, strict=False):
            reference = bounds(measured.auc.get(BASELINE, {}).get(group))[0]
            if reference is not None:
                axis.axvline(reference, color=INK, linewidth=0.9, linestyle=":", zorder=1)
            for row, experiment in enumerate(experiments):
                of = families().index(family(experiment))
                _dot(axis, row - 0.12, measured.auc[experiment].get(group), colour(of), MARKERS[of])
                figures = published(experiment, group) if compare else None
                if figures is not None:
                    entry = {"value": figures.value, "low": figures.low, "high": figures.high}
                    _dot(axis, row + 0.22, entry, INK, MARKERS[of], hollow=True)
            _between_families(axis, experiments)
            axis.set_title(heading(group))
            axis.set_yticks(range(len(experiments)), [title(e) for e in experiments])
            axis.set_ylim(len(experiments) - 0.45, -0.55)
            axis.tick_params(axis="y", length=0)
            axis.xaxis.set_major_locator(MaxNLocator(4))
            axis.margins(x=0.08)
        for axis in grid[len(groups) :]:
            axis.remove()
        words = "AUC with 95% interval; dotted: the baseline here"
        if any(of_few_seeds(entry) for of in measured.auc.values() for entry in of.values()):
            words += f"; without a bar: {FEW_SEEDS}"
        figure.supxlabel(words + ("; hollow: published" if compare else ""), fontsize=9.5)
    return figure


def agreement(measured: Measured) -> Figure | None:
    """Agreement of each experiment's maps with gaze, a panel per metric; None where none was measured.

    Grey lines are the floors: maps that know nothing of the case.
    """
    titles = {
        metric: f"{name}  {'higher' if higher else 'lower'} is better"
        for metric, (name, higher, _) in AGREEMENT.items()
    }
    return _maps(measured.agreement, titles)


def localisation(measured: Measured) -> Figure | None:
    """The same of how the maps point into boxes."""
    return _maps(measured.localisation, {metric: name for metric, (name, _) in LOCALISATION.items()})


def _maps(of: OfMaps, titles: Mapping[str, str]) -> Figure | None:
    """A panel per metric, a line per experiment in each, a mark per map."""
    first = next(iter(titles))
    experiments = [e for e in of if any(_known(of[e], kind, first) for kind in SHOWN)]
    if not experiments:
        return None
    kinds = [kind for kind in SHOWN if any(_known(of[e], kind, first) for e in experiments)]
    with styled():
        rows = 1 if len(titles) <= 3 else 2
        columns = -(-len(titles) // rows)
        figure = canvas(1.9 + 2.7 * columns, 0.8 + rows * (0.75 + 0.36 * len(experiments)))
        grid = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
        for axis, (metric, words) in zip(grid, titles.items(), strict=False):
            for place, floor in enumerate(FLOORS):
                level = _floor(of, experiments, floor, metric)
                if level is not None:
                    axis.axvline(level, color=MUTED, linewidth=1.1, linestyle=line(place + 1), zorder=1)
            for row, experiment in enumerate(experiments):
                for place, kind in enumerate(kinds):
                    y = row + 0.24 * (place - (len(kinds) - 1) / 2)
                    entry = of[experiment].get(kind, {}).get(metric)
                    _dot(axis, y, entry, colour(place), SHOWN[kind])
            _between_families(axis, experiments)
            axis.set_title(words, fontsize=9)
            axis.set_yticks(range(len(experiments)), [title(e) for e in experiments])
            axis.set_ylim(len(experiments) - 0.45, -0.55)
            axis.tick_params(axis="y", length=0)
            axis.xaxis.set_major_locator(MaxNLocator(5))
        for axis in grid[len(titles) :]:
            axis.remove()
        shown = [of[e].get(kind, {}).get(metric) for e in experiments for kind in kinds for metric in titles]
        if any(map(of_few_seeds, shown)):
            figure.suptitle(f"Without a bar: {FEW_SEEDS}", fontsize=9)
        _legend_of_maps(figure, grid[0], kinds)
    return figure


def _curve(tables: Sequence[pl.DataFrame], name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One run's curve as it is, of several their mean; empty where none is defined."""
    curves = []
    for table in tables:
        truth = table[f"label_{name}"].cast(pl.Int64).to_numpy()
        x, y, _ = discrimination.roc(truth, table[f"probability_{name}"].cast(pl.Float64).to_numpy())
        if x.size:
            curves.append((x, y))
    if len(curves) <= 1:
        return curves[0] if curves else (np.empty(0), np.empty(0))
    mean = np.mean([np.interp(GRID, x, y) for x, y in curves], axis=0)
    return np.concatenate([[0.0], GRID]), np.concatenate([[0.0], mean])


def _legend(experiment: str, entry: Any) -> str:
    value = bounds(entry)[0]
    return title(experiment) if value is None else f"{title(experiment)} {number(value, 2)}"


def _dot(axis: Axes, y: float, entry: Any, tint: str, marker: str, *, hollow: bool = False) -> None:
    value, low, high = bounds(entry)
    if value is None:
        return
    if low is not None and high is not None:
        width = 1.0 if hollow else 2.2
        axis.plot([low, high], [y, y], color=tint, linewidth=width, solid_capstyle="butt", zorder=2)
    face, edge = ("white", tint) if hollow else (tint, "white")
    size = (5.5 if hollow else 6.5) + (marker in "^v")
    axis.plot(value, y, marker, color=face, markeredgecolor=edge, markersize=size, zorder=3)


def _between_families(axis: Axes, experiments: Sequence[str]) -> None:
    """Thin lines between families of experiments, in place of a grid line through each."""
    axis.grid(axis="y", visible=False)
    for row in range(1, len(experiments)):
        if family(experiments[row]) != family(experiments[row - 1]):
            axis.axhline(row - 0.5, color=MUTED, linewidth=0.5)


def _known(of: Mapping[str, Mapping[str, Entry]], kind: str, metric: str) -> bool:
    return bounds(of.get(kind, {}).get(metric))[0] is not None


def _floor(of: OfMaps, experiments: Sequence[str], floor: str, metric: str) -> float | None:
    """A floor's value, the mean over the experiments that measured it: it is the same map for all of them."""
    values = [bounds(of[e].get(floor, {}).get(metric))[0] for e in experiments]
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _legend_of_maps(figure: Figure, axis: Axes, kinds: Sequence[str]) -> None:
    for place, kind in enumerate(kinds):
        axis.plot(
            [],
            [],
            SHOWN[kind],
            color=colour(place),
            markeredgecolor="white",
            linestyle="none",
            label=MAPS[kind],
        )
    for place, floor in enumerate(FLOORS):
        axis.plot([], [], color=MUTED, linewidth=1.1, linestyle=line(place + 1), label=MAPS[floor])
    figure.legend(loc="outside lower center", ncols=len(kinds) + len(FLOORS))
