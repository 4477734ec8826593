"""The runs of a grid, and the names and the order that the paper's experiments have on paper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from radgaze import experiments
from radgaze.errors import UserError
from radgaze.reporting.description import without_paths
from radgaze.reporting.wording import count, listed

if TYPE_CHECKING:
    from radgaze.runs.run import Run

BASELINE = "baseline"
BEST_OF_PAPER = "set3_guided"

PAPERS_SETS = ("Set 1", "Set 2", "Set 3")
"""Families of the experiments in which the paper supervises heatmaps."""

WARNING = (
    "SELECTED ON TEST CASES. The checkpoint of every run was chosen by its AUC on the test cases, as the "
    "original code did. The figures are too good: they do not say what to expect of new patients."
)


@dataclass(frozen=True)
class Results:
    """What a grid left.

    Attributes:
        protocol: "faithful" or "honest".
        selection: The split whose AUC chose the checkpoints; "test" stamps whatever is made of these results.
        runs: Per experiment, per seed (or fold) the finished run.
        failed: Per experiment and seed why there is none.
    """

    protocol: str
    selection: str
    runs: Mapping[str, Mapping[int, Run]]
    failed: Mapping[tuple[str, int], str]

    @property
    def experiments(self) -> tuple[str, ...]:
        """The experiments with a finished run, in the paper's order."""
        return tuple(name for name in self.listed if self.runs.get(name))

    @property
    def listed(self) -> tuple[str, ...]:
        """All of the paper's experiments and ours, then others that were run or failed, by name."""
        known = tuple(each.name for each in experiments.catalogue())
        others = {*self.runs, *(name for name, _ in self.failed)} - {*known}
        return (*known, *sorted(others))

    @property
    def attempted(self) -> tuple[str, ...]:
        """The experiments that were run, whether they failed or not."""
        failed = {name for name, _ in self.failed}
        return tuple(name for name in self.listed if self.runs.get(name) or name in failed)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that all runs share.

        Raises:
            UserError: There is no run, or two have different classes.
        """
        found = {tuple(run.classes) for runs in self.runs.values() for run in runs.values()}
        if not found:
            raise UserError("no run is finished: there is nothing to make tables of")
        if len(found) > 1:
            raise UserError("the runs have different classes; make tables of runs on one store")
        return found.pop()

    @property
    def stamp(self) -> str:
        """What must stand at the head of every table and page; empty where nothing must."""
        return WARNING if self.selection == "test" else ""

    @property
    def of_paper(self) -> bool:
        """Whether intervals are the paper's: in the faithful protocol, of one run each."""
        return self.protocol == "faithful" and all(len(runs) <= 1 for runs in self.runs.values())

    def reason(self, experiment: str) -> str:
        """Why an experiment has no figures; empty if it has some."""
        if self.runs.get(experiment):
            return ""
        reasons = self.reasons(experiment)
        return f"failed: {listed(list(dict.fromkeys(reasons.values())))}" if reasons else "not run"

    def remark(self, experiment: str) -> str:
        """Which of an experiment's seeds failed where others did not; empty if none did."""
        reasons = self.reasons(experiment)
        if not self.runs.get(experiment) or not reasons:
            return ""
        of = count(len(self.runs[experiment]) + len(reasons), "seed")
        lost = "; ".join(f"seed {seed} failed: {reason}" for seed, reason in reasons.items())
        return f"{len(self.runs[experiment])} of {of}; {lost}"

    def reasons(self, experiment: str) -> dict[int, str]:
        """Per failed seed of an experiment why it failed, in one line without a path."""
        found = sorted((seed, why) for (name, seed), why in self.failed.items() if name == experiment)
        return {seed: _short(why) for seed, why in found}


def title(experiment: str) -> str:
    """An experiment's name on paper."""
    return experiments.describe(experiment).title


def family(experiment: str) -> str:
    """The group of experiments that it belongs to."""
    return experiments.describe(experiment).family


def families() -> tuple[str, ...]:
    """The groups of experiments, in the order in which they are shown."""
    return tuple(dict.fromkeys(each.family for each in experiments.catalogue()))


def members(*of: str) -> tuple[str, ...]:
    """Names of the experiments of these families, in the order in which they are shown."""
    return tuple(each.name for each in experiments.catalogue() if each.family in of)


def _short(reason: str) -> str:
    """The first line of a message, without a path, at most 160 characters long."""
    lines = without_paths(reason).strip().splitlines() or ["no reason given"]
    return lines[0] if len(lines[0]) <= 160 else lines[0][:159].rstrip() + "…"
