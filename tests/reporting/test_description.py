"""The settings of a run in words."""

from __future__ import annotations

from radgaze.objectives.config import EdgeConfig, TermConfig
from radgaze.reporting.description import weight_words


def test_a_weight_says_what_multiplies_it_in_training() -> None:
    assert weight_words(EdgeConfig(0.5)) == "0.50"
    assert weight_words(EdgeConfig(1.0, balance="start")) == "1.00 · balanced at the start"
    both = TermConfig(2.0, balance="start", schedule="warmup(0.3)")
    assert weight_words(both) == "2.00 · balanced at the start · warmup(0.3)"
