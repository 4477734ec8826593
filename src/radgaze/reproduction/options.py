"""Options of `reproduce`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from radgaze import experiments
from radgaze.errors import UserError
from radgaze.options import FieldError, Options, option
from radgaze.runs.controls import WORDS

Protocol = Literal["faithful", "honest"]
Selection = Literal["validation", "test"]
Engine = Literal["local", "ray"]
Matrix = Literal["paper", "reasons"]

CLEAN = "clean"
"""Name of the store in which the confounder tells nothing of the class."""

SEED = "{seed}"
"""What stands for the seed in the path of a store."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


@dataclass(frozen=True)
class ReproduceOptions(Options):
    """Options of a grid: its runs, and how they are run.

    Attributes:
        protocol: The paper's protocol, with its published split, or ours, with a split drawn for each seed; a
            store with twins keeps its own.
        matrix: The paper's experiments on one store, or the matrix of reasons, experiments and their controls
            on several stores, whose page shows what each experiment relies on.
        stores: Stores of the matrix of reasons; "clean" names the one whose confounder tells nothing of the
            class, the others are named after their confounder. In a path, "{seed}" stands for the seed.
        seeds: Number of seeds; by default 1 in the faithful protocol, 3 in the honest one, and 5 in the
            matrix of reasons.
        seed: First of the seeds; each of the others is one higher.
        only: Experiments to run; by default those of the paper and ours, without the comparison methods and
            those on counterfactual images; in the matrix of reasons ten of all kinds.
        controls: Controls of gaze (`gaze.control`) with which each experiment that uses gaze is run as well,
            to tell what it owes to the gaze on each case; by default none, in the matrix of reasons shuffled
            and lungs.
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
    matrix: Matrix = option("paper")
    stores: tuple[str, ...] | None = option(None, metavar="NAME=PATH")
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
        if self.matrix == "reasons":
            self._check_reasons()
        elif self.stores is not None:
            raise UserError("`stores` needs `matrix='reasons'`")

    def _check_reasons(self) -> None:
        if self.protocol != "honest":
            raise UserError("`matrix='reasons'` needs `protocol='honest'`")
        if self.cross_validate is not None:
            raise UserError("`cross_validate` needs `matrix='paper'`: the stores have splits of their own")
        if not self.stores:
            raise UserError("`matrix='reasons'` needs `stores`, such as clean=PATH and marker=PATH")
        if not set(named_stores(self.stores)) - {CLEAN}:
            raise FieldError("stores", f"must name a store besides {CLEAN}, after its confounder")


def named_stores(words: Sequence[str]) -> dict[str, str]:
    """Read stores given as NAME=PATH.

    Raises:
        FieldError: A word is malformed, or a name is given twice.
    """
    stores: dict[str, str] = {}
    for word in words:
        name, equals, path = word.partition("=")
        if not (equals and path and _NAME.fullmatch(name)):
            raise FieldError(
                "stores", f"must be NAME=PATH with a NAME of small letters, digits, - and _; got {word}"
            )
        if name in stores:
            raise FieldError("stores", f"must name each store once, got {name} twice")
        stores[name] = path
    return stores
