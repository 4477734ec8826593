"""Options of `compare`."""

from __future__ import annotations

from dataclasses import dataclass

from radgaze.evaluation.options import RESAMPLES
from radgaze.options import Options, option


@dataclass(frozen=True)
class CompareOptions(Options):
    """Options of a comparison of runs.

    Attributes:
        resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.
    """

    resamples: int = option(RESAMPLES, at_least=1, at_most=1_000_000)
    seed: int = option(0, at_least=0, hidden=True)
