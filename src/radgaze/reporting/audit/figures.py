"""Figures of an audit: an overview of all methods and aspects, and the additional figures of aspects."""

from __future__ import annotations

from itertools import cycle
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from radgaze.evaluation import baselines
from radgaze.evaluation.audit.aspects import ASPECTS, Aspect, AspectFigure, Panel
from radgaze.evaluation.audit.aspects.aspect import keyed
from radgaze.evaluation.audit.ceilings import CEILINGS
from radgaze.evaluation.audit.results import AuditEstimate, AuditResults, MethodResults
from radgaze.evaluation.audit.verdicts import label
from radgaze.reporting.audit.rows import flag_words, is_flagged, subjects
from radgaze.reporting.style import COLOURS, INK, MUTED, RULE, canvas, styled

BLUE, RED = COLOURS[0], COLOURS[1]
LineStyle = Literal["-", "--", "-.", ":"] | tuple[float, tuple[float, ...]]
# Line styles and colours of baseline maps, in this order.
_STYLES: tuple[tuple[LineStyle, str], ...] = (
    ("--", MUTED),
    ((0, (1, 1.2)), INK),
    ("-.", MUTED),
    ((0, (6, 2)), INK),
    (":", MUTED),
    ((0, (4, 1, 1, 1, 1, 1)), INK),
)
LINES: dict[str, tuple[str, LineStyle, str]] = {
    **{name: (kind.title, *style) for (name, kind), style in zip(baselines.REGISTRY.items(), cycle(_STYLES))},
    **{name: (ceiling.title, "-", COLOURS[2]) for name, ceiling in CEILINGS.items()},
}
"""Title, line style and colour of baseline maps and ceilings."""


def overview(results: AuditResults) -> Figure:
    """Draw a panel for each aspect with a row for each method, and baseline maps and ceilings as lines.

    A flagged method (`Aspect.flags`) has hollow marks of another colour in all panels.

    Args:
        results: Results of an audit.
    """
    methods = results.audited()
    panels = [
        (aspect, subject)
        for name, aspect in ASPECTS.items()
        if any(name in method.figures for method in methods.values())
        for subject in subjects(results, aspect)
    ]
    with styled():
        columns = min(3, len(panels))
        rows = -(-len(panels) // columns)
        figure = canvas(11.2, 0.8 + rows * (0.75 + 0.23 * len(methods)))
        grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for place, axis in enumerate(grid.flat):
            if place < len(panels):
                _panel(axis, *panels[place], results)
            else:
                axis.remove()
        _legend(figure, results)
    return figure


def of_aspect(results: AuditResults, drawn: AspectFigure) -> Figure:
    """Draw the additional figure of an aspect, with a panel for each method.

    Args:
        results: Results of an audit.
        drawn: Description of the figure.
    """
    methods = results.audited()
    with styled():
        columns = min(4, len(methods))
        rows = -(-len(methods) // columns)
        figure = canvas(1.2 + 2.5 * columns, 0.9 + 1.75 * rows)
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axis, (name, method) in zip(grid.flat, methods.items(), strict=False):
            _curves(axis, drawn, method)
            flagged = is_flagged(method)
            axis.set_title(("✗ " if flagged else "") + name, color=RED if flagged else INK, fontsize=9)
            if drawn.threshold is not None:
                threshold = results.thresholds[drawn.threshold]
                axis.axhline(threshold, color=MUTED, linewidth=0.9, linestyle=":")
        for place, axis in enumerate(grid.flat):
            if place >= len(methods):
                axis.remove()
            elif place + columns >= len(methods):  # the lowest of its column
                axis.tick_params(labelbottom=True)
        for row in grid:
            row[0].set_ylabel(drawn.y_title)
        figure.supxlabel(drawn.x_title, fontsize=9.5)
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=4)
    return figure


def _panel(axis: Axes, aspect: Aspect, subject: str, results: AuditResults) -> None:
    panel, metric = aspect.panel, aspect.metrics[aspect.headline]
    methods = results.audited()
    for place, method in enumerate(methods.values()):
        _point(axis, place, _headline(aspect, subject, method), flagged=is_flagged(method))
    for name, (_, line, colour) in LINES.items():
        entry = _headline(aspect, subject, results.methods.get(name))
        if entry is not None and entry.value is not None:
            axis.axvline(entry.value, color=colour, linestyle=line, linewidth=1.2, zorder=1)
    if panel.shading is not None:
        start, end = results.thresholds[panel.shading.threshold], panel.shading.end
        axis.axvspan(start, end, color=RED, alpha=0.1, linewidth=0)
        axis.text(
            0.99, 0.02, panel.shading.words, transform=axis.transAxes, ha="right", color=RED, fontsize=8
        )
        axis.set_xlim(right=end)
    _scale(axis, panel)
    arrow = "higher is better →" if metric.higher_is_better else "← lower is better"
    note = f" ({subject})" if subject else ""
    axis.set_title(panel.title.format(metric=metric.title) + note, fontsize=9.5)
    axis.set_xlabel(arrow, fontsize=8.5, color=MUTED)
    axis.set_yticks(range(len(methods)), [label(results, name) for name in methods], fontsize=8.5)
    axis.set_ylim(len(methods) - 0.4, -0.6)
    axis.grid(axis="y", visible=False)
    for place in range(len(methods)):
        axis.axhline(place, color=RULE, linewidth=0.5, zorder=0)


def _headline(aspect: Aspect, subject: str, method: MethodResults | None) -> AuditEstimate | None:
    figures = {} if method is None else method.figures.get(aspect.name, {})
    return figures.get(keyed(aspect.headline, subject))


def _point(axis: Axes, place: int, entry: AuditEstimate | None, *, flagged: bool) -> None:
    if entry is None or entry.value is None:
        words = (entry and entry.undefined) or "–"
        axis.text(
            0.02, place, words, transform=axis.get_yaxis_transform(), va="center", color=MUTED, fontsize=8
        )
        return
    colour = RED if flagged else BLUE
    if entry.low is not None and entry.high is not None:
        axis.plot([entry.low, entry.high], [place, place], color=colour, linewidth=2.2, solid_capstyle="butt")
    axis.plot(entry.value, place, "o", color=colour, markerfacecolor="white" if flagged else colour)


def _scale(axis: Axes, panel: Panel) -> None:
    if not panel.is_factor:
        axis.xaxis.set_major_locator(MaxNLocator(5))
        return
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}×"))
    low, high = axis.get_xlim()
    labelled = "25" if high < 100 * low else ""  # labels would overlap over two decades
    axis.xaxis.set_minor_formatter(FuncFormatter(lambda x, _: f"{x:g}×" if f"{x:e}"[0] in labelled else ""))


def _legend(figure: Figure, results: AuditResults) -> None:
    handles = [Line2D([], [], color=BLUE, marker="o", linewidth=2.2, label="method, with its interval")]
    if any(is_flagged(method) for method in results.audited().values()):
        hollow = Line2D(
            [], [], color=RED, marker="o", markerfacecolor="white", linewidth=2.2, label=flag_words()
        )
        handles.append(hollow)
    for name, (title, line, colour) in LINES.items():
        if name in results.methods:
            handles.append(Line2D([], [], color=colour, linestyle=line, label=title))
    figure.legend(handles=handles, loc="outside lower center", ncols=6)


def _curves(axis: Axes, drawn: AspectFigure, method: MethodResults) -> None:
    for curve in drawn.curves(method):
        axis.plot(
            curve.x,
            [float("nan") if value is None else value for value in curve.y],
            color=COLOURS[curve.colour],
            marker=curve.marker,
            markersize=curve.size,
            linestyle=curve.line,
            label=curve.label,
        )
    axis.set_ylim(*drawn.y_limits)
    stages = len(drawn.ticks(method))
    axis.set_xticks(range(stages + 1), ["0", *map(str, range(1, stages + 1))])
