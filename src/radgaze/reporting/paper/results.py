"""The runs of a grid, with the titles, families and order of the experiments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from radgaze import experiments
from radgaze.errors import UserError
from radgaze.reporting.description import without_paths
from radgaze.runs.controls import WORDS
from radgaze.words import count, listed

if TYPE_CHECKING:
    from radgaze.runs.run import Run

BASELINE = "baseline"
BEST_OF_PAPER = "set3_guided"

PAPERS_SETS = ("Set 1", "Set 2", "Set 3")
"""Families of the experiments with supervised heatmaps in the paper."""

WARNING = (
    "SELECTED ON TEST CASES. The checkpoint of every run was chosen by its AUC on the test cases, as the "
    "original code did. The figures are too high: they do not say what to expect of new patients."
)


@dataclass(frozen=True)
class Results:
    """The runs of a grid.

    Attributes:
        protocol: "faithful" or "honest".
        selection: Split whose AUC selected the checkpoints; "test" puts a warning on every table and page.
        runs: The finished runs of each experiment, by seed (or fold).
        failed: Reason of each failed run, by experiment and seed (or fold).
        unit: What the runs of an experiment differ by, "seed" or "fold".
    """

    protocol: str
    selection: str
    runs: Mapping[str, Mapping[int, Run]]
    failed: Mapping[tuple[str, int], str]
    unit: str = "seed"

    @property
    def experiments(self) -> tuple[str, ...]:
        """The experiments with a finished run, in the paper's order."""
        return tuple(name for name in self.listed if self.runs.get(name))

    @property
    def listed(self) -> tuple[str, ...]:
        """All experiments of the catalogue, each before its controls, then others that were run or failed."""
        catalogue = tuple(each.name for each in experiments.catalogue())
        names = sorted(({*self.runs, *(name for name, _ in self.failed)} - {*catalogue}), key=_place)
        others = [name for name in names if experiments.control_of(name)[0] not in catalogue]
        return (
            *(
                name
                for experiment in catalogue
                for name in (experiment, *(n for n in names if experiments.control_of(n)[0] == experiment))
            ),
            *others,
        )

    @property
    def controls(self) -> dict[str, str]:
        """The experiment of each that was attempted with a control of gaze."""
        return {name: split[0] for name in self.attempted if (split := experiments.control_of(name))[1]}

    @property
    def attempted(self) -> tuple[str, ...]:
        """The experiments with a finished or a failed run."""
        failed = {name for name, _ in self.failed}
        return tuple(name for name in self.listed if self.runs.get(name) or name in failed)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of all runs.

        Raises:
            UserError: There is no run, or two have different classes.
        """
        classes = {tuple(run.classes) for runs in self.runs.values() for run in runs.values()}
        if not classes:
            raise UserError("no run is finished: there is nothing to make tables of")
        if len(classes) > 1:
            raise UserError("the runs have different classes; make tables of runs on one store")
        return classes.pop()

    @property
    def has_several_seeds(self) -> bool:
        """Whether some experiment has more than one finished run."""
        return max(map(len, self.runs.values()), default=0) > 1

    @property
    def stamp(self) -> str:
        """Warning at the head of every table and page; empty where there is none."""
        return WARNING if self.selection == "test" else ""

    @property
    def has_paper_intervals(self) -> bool:
        """Whether intervals are those of the paper: in the faithful protocol with one run per experiment."""
        return self.protocol == "faithful" and not self.has_several_seeds

    def reason(self, experiment: str) -> str:
        """Return the reason why an experiment has no figures; empty where it has some."""
        if self.runs.get(experiment):
            return ""
        reasons = self.reasons(experiment)
        return f"failed: {listed(list(dict.fromkeys(reasons.values())))}" if reasons else "not run"

    def remark(self, experiment: str) -> str:
        """State the failed seeds of an experiment that has finished runs; empty where none failed."""
        reasons = self.reasons(experiment)
        if not self.runs.get(experiment) or not reasons:
            return ""
        total = count(len(self.runs[experiment]) + len(reasons), self.unit)
        failed = "; ".join(f"{self.unit} {seed} failed: {reason}" for seed, reason in reasons.items())
        return f"{len(self.runs[experiment])} of {total}; {failed}"

    def reasons(self, experiment: str) -> dict[int, str]:
        """Return the reason of each failed seed of an experiment, in one line without paths."""
        failed = sorted((seed, why) for (name, seed), why in self.failed.items() if name == experiment)
        return {seed: _short(why) for seed, why in failed}


def title(experiment: str) -> str:
    """Return the title of an experiment."""
    return experiments.describe(experiment).title


def family(experiment: str) -> str:
    """Return the family of an experiment."""
    return experiments.describe(experiment).family


def families() -> tuple[str, ...]:
    """Return all families, in the order in which they are shown."""
    return tuple(dict.fromkeys(each.family for each in experiments.catalogue()))


def members(*names: str) -> tuple[str, ...]:
    """Return the names of the experiments of families, in the order in which they are shown."""
    return tuple(each.name for each in experiments.catalogue() if each.family in names)


def _place(name: str) -> tuple[str, int, str]:
    """Order experiments by name, each before its controls, those in the order of `WORDS`."""
    experiment, control = experiments.control_of(name)
    return experiment, [*("", *WORDS), control].index(control), control


def _short(reason: str) -> str:
    """The first line of a message, without paths, of at most 160 characters."""
    lines = without_paths(reason).strip().splitlines() or ["no reason given"]
    return lines[0] if len(lines[0]) <= 160 else lines[0][:159].rstrip() + "…"
