"""Figures of an audit: every method in every aspect at a glance, and its maps as the weights are lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from radgaze.evaluation import baselines
from radgaze.evaluation.audit.aspects import ASPECTS, HEADLINES
from radgaze.evaluation.audit.results import CEILINGS
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
    **{name: (title, "-", COLOURS[2]) for name, title in CEILINGS.items()},
}
TITLES = {
    "agreement": "Gaze: {metric}",
    "localisation": "Boxes: {metric}",
    "faithfulness": "Faithfulness: {metric}",
    "sanity": "Sanity: likeness without weights",
    "stability": "Stability: likeness {metric}",
    "cost": "Cost: {metric}",
}


def overview(summary: Mapping[str, Any]) -> Figure:
    """A panel per aspect and a row per method: value and interval, floors and ceilings as lines.

    A method that does not change with the weights is hollow and of another colour in every panel.

    Args:
        summary: As in audit.json.
    """
    of_methods = methods(summary)
    aspects = [a for a in ASPECTS if any(a in found["figures"] for found in of_methods.values())]
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


def cascades(summary: Mapping[str, Any]) -> Figure:
    """A panel per method: likeness of its maps to the trained ones as weights are drawn anew."""
    of_methods = methods(summary)
    with styled():
        columns = min(4, len(of_methods))
        rows = -(-len(of_methods) // columns)
        figure = canvas(1.2 + 2.5 * columns, 0.9 + 1.75 * rows)
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axis, (name, found) in zip(grid.flat, of_methods.items(), strict=False):
            _fall(axis, found["cascades"])
            unchanged = found["changes"] is False
            axis.set_title(("✗ " if unchanged else "") + name, color=RED if unchanged else INK, fontsize=9)
            axis.axhline(summary["unchanged_from"], color=MUTED, linewidth=0.9, linestyle=":")
        for place, axis in enumerate(grid.flat):
            if place >= len(of_methods):
                axis.remove()
            elif place + columns >= len(of_methods):  # the lowest of its column
                axis.tick_params(labelbottom=True)
        for row in grid:
            row[0].set_ylabel("likeness")
        figure.supxlabel("layers drawn anew, from the classifier (left) to the input (right)", fontsize=9.5)
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=4)
    return figure


def _panel(axis: Axes, aspect: str, summary: Mapping[str, Any]) -> None:
    name = HEADLINES[aspect]
    metric = ASPECTS[aspect][name]
    of_methods = methods(summary)
    for place, found in enumerate(of_methods.values()):
        value, low, high = bounds((found["figures"].get(aspect) or {}).get(name))
        if value is None:
            axis.text(0.02, place, "–", transform=axis.get_yaxis_transform(), va="center", color=MUTED)
            continue
        unchanged = found["changes"] is False
        tint = RED if unchanged else BLUE
        if low is not None and high is not None:
            axis.plot([low, high], [place, place], color=tint, linewidth=2.2, solid_capstyle="butt")
        axis.plot(value, place, "o", color=tint, markerfacecolor="white" if unchanged else tint)
    for floor, (_, line, tint) in LINES.items():
        entry = (summary["methods"].get(floor) or {"figures": {}})["figures"].get(aspect) or {}
        value, _, _ = bounds(entry.get(name))
        if value is not None:
            axis.axvline(value, color=tint, linestyle=line, linewidth=1.2, zorder=1)
    if aspect == "sanity":
        axis.axvspan(summary["unchanged_from"], 1, color=RED, alpha=0.1, linewidth=0)
        axis.text(0.99, 0.02, "does not\nchange", transform=axis.transAxes, ha="right", color=RED, fontsize=8)
        axis.set_xlim(right=1)
    if aspect == "cost":
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}×"))
        least, most = axis.get_xlim()
        named = "25" if most < 100 * least else ""  # over two decades they would run into each other
        axis.xaxis.set_minor_formatter(FuncFormatter(lambda x, _: f"{x:g}×" if f"{x:e}"[0] in named else ""))
    else:
        axis.xaxis.set_major_locator(MaxNLocator(5))
    arrow = "higher is better →" if metric.higher_is_better else "← lower is better"
    axis.set_title(TITLES[aspect].format(metric=metric.title), fontsize=9.5)
    axis.set_xlabel(arrow, fontsize=8.5, color=MUTED)
    axis.set_yticks(range(len(of_methods)), [label(summary, n) for n in of_methods], fontsize=8.5)
    axis.set_ylim(len(of_methods) - 0.4, -0.6)
    axis.grid(axis="y", visible=False)
    for place in range(len(of_methods)):
        axis.axhline(place, color=RULE, linewidth=0.5, zorder=0)


def _legend(figure: Figure, summary: Mapping[str, Any]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=BLUE, marker="o", linewidth=2.2, label="method, with its interval")]
    if any(found["changes"] is False for found in methods(summary).values()):
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


def _fall(axis: Axes, found: Sequence[Mapping[str, Any]]) -> None:
    """The trained map is the first point of the cascade: it is like itself."""
    for cascade in found:
        whole = cascade["mode"] == "cascading"
        for key, tint, name in (("rank_correlation", BLUE, "rank correlation"), ("ssim", COLOURS[5], "SSIM")):
            y = [float("nan") if v is None else v for v in cascade[key]]
            x = list(range(1, len(y) + 1))
            if whole:
                axis.plot(
                    [0, *x],
                    [1.0, *y],
                    color=tint,
                    marker="o" if key != "ssim" else "s",
                    markersize=4,
                    linestyle="-" if key != "ssim" else "--",
                    label=f"{name}, all layers so far",
                )
            else:
                axis.plot(
                    x,
                    y,
                    color=tint,
                    linestyle="none",
                    marker="x",
                    markersize=5,
                    label=f"{name}, this layer alone",
                )
    axis.set_ylim(-0.45, 1.08)
    stages = max((len(c["layers"]) for c in found), default=0)
    axis.set_xticks(range(stages + 1), ["0", *map(str, range(1, stages + 1))])
