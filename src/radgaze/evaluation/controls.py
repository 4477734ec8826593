"""Runs and their controls of gaze among runs that are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from radgaze import experiments
from radgaze.runs.config import Config
from radgaze.runs.requirements import uses_gaze
from radgaze.runs.run import Run

APART = ("gaze.control", "data", "seed", "trainer.", "input.cache", "model.given")
"""Fields in which a run and its control may differ: the control, and what is no part of the method."""


@dataclass(frozen=True)
class ControlPair:
    """A run and one of its controls.

    Attributes:
        run: Name of the run with the gaze of each case.
        control: Name of the run with the control.
        kind: The control, `GazeConfig.control`.
    """

    run: str
    control: str
    kind: str


@dataclass(frozen=True)
class Controls:
    """The controls among several runs.

    Attributes:
        pairs: The runs that differ in their control alone.
        without: Names of the runs that used the gaze of each case and have no control among the others.
    """

    pairs: tuple[ControlPair, ...] = ()
    without: tuple[str, ...] = ()


def controls_among(runs: Sequence[Run], names: Sequence[str]) -> Controls:
    """Find the runs that are controls of others.

    Args:
        runs: The runs.
        names: Their names.
    """
    methods = [_method(run.config) for run in runs]
    kinds = [run.config.gaze.control for run in runs]
    gazed = [place for place, run in enumerate(runs) if kinds[place] == "none" and uses_gaze(run.config)]
    pairs = [
        ControlPair(names[place], names[other], kinds[other])
        for place in gazed
        for other in range(len(runs))
        if kinds[other] != "none" and methods[other] == methods[place]
    ]
    with_control = {pair.run for pair in pairs}
    return Controls(tuple(pairs), tuple(names[place] for place in gazed if names[place] not in with_control))


def _method(config: Config) -> dict[str, object]:
    """The fields of a configuration but `APART`."""
    return {
        name: value for name, value in experiments.flat(asdict(config)).items() if not name.startswith(APART)
    }
