"""Options of `tune`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from radgaze.options import Options, option


@dataclass(frozen=True)
class TuneOptions(Options):
    """Options of a search.

    Attributes:
        trials: Number of trials, including those of a resumed search.
        resume: Continue the search in the output folder.
        space: YAML file of ranges, which replace those of the experiment's default space.
        jobs: Number of parallel trials, each in a process.
        min_epochs: Number of epochs before a trial can be stopped; by default a ninth of trainer.max_epochs,
            and more than the warm-up. With trainer.max_epochs or more, no trial is stopped.
        protocol: Protocol of every trial, as of train.
        seed: Seed of the search and of every trial.
    """

    trials: int = option(at_least=1, metavar="N")
    resume: bool = option(False)
    space: Path | None = option(None, metavar="FILE")
    jobs: int = option(1, at_least=1, metavar="N")
    min_epochs: int | None = option(None, at_least=1, metavar="N")
    protocol: Literal["honest", "faithful"] = option("honest")
    seed: int = option(42, at_least=0, at_most=2**32 - 1)
