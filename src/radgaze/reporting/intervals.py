"""Figures of values with intervals: agreement of maps with gaze, and runs against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from radgaze.reporting.style import INK, MUTED, canvas, colour, styled
from radgaze.reporting.wording import AGREEMENT, FLOORS, MAPS, bounds

_MARKERS = ("o", "s", "D", "^", "v", "P", "X")


def agreement(runs: Mapping[str, Mapping[str, Any]]) -> Figure:
    """A panel per agreement metric, a line per map: value and 95% interval, the floors in grey.

    Args:
        runs: Per run its `metrics["test"]["agreement"]`. With several runs, the floors are drawn once.
    """
    lines = _agreement_lines(runs)
    metrics = [m for m in AGREEMENT if any(bounds(entry.get(m))[0] is not None for _, entry, _ in lines)]
    with styled():
        columns = 3
        rows = max(1, -(-len(metrics) // columns))
        figure = canvas(9.6, 0.35 + rows * (0.75 + 0.27 * max(1, len(lines))))
        grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for place, axis in enumerate(grid.flat):
            if place >= len(metrics):
                axis.remove()
                continue
            name, higher, _ = AGREEMENT[metrics[place]]
            _dots(axis, [(label, entry.get(metrics[place]), tint) for label, entry, tint in lines])
            axis.set_title(f"{name}  {'higher' if higher else 'lower'} is better {'→' if higher else '←'}")
            axis.title.set_fontsize(9)
    return figure


def forest(
    values: Mapping[str, Mapping[str, Any]],
    differences: Mapping[str, Mapping[str, Any]],
    groups: Sequence[str],
    reference: str,
) -> Figure:
    """Left: AUC of every run with its 95% interval. Right: its paired difference to the reference.

    Args:
        values: Per run, per group ("macro" or a class) the AUC's entry.
        differences: Per run (the reference left out), per group the paired difference's entry.
        groups: The groups from top to bottom.
        reference: The run that the differences are taken against.
    """
    runs = list(values)
    step = 1.0 / (len(runs) + 1)
    with styled():
        figure = canvas(9.6, 1.2 + len(groups) * (0.28 + 0.24 * len(runs)))
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.25, 1))
        for row, group in enumerate(groups):
            for place, run in enumerate(runs):
                y = row + (place + 1) * step - 0.5
                _dot(left, y, values[run].get(group), place, label=run if row == 0 else None)
                if run in differences:
                    _dot(right, y, differences[run].get(group), place)
            if row:
                for axis in (left, right):
                    axis.axhline(row - 0.5, color=MUTED, linewidth=0.5)
        left.axvline(0.5, color=MUTED, linewidth=0.8, linestyle=":")
        right.axvline(0, color=INK, linewidth=0.8)
        left.set_yticks(range(len(groups)), [g if g != "macro" else "Macro" for g in groups])
        left.set_ylim(len(groups) - 0.5, -0.5)
        left.set(xlabel="AUC with 95% interval", title="AUC")
        right.set(xlabel=f"difference to {reference}, paired, with 95% interval", title="Difference")
        for axis in (left, right):
            axis.grid(axis="y", visible=False)
            axis.tick_params(axis="y", length=0)
            axis.xaxis.set_major_locator(MaxNLocator(6))
        if left.get_legend_handles_labels()[0]:
            figure.legend(loc="outside lower center", ncols=min(4, len(runs)))
    return figure


def _agreement_lines(runs: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any], str]]:
    """(label, entries, colour) from top to bottom: map by map the runs under each other, then the floors."""
    lines: list[tuple[str, Mapping[str, Any], str]] = []
    for kind, label in MAPS.items():
        if kind in FLOORS or kind == "heatmap_raw":
            continue
        for place, (run, maps) in enumerate(runs.items()):
            if maps.get(kind):
                several = len(runs) > 1
                name = f"{label}, {run}" if several else label
                lines.append((name, maps[kind], colour(place if several else len(lines))))
    for kind in FLOORS:
        known = [maps[kind] for maps in runs.values() if maps.get(kind)]
        if known:
            lines.append((MAPS[kind], known[0], MUTED))
    return lines


def _dots(axis: Axes, lines: Sequence[tuple[str, Any, str]]) -> None:
    for place, (_, entry, tint) in enumerate(lines):
        value, low, high = bounds(entry)
        if value is None:
            axis.text(0.02, place, "–", transform=axis.get_yaxis_transform(), va="center", color=MUTED)
            continue
        if low is not None and high is not None:
            axis.plot([low, high], [place, place], color=tint, linewidth=2.2, solid_capstyle="butt")
        axis.plot(value, place, "o", color=tint, markeredgecolor="white")
    axis.set_yticks(range(len(lines)), [label for label, _, _ in lines])
    axis.set_ylim(len(lines) - 0.4, -0.6)
    axis.grid(axis="y", visible=False)
    axis.margins(x=0.12)


def _dot(axis: Axes, y: float, entry: Any, place: int, label: str | None = None) -> None:
    value, low, high = bounds(entry)
    if value is None:
        return
    if low is not None and high is not None:
        axis.plot([low, high], [y, y], color=colour(place), linewidth=2.2, solid_capstyle="butt")
    marker = _MARKERS[place % len(_MARKERS)]
    axis.plot(
        value,
        y,
        marker,
        color=colour(place),
        markeredgecolor="white",
        markersize=7,
        linestyle="none",
        label=label,
    )
