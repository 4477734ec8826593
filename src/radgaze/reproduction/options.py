"""Options of `reproduce`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from radgaze import experiments
from radgaze.errors import UserError
from radgaze.options import Options, option
from radgaze.runs.controls import WORDS

Protocol = Literal["faithful", "honest"]
Selection = Literal["validation", "test"]
Engine = Literal["local", "ray"]


@dataclass(frozen=True)
class ReproduceOptions(Options):
    """Options of a grid: its runs, and how they are run.

    Attributes:
        protocol: The paper's protocol, with its published split, or ours, with a split drawn for each seed.
        seeds: Number of seeds; by default 1 in the faithful protocol and 3 in the honest one.
        seed: First of the seeds; each of the others is one higher.
        only: Experiments to run; by default those of the paper and ours, without the comparison methods and
            those on counterfactual images.
        controls: Controls of gaze (`gaze.control`) with which each experiment that uses gaze is run as well,
            to tell what it owes to the gaze on each case; by default none.
        select: Split whose AUC selects the checkpoint; the original code used test, which makes figures too
            high.
        cross_validate: Number of folds of a cross-validation, which is repeated for each seed; by default
            there is none.
        engine: Run on this machine, or on a Ray cluster.
        ray_address: Address of the Ray cluster; by default one is started on this machine.
        jobs: Number of parallel runs; by default one for each GPU, or one without GPUs.
        resume: Continue the grid in the output folder; runs that failed are run again.
    """

    protocol: Protocol = option("honest")
    seeds: int | None = option(None, at_least=1, metavar="N")
    seed: int = option(42, at_least=0, at_most=2**32 - 1)
    only: tuple[str, ...] | None = option(None, choices=experiments.names, metavar="NAME")
    controls: tuple[str, ...] | None = option(
        None, choices=lambda: tuple(WORDS), show_choices=True, metavar="NAME"
    )
    select: Selection = option("validation")
    cross_validate: int | None = option(None, at_least=3, metavar="FOLDS")  # one tests, one validates
    engine: Engine = option("local")
    ray_address: str | None = option(None, metavar="A")
    jobs: int | None = option(None, at_least=1, metavar="N")
    resume: bool = option(False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ray_address is not None and self.engine != "ray":
            raise UserError("`ray_address` needs `engine='ray'`")
        if self.cross_validate is not None and self.protocol == "faithful":
            raise UserError(
                "`cross_validate` needs `protocol='honest'`: the faithful protocol has the published split"
            )
