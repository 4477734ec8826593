"""The figures of all experiments: ROC curves, a forest plot of AUCs, maps against gaze and boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from radgaze.evaluation.across_runs import Figures, GridEstimates, MapFigures
from radgaze.evaluation.interval_estimate import IntervalEstimate
from radgaze.evaluation.metrics import discrimination
from radgaze.evaluation.statistics.evidence import FEW_SEEDS
from radgaze.reporting.paper.reference import comparable, published
from radgaze.reporting.paper.results import BASELINE, families, family, title
from radgaze.reporting.paper.table_set import heading
from radgaze.reporting.style import INK, MUTED, canvas, colour, line, marker, styled
from radgaze.reporting.wording import AGREEMENT, FLOORS, LOCALISATION, MAPS, bounds, number

GRID = np.linspace(0, 1, 401)
"""Values of 1 − specificity at which the curves of several seeds are averaged."""
SHOWN = {"heatmap": "o", "mask": "s", "grad_cam": "^"}
"""The maps in the figures, and their markers."""


def roc(predictions: Mapping[str, Sequence[pl.DataFrame]], name: str, auc: Mapping[str, Figures]) -> Figure:
    """Draw the ROC curves of a class, in a panel for each family of experiments, the baseline's in each.

    Args:
        predictions: The test predictions of each run of each experiment. For several runs the mean curve is
            drawn: the mean sensitivity at equal specificity.
        name: The class.
        auc: AUC of each experiment and group, for the legend.
    """
    drawn = {name: [e for e in predictions if family(e) == name and e != BASELINE] for name in families()}
    shown = [name for name, members in drawn.items() if members] or [families()[0]]
    with styled():
        columns = min(3, len(shown))
        rows = -(-len(shown) // columns)
        figure = canvas(0.5 + 3.15 * columns, 0.4 + 3.5 * rows)
        grid = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
        for axis, group in zip(grid, shown, strict=False):
            axis.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=":", zorder=1)
            order = [*([BASELINE] if BASELINE in predictions else []), *drawn[group]]
            for place, experiment in enumerate(order, start=len(drawn[group]) - len(order)):
                x, y = _curve(predictions[experiment], name)
                if x.size:
                    # The baseline, if there is one, comes first, with place −1.
                    tint, style = (INK, line(3)) if experiment == BASELINE else (colour(place), line(place))
                    label = _legend(experiment, auc[experiment].get(name))
                    axis.plot(x, y, color=tint, linestyle=style, linewidth=1.5, label=label, zorder=3)
            axis.set(
                xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), aspect="equal", title=group, xlabel="1 − specificity"
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


def forest(estimates: GridEstimates) -> Figure:
    """Draw the AUC of every experiment with its interval, in a panel for each group.

    Published figures are hollow marks, with an interval where one was published. A dotted line marks the
    baseline's value.
    """
    experiments, groups = list(estimates.auc), estimates.groups
    compare = comparable(estimates.classes)
    with styled():
        columns = min(4, len(groups))
        rows = -(-len(groups) // columns)
        figure = canvas(1.9 + 2.05 * columns, 0.55 + rows * (0.75 + 0.34 * len(experiments)))
        grid = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
        for axis, group in zip(grid, groups, strict=False):
            reference = bounds(estimates.auc.get(BASELINE, {}).get(group))[0]
            if reference is not None:
                axis.axvline(reference, color=INK, linewidth=0.9, linestyle=":", zorder=1)
            for row, experiment in enumerate(experiments):
                place = families().index(family(experiment))
                mark = marker(place)
                _dot(axis, row - 0.12, estimates.auc[experiment].get(group), colour(place), mark)
                figures = published(experiment, group) if compare else None
                if figures is not None:
                    value = IntervalEstimate(figures.value, figures.low, figures.high)
                    _dot(axis, row + 0.22, value, INK, mark, hollow=True)
            _between_families(axis, experiments)
            axis.set_title(heading(group, estimates.positive))
            axis.set_yticks(range(len(experiments)), [title(e) for e in experiments])
            axis.set_ylim(len(experiments) - 0.45, -0.55)
            axis.tick_params(axis="y", length=0)
            axis.xaxis.set_major_locator(MaxNLocator(4))
            axis.margins(x=0.08)
        for axis in grid[len(groups) :]:
            axis.remove()
        words = "AUC with 95% interval; dotted: the baseline here"
        if any(mean.has_too_few_seeds for by_group in estimates.auc.values() for mean in by_group.values()):
            words += f"; without a bar: {FEW_SEEDS}"
        figure.supxlabel(words + ("; hollow: published" if compare else ""), fontsize=9.5)
    return figure


def agreement(estimates: GridEstimates) -> Figure | None:
    """Draw the agreement of maps with gaze, in a panel for each metric; None where none was measured.

    Grey lines are the baseline maps, which do not depend on the case.
    """
    titles = {
        metric: f"{name}  {'higher' if higher else 'lower'} is better"
        for metric, (name, higher, _) in AGREEMENT.items()
    }
    return _maps(estimates.agreement, titles)


def localisation(estimates: GridEstimates) -> Figure | None:
    """Draw the localisation of boxes by maps, like `agreement`; None where it was not measured."""
    return _maps(estimates.localisation, {metric: name for metric, (name, _) in LOCALISATION.items()})


def _maps(figures: Mapping[str, MapFigures], titles: Mapping[str, str]) -> Figure | None:
    """Draw a panel for each metric, with a line for each experiment and a mark for each map."""
    first = next(iter(titles))
    experiments = [e for e in figures if any(_is_defined(figures[e], kind, first) for kind in SHOWN)]
    if not experiments:
        return None
    kinds = [kind for kind in SHOWN if any(_is_defined(figures[e], kind, first) for e in experiments)]
    with styled():
        rows = 1 if len(titles) <= 3 else 2
        columns = -(-len(titles) // rows)
        figure = canvas(1.9 + 2.7 * columns, 0.8 + rows * (0.75 + 0.36 * len(experiments)))
        grid = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
        for axis, (metric, words) in zip(grid, titles.items(), strict=False):
            for place, floor in enumerate(FLOORS):
                level = _floor(figures, experiments, floor, metric)
                if level is not None:
                    axis.axvline(level, color=MUTED, linewidth=1.1, linestyle=line(place + 1), zorder=1)
            for row, experiment in enumerate(experiments):
                for place, kind in enumerate(kinds):
                    y = row + 0.24 * (place - (len(kinds) - 1) / 2)
                    mean = figures[experiment].get(kind, {}).get(metric)
                    _dot(axis, y, mean, colour(place), SHOWN[kind])
            _between_families(axis, experiments)
            axis.set_title(words, fontsize=9)
            axis.set_yticks(range(len(experiments)), [title(e) for e in experiments])
            axis.set_ylim(len(experiments) - 0.45, -0.55)
            axis.tick_params(axis="y", length=0)
            axis.xaxis.set_major_locator(MaxNLocator(5))
        for axis in grid[len(titles) :]:
            axis.remove()
        shown = [
            figures[e].get(kind, {}).get(metric) for e in experiments for kind in kinds for metric in titles
        ]
        if any(mean is not None and mean.has_too_few_seeds for mean in shown):
            figure.suptitle(f"Without a bar: {FEW_SEEDS}", fontsize=9)
        _legend_of_maps(figure, grid[0], kinds)
    return figure


def _curve(tables: Sequence[pl.DataFrame], name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """ROC curve of one run, or the mean curve of several; empty where none is defined."""
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


def _legend(experiment: str, auc: IntervalEstimate | None) -> str:
    value = bounds(auc)[0]
    return title(experiment) if value is None else f"{title(experiment)} {number(value, 2)}"


def _dot(
    axis: Axes, y: float, estimate: IntervalEstimate | None, tint: str, mark: str, *, hollow: bool = False
) -> None:
    value, low, high = bounds(estimate)
    if value is None:
        return
    if low is not None and high is not None:
        width = 1.0 if hollow else 2.2
        axis.plot([low, high], [y, y], color=tint, linewidth=width, solid_capstyle="butt", zorder=2)
    face, edge = ("white", tint) if hollow else (tint, "white")
    size = (5.5 if hollow else 6.5) + (mark in "^v")
    axis.plot(value, y, mark, color=face, markeredgecolor=edge, markersize=size, zorder=3)


def _between_families(axis: Axes, experiments: Sequence[str]) -> None:
    """Draw thin lines between families of experiments, in place of a grid line through each."""
    axis.grid(axis="y", visible=False)
    for row in range(1, len(experiments)):
        if family(experiments[row]) != family(experiments[row - 1]):
            axis.axhline(row - 0.5, color=MUTED, linewidth=0.5)


def _is_defined(figures: MapFigures, kind: str, metric: str) -> bool:
    return bounds(figures.get(kind, {}).get(metric))[0] is not None


def _floor(
    figures: Mapping[str, MapFigures], experiments: Sequence[str], floor: str, metric: str
) -> float | None:
    """The value of a baseline map: the mean over the experiments, which all have the same map."""
    values = [bounds(figures[e].get(floor, {}).get(metric))[0] for e in experiments]
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


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
