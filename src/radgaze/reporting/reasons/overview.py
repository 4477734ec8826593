"""The leading figure: gap closed and reliance of every experiment, its controls beside it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from radgaze import experiments
from radgaze.evaluation.statistics.evidence import FEW_SEEDS
from radgaze.reporting.paper.results import BASELINE, title
from radgaze.reporting.reasons.worlds import World
from radgaze.reporting.style import INK, MUTED, canvas, colour, styled
from radgaze.reporting.wording import bounds
from radgaze.runs.controls import WORDS

OWN = "own gaze, or none"
MARKERS = dict(zip(("", *WORDS), "os^DvPX", strict=True))
"""Mark of the experiment itself, and of each control."""

WIDEST = (-1.0, 2.0)
"""Range beyond which intervals of the gap closed are cut off; a triangle then points outward."""

LEAST_RELIANCE = 0.05
"""Reliance that a panel always reaches, on both sides of 0, so that next to none looks like none."""

Entry = object
"""An estimate, see `wording.bounds`."""


def overview(worlds: Sequence[World]) -> Figure:
    """Draw a panel for each store, with gap closed on the left and reliance on the right."""
    heights = [1.0 + 0.4 * max(1, len(_rows(world))) for world in worlds]
    with styled():
        figure = canvas(9.2, 0.7 + sum(heights))
        grid = figure.subplots(
            len(worlds), 2, squeeze=False, gridspec_kw={"height_ratios": heights, "width_ratios": [3, 2]}
        )
        for (left, right), world in zip(grid, worlds, strict=True):
            _gap(left, world)
            _reliance(right, world)
        _legend(figure, worlds)
        entries = [entry for world in worlds for by_name in _figures(world) for entry in by_name.values()]
        if any(getattr(entry, "has_too_few_seeds", False) for entry in entries):
            figure.suptitle(f"Without a bar: {FEW_SEEDS}", fontsize=9)
    return figure


def _rows(world: World) -> list[str]:
    return [name for name in world.results.experiments if not experiments.control_of(name)[1]]


def _figures(world: World) -> tuple[dict[str, Entry], dict[str, Entry]]:
    """Gap closed and reliance of each experiment and control."""
    closed: dict[str, Entry] = {} if world.gaps.lack else {BASELINE: 0.0, **world.gaps.closed}
    means = {} if world.confounder is None else world.estimates.reliance.means[world.confounder]
    return closed, {name: by_metric.get("reliance") for name, by_metric in means.items()}


def _gap(axis: Axes, world: World) -> None:
    closed = _figures(world)[0]
    _draw(axis, world, closed, f"{world.name}: gap closed")
    axis.set_xlabel("higher is better")
    if world.gaps.lack:
        _say(axis, world.gap_words[-1])
        return
    for place, style in ((0.0, ":"), (1.0, "--")):
        axis.axvline(place, color=INK, linewidth=0.9, linestyle=style, zorder=1)
    ends = [end for entry in closed.values() for end in bounds(entry) if end is not None]
    low, high = max(WIDEST[0], min([*ends, -0.05])), min(WIDEST[1], max([*ends, 1.05]))
    margin = 0.04 * (high - low)
    axis.set_xlim(low - margin, high + margin)
    _mark_ends(axis, (low - margin, high + margin))


def _reliance(axis: Axes, world: World) -> None:
    relied = _figures(world)[1]
    about = "" if world.confounder in (None, world.name) else f" on {world.confounder}"
    _draw(axis, world, relied, f"Reliance{about}")
    axis.set_xlabel("nearer to 0 is better")
    axis.set_yticklabels([])
    if not relied:
        _say(axis, "Reliance was not measured: no test case has twins.")
        return
    axis.axvline(0.0, color=INK, linewidth=0.9, linestyle="--", zorder=1)
    baseline = bounds(relied.get(BASELINE))[0]
    if baseline is not None:
        axis.axvline(baseline, color=INK, linewidth=0.9, linestyle=":", zorder=1)
    ends = [end for entry in relied.values() for end in bounds(entry) if end is not None]
    low, high = min([*ends, -LEAST_RELIANCE]), max([*ends, LEAST_RELIANCE])
    axis.set_xlim(low - 0.06 * (high - low), high + 0.06 * (high - low))


def _draw(axis: Axes, world: World, entries: dict[str, Entry], words: str) -> None:
    """Draw each experiment, and below it its controls."""
    rows = _rows(world)
    for row, experiment in enumerate(rows):
        names = [name for name in world.results.experiments if experiments.control_of(name)[0] == experiment]
        step = 0.62 / max(2, len(names) - 1)
        for place, name in enumerate(names):
            control = experiments.control_of(name)[1]
            y = row + (place - (len(names) - 1) / 2) * step
            _dot(axis, y, entries.get(name), [*MARKERS].index(control))
    axis.grid(axis="y", visible=False)
    for row in range(1, len(rows)) if entries else ():
        axis.axhline(row - 0.5, color=MUTED, linewidth=0.4)
    axis.set_title(words)
    axis.set_yticks(range(len(rows)), [title(name) for name in rows])
    axis.set_ylim(max(1, len(rows)) - 0.5, -0.5)
    axis.tick_params(axis="y", length=0, pad=8)
    axis.xaxis.set_major_locator(MaxNLocator(6))


def _dot(axis: Axes, y: float, entry: Entry, place: int) -> None:
    value, low, high = bounds(entry)
    if value is None:
        return
    tint = colour(place)
    if low is not None and high is not None:
        axis.plot([low, high], [y, y], color=tint, linewidth=2.0 if place == 0 else 1.2, zorder=2)
    face = tint if place == 0 else "white"
    size = 6.5 if place == 0 else 5.5
    mark = [*MARKERS.values()][place]
    axis.plot(value, y, mark, color=face, markeredgecolor=tint, markersize=size, zorder=3)


def _mark_ends(axis: Axes, limits: tuple[float, float]) -> None:
    """Point to the parts of intervals that are outside of the panel."""
    for line in [*axis.get_lines()]:
        x, y = list(map(float, line.get_xdata())), list(map(float, line.get_ydata()))  # type: ignore[arg-type]  # numbers
        if len(x) != 2 or y[0] != y[1]:
            continue
        for beyond, end, mark in ((x[0] < limits[0], limits[0], "<"), (x[1] > limits[1], limits[1], ">")):
            if beyond:
                axis.plot(end, y[0], mark, color=line.get_color(), markersize=6, zorder=4, clip_on=False)


def _say(axis: Axes, words: str) -> None:
    axis.set_xticks([])
    axis.set_xlabel("")
    axis.text(
        *(0.5, 0.5, textwrap.fill(words, 44)),
        transform=axis.transAxes, ha="center", va="center", color=MUTED,
    )  # fmt: skip


def _legend(figure: Figure, worlds: Sequence[World]) -> None:
    used = {experiments.control_of(name)[1] for world in worlds for name in world.results.experiments}
    axis = figure.axes[0]
    for place, (control, mark) in enumerate(MARKERS.items()):
        if control in used:
            axis.plot(
                *([], [], mark),
                color=colour(place) if place == 0 else "white",
                markeredgecolor=colour(place),
                label=f"control {control.replace('_', ' ')}" if control else OWN,
            )
    axis.plot([], [], color=INK, linewidth=0.9, linestyle=":", label="the baseline here")
    axis.plot([], [], color=INK, linewidth=0.9, linestyle="--", label="as if without the confounder")
    figure.legend(loc="outside lower center", ncols=min(5, len(used) + 2))
