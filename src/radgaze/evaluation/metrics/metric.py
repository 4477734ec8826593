"""What a metric is called, what it says and how it is bounded: kept with it, for every table and page."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric in words.

    Attributes:
        title: Its name.
        words: What it says, in a line.
        higher_is_better: Which way it points.
        chance: What a map that knows nothing scores, where that is one number.
        bounds: Between which a figure lies.
    """

    title: str
    words: str
    higher_is_better: bool = True
    chance: float | None = None
    bounds: tuple[float, float] = (float("-inf"), float("inf"))

    @property
    def heading(self) -> str:
        """Its name, marked where less is better."""
        return self.title if self.higher_is_better else f"{self.title} ↓"
