"""Figures of values with intervals: agreement of maps with gaze, and comparisons of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from radgaze.reporting.plotting import point_with_interval
from radgaze.reporting.style import INK, MUTED, canvas, colour, marker, styled
from radgaze.reporting.wording import AGREEMENT, DASH, FLOORS, MAPS, bounds

Entries = Mapping[str, object]
"""Entries by metric or group; see `wording.bounds`."""

_COLUMNS = 3


@dataclass(frozen=True)
class _Line:
    """A line of each panel: its label, the entries by metric, and its colour."""

    label: str
    entries: Entries
    tint: str


def agreement(runs: Mapping[str, Mapping[str, Entries | None]]) -> Figure:
    """Draw the agreement of maps with gaze: a panel per metric, a line per map, the floors in grey.

    Args:
        runs: The `test.agreement` of each run's results. With several runs, the floors are drawn once.
    """
    lines = _agreement_lines(runs)
    metrics = [m for m in AGREEMENT if any(bounds(line.entries.get(m))[0] is not None for line in lines)]
    with styled():
        rows = max(1, -(-len(metrics) // _COLUMNS))
        figure = canvas(9.6, 0.35 + rows * (0.75 + 0.27 * max(1, len(lines))))
        grid = figure.subplots(rows, _COLUMNS, squeeze=False, sharey=True)
        for place, axis in enumerate(grid.flat):
            if place >= len(metrics):
                axis.remove()
                continue
            name, higher, _ = AGREEMENT[metrics[place]]
            _agreement_panel(axis, lines, metrics[place])
            axis.set_title(f"{name}  {'higher' if higher else 'lower'} is better {'→' if higher else '←'}")
            axis.title.set_fontsize(9)
    return figure


def forest(
    values: Mapping[str, Entries], differences: Mapping[str, Entries], groups: Sequence[str], reference: str
) -> Figure:
    """Draw the AUC of every run, and its paired difference to the reference, with 95% intervals.

    Args:
        values: AUC of each run, by group ("macro" or a class).
        differences: Paired difference of each run but the reference, by group.
        groups: The groups from top to bottom.
        reference: Name of the reference run.
    """
    runs = list(values)
    step = 1.0 / (len(runs) + 1)
    with styled():
        figure = canvas(9.6, 1.2 + len(groups) * (0.28 + 0.24 * len(runs)))
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.25, 1))
        for row, group in enumerate(groups):
            for place, run in enumerate(runs):
                y = row + (place + 1) * step - 0.5
                _run_point(left, y, values[run].get(group), place, label=run if row == 0 else None)
                if run in differences:
                    _run_point(right, y, differences[run].get(group), place)
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


def _agreement_lines(runs: Mapping[str, Mapping[str, Entries | None]]) -> list[_Line]:
    """The lines from top to bottom: for each map all runs, and then the floors."""
    lines: list[_Line] = []
    several = len(runs) > 1
    for kind, label in MAPS.items():
        if kind in FLOORS or kind == "heatmap_raw":
            continue
        for place, (run, maps) in enumerate(runs.items()):
            if entries := maps.get(kind):
                name = f"{label}, {run}" if several else label
                lines.append(_Line(name, entries, colour(place if several else len(lines))))
    for kind in FLOORS:
        measured = [entries for maps in runs.values() if (entries := maps.get(kind))]
        if measured:
            lines.append(_Line(MAPS[kind], measured[0], MUTED))
    return lines


def _agreement_panel(axis: Axes, lines: Sequence[_Line], metric: str) -> None:
    for place, line in enumerate(lines):
        if not point_with_interval(axis, place, line.entries.get(metric), line.tint):
            axis.text(0.02, place, DASH, transform=axis.get_yaxis_transform(), va="center", color=MUTED)
    axis.set_yticks(range(len(lines)), [line.label for line in lines])
    axis.set_ylim(len(lines) - 0.4, -0.6)
    axis.grid(axis="y", visible=False)
    axis.margins(x=0.12)


def _run_point(axis: Axes, y: float, entry: object, place: int, label: str | None = None) -> None:
    point_with_interval(axis, y, entry, colour(place), marker=marker(place), size=7, label=label)
