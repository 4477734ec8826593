"""Description of a metric, for every table and page that shows it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Metric:
    """Description of a metric.

    Attributes:
        title: Name in tables and pages.
        words: Meaning in one line.
        higher_is_better: Whether higher values are better.
        chance: Expected value of an uninformative map or score, where that is one number.
        bounds: Lowest and highest possible value.
    """

    title: str
    words: str
    higher_is_better: bool = True
    chance: float | None = None
    bounds: tuple[float, float] = (float("-inf"), float("inf"))

    @property
    def heading(self) -> str:
        """Title for a table, with an arrow where lower is better."""
        return self.title if self.higher_is_better else f"{self.title} ↓"
