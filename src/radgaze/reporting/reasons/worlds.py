"""The runs of the matrix of reasons, and the estimates of each of its stores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from radgaze.errors import UserError
from radgaze.evaluation.across_runs import GridEstimates, estimate_grid
from radgaze.evaluation.gap import Gaps, gaps
from radgaze.evaluation.results import MACRO
from radgaze.reporting.paper.results import BASELINE, Results
from radgaze.reporting.paper.words import mean_words
from radgaze.words import listed

CLEAN = "clean"
"""Name of the store in which the confounder tells nothing of the class."""


@dataclass(frozen=True)
class ReasonsResults:
    """The runs of the matrix of reasons.

    Attributes:
        stores: The runs on each store, by its name; those on `CLEAN` are the reference of the gap.
    """

    stores: Mapping[str, Results]

    @property
    def confounded(self) -> dict[str, Results]:
        """The runs on each store but the clean one."""
        return {name: results for name, results in self.stores.items() if name != CLEAN}

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of all runs.

        Raises:
            UserError: No run is finished, or two have different classes.
        """
        finished = [results for results in self.stores.values() if results.experiments]
        classes = {results.classes for results in finished}
        if not classes:
            raise UserError("no run is finished: there is nothing to make tables of")
        if len(classes) > 1:
            raise UserError("the runs have different classes; make tables of runs on stores of the same ones")
        return classes.pop()

    @property
    def stamp(self) -> str:
        """Warning at the head of the page and of every table; empty where there is none."""
        return next((results.stamp for results in self.stores.values()), "")


@dataclass(frozen=True)
class World:
    """The runs on one store with a confounder, and what is estimated of them.

    Attributes:
        name: Name of the store.
        results: The runs.
        estimates: Their estimates.
        gaps: The gap that each experiment closed.
    """

    name: str
    results: Results
    estimates: GridEstimates
    gaps: Gaps

    @property
    def confounder(self) -> str | None:
        """The confounder of the figure: that of the store's name, else the first; None without twins."""
        means = self.estimates.reliance.means
        return self.name if self.name in means else next(iter(means), None)

    @property
    def gap_words(self) -> tuple[str, ...]:
        """Sentences on the size of the gap and its computation, or on why it is undefined."""
        return _gap_words(self.name, self.estimates, self.gaps)


def estimate_world(name: str, results: ReasonsResults, *, resamples: int, seed: int) -> World:
    """Estimate the figures of the runs on one store.

    Args:
        name: Name of the store, on which a run must be finished.
        results: All runs.
        resamples: Number of resamples of the patient bootstrap.
        seed: Seed of the resamples.
    """
    here = results.stores[name]
    runs = {each: here.runs[each] for each in here.experiments}
    estimates = estimate_grid(
        runs,
        here.classes,
        (BASELINE,),
        selected_on_test=bool(here.stamp),
        controls=here.controls,
        resamples=resamples,
        seed=seed,
    )
    clean = results.stores[CLEAN].runs.get(BASELINE, {}) if CLEAN in results.stores else {}
    closed = gaps(runs, clean, here.classes, reference=BASELINE, resamples=resamples, seed=seed)
    return World(name, here, estimates, closed)


def _gap_words(name: str, estimates: GridEstimates, found: Gaps) -> tuple[str, ...]:
    lead = "The gap closed is undefined: "
    if found.lack == "no clean run":
        return (f"{lead}no run of the baseline on a clean store is finished.",)
    if found.lack == "no baseline":
        return (f"{lead}no run of the baseline on {name} is finished.",)
    if found.lack == "no common seed":
        return (f"{lead}no seed has a run of the baseline both on {name} and on the clean store.",)
    sizes = (
        f"The baseline has a mean AUC of {mean_words(estimates.auc[BASELINE][MACRO])} where it was trained "
        f"on {name}, and of {mean_words(found.clean)} where it was trained on the clean store: the gap is "
        f"{mean_words(found.size)}."
    )
    if found.lack == "no gap":
        why = f"{lead}the interval of the gap is not above 0, so that there is nothing to divide by."
        return (sizes, why)
    return (sizes, _pairing_words(found))


def _pairing_words(found: Gaps) -> str:
    if found.shared == found.seeds:
        return (
            "Runs are paired by seed, and both stores have the same test patients: all AUCs are on the same "
            "resamples of them."
        )
    others = "all seeds" if not found.shared else f"{found.seeds - found.shared} of {found.seeds} seeds"
    return (
        f"Runs are paired by seed, but for {others} the clean store has other test patients: there its AUC "
        "is on resamples of its own, and the interval is wider than if they were the same."
    )


def names_of(results: ReasonsResults) -> str:
    """List the stores with a confounder."""
    return listed([*results.confounded])
