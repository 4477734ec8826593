"""Rows of a table of maps, for the sections of agreement and localisation."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from radgaze.evaluation.interval_estimate import IntervalEstimate
from radgaze.evaluation.results import Maps
from radgaze.reporting.wording import FLOORS, MAPS


@dataclass(frozen=True)
class MapRow:
    """A row of a table of maps.

    Attributes:
        name: Title of the map.
        is_floor: Whether it is a baseline map.
        entries: Figures of the map, by metric.
    """

    name: str
    is_floor: bool
    entries: tuple[IntervalEstimate | None, ...]


def map_rows(maps: Maps, metrics: Collection[str]) -> tuple[MapRow, ...]:
    """Make a row of each map that has figures, the floors last.

    Args:
        maps: The figures.
        metrics: Names of the metrics, in the order of the columns.
    """
    return tuple(
        MapRow(title, kind in FLOORS, tuple(figures.get(metric) for metric in metrics))
        for kind, title in MAPS.items()
        if (figures := maps.get(kind))
    )
