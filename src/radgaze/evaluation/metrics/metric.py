"""Description of a metric, for the tables and pages that show it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Metric:
    """Description of a metric.

    Attributes:
        title: Name in tables and pages.
        words: Meaning in one line.
        higher_is_better: Whether higher values are better.
        chance: Expected value for an uninformative map or score; None where it depends on the cases.
        bounds: Lowest and highest possible value.
        directed: Whether one direction is better at all; tables show none otherwise.
    """

    title: str
    words: str
    higher_is_better: bool = True
    chance: float | None = None
    bounds: tuple[float, float] = (float("-inf"), float("inf"))
    directed: bool = True

    @property
    def heading(self) -> str:
        """Title for a table, with an arrow where lower is better."""
        return self.title if self.higher_is_better or not self.directed else f"{self.title} ↓"
