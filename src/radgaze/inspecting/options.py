"""Options of `inspect`."""

from __future__ import annotations

from dataclasses import dataclass

from radgaze.evaluation.options import RESAMPLES
from radgaze.options import Options, option


@dataclass(frozen=True)
class InspectOptions(Options):
    """Options of an inspection.

    Attributes:
        each: Number of cases drawn per class.
        seed: Seed of the draw of cases.
        resamples: Number of bootstrap resamples for the agreement between readers.
    """

    each: int = option(4, at_least=0)
    seed: int = option(0, at_least=0, at_most=2**32 - 1)
    resamples: int = option(RESAMPLES, at_least=1, hidden=True)
