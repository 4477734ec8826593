"""Figures of an audit: every method in every aspect at a glance, and its maps as the weights are lost."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from radgaze.evaluation import baselines
from radgaze.evaluation.audit.aspects import ASPECTS, Aspect, Course
from radgaze.evaluation.audit.ceilings import CEILINGS
from radgaze.evaluation.audit.rows import label, methods
from radgaze.reporting.style import COLOURS, INK, MUTED, RULE, canvas, styled
from radgaze.reporting.wording import bounds

BLUE, RED = COLOURS[0], COLOURS[1]
# Of floors and ceilings: name, line style and colour.
_STYLES: tuple[tuple[Any, str], ...] = (
    ("--", MUTED),
    ((0, (1, 1.2)), INK),
    ("-.", MUTED),
    ((0, (6, 2)), INK),
    (":", MUTED),
    ((0, (4, 1, 1, 1, 1, 1)), INK),
)
LINES: dict[str, tuple[str, Any, str]] = {
    **{name: (kind.title, *style) for (name, kind), style in zip(baselines.REGISTRY.items(), cycle(_STYLES))},
    **{name: (ceiling.title, "-", COLOURS[2]) for name, ceiling in CEILINGS.items()},
}


def overview(summary: Mapping[str, Any]) -> Figure:
    """A panel per aspect and a row per method: value and interval, floors and ceilings as lines.

    A method that does not change with the weights is hollow and of another colour in every panel.

    Args:
        summary: As in audit.json.
    """
    of_methods = methods(summary)
    aspects = [
        aspect
        for name, aspect in ASPECTS.items()
        if any(name in found["figures"] for found in of_methods.values())
    ]
    with styled():
        columns = min(3, len(aspects))
        rows = -(-len(aspects) // columns)
        figure = canvas(11.2, 0.8 + rows * (0.75 + 0.23 * len(of_methods)))
        grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for place, axis in enumerate(grid.flat):
            if place < len(aspects):
                _panel(axis, aspects[place], summary)
            else:
                axis.remove()
        _legend(figure, summary)
    return figure


def course(summary: Mapping[str, Any], of: Course) -> Figure:
    """An aspect's own figure: a panel per method.

    Args:
        summary: As in audit.json.
        of: What is drawn of a method.
    """
    of_methods = methods(summary)
    with styled():
        columns = min(4, len(of_methods))
        rows = -(-len(of_methods) // columns)
        figure = canvas(1.2 + 2.5 * columns, 0.9 + 1.75 * rows)
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axis, (name, found) in zip(grid.flat, of_methods.items(), strict=False):
            _curves(axis, of, found)
            unchanged = found.get("changes") is False
            axis.set_title(("✗ " if unchanged else "") + name, color=RED if unchanged else INK, fontsize=9)
            if of.threshold is not None:
                axis.axhline(summary[of.threshold], color=MUTED, linewidth=0.9, linestyle=":")
        for place, axis in enumerate(grid.flat):
            if place >= len(of_methods):
                axis.remove()
            elif place + columns >= len(of_methods):  # the lowest of its column
                axis.tick_params(labelbottom=True)
        for row in grid:
            row[0].set_ylabel(of.y_title)
        figure.supxlabel(of.x_title, fontsize=9.5)
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=4)
    return figure


def _panel(axis: Axes, aspect: Aspect, summary: Mapping[str, Any]) -> None:
    name, panel = aspect.headline, aspect.panel
    metric = aspect.metrics[name]
    of_methods = methods(summary)
    for place, found in enumerate(of_methods.values()):
        value, low, high = bounds((found["figures"].get(aspect.name) or {}).get(name))
        if value is None:
            axis.text(0.02, place, "–", transform=axis.get_yaxis_transform(), va="center", color=MUTED)
            continue
        unchanged = found.get("changes") is False
        tint = RED if unchanged else BLUE
        if low is not None and high is not None:
            axis.plot([low, high], [place, place], color=tint, linewidth=2.2, solid_capstyle="butt")
        axis.plot(value, place, "o", color=tint, markerfacecolor="white" if unchanged else tint)
    for floor, (_, line, tint) in LINES.items():
        entry = (summary["methods"].get(floor) or {"figures": {}})["figures"].get(aspect.name) or {}
        value, _, _ = bounds(entry.get(name))
        if value is not None:
            axis.axvline(value, color=tint, linestyle=line, linewidth=1.2, zorder=1)
    if panel.shaded is not None:
        key, upto, words = panel.shaded
        axis.axvspan(summary[key], upto, color=RED, alpha=0.1, linewidth=0)
        axis.text(0.99, 0.02, words, transform=axis.transAxes, ha="right", color=RED, fontsize=8)
        axis.set_xlim(right=upto)
    if panel.times:
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}×"))
        least, most = axis.get_xlim()
        named = "25" if most < 100 * least else ""  # over two decades they would run into each other
        axis.xaxis.set_minor_formatter(FuncFormatter(lambda x, _: f"{x:g}×" if f"{x:e}"[0] in named else ""))
    else:
        axis.xaxis.set_major_locator(MaxNLocator(5))
    arrow = "higher is better →" if metric.higher_is_better else "← lower is better"
    axis.set_title(panel.title.format(metric=metric.title), fontsize=9.5)
    axis.set_xlabel(arrow, fontsize=8.5, color=MUTED)
    axis.set_yticks(range(len(of_methods)), [label(summary, n) for n in of_methods], fontsize=8.5)
    axis.set_ylim(len(of_methods) - 0.4, -0.6)
    axis.grid(axis="y", visible=False)
    for place in range(len(of_methods)):
        axis.axhline(place, color=RULE, linewidth=0.5, zorder=0)


def _legend(figure: Figure, summary: Mapping[str, Any]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=BLUE, marker="o", linewidth=2.2, label="method, with its interval")]
    if any(found.get("changes") is False for found in methods(summary).values()):
        handles.append(
            Line2D(
                [],
                [],
                color=RED,
                marker="o",
                markerfacecolor="white",
                linewidth=2.2,
                label="does not change with the weights",
            )
        )
    for floor, (name, line, tint) in LINES.items():
        if floor in summary["methods"]:
            handles.append(Line2D([], [], color=tint, linestyle=line, label=name))
    figure.legend(handles=handles, loc="outside lower center", ncols=6)


def _curves(axis: Axes, of: Course, method: Mapping[str, Any]) -> None:
    for curve in of.curves(method):
        axis.plot(
            curve.x,
            [float("nan") if value is None else value for value in curve.y],
            color=COLOURS[curve.colour],
            marker=curve.marker,
            markersize=curve.size,
            linestyle=curve.line,
            label=curve.label,
        )
    axis.set_ylim(*of.y_limits)
    stages = len(of.points(method))
    axis.set_xticks(range(stages + 1), ["0", *map(str, range(1, stages + 1))])
