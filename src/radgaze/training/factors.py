"""The factors of the weights in a training step: schedules, and the balance of the terms at the start."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from radgaze.objectives import schedules
from radgaze.objectives.config import ObjectiveConfig
from radgaze.objectives.triangle import GAMMA

STEPS = 10
"""Number of steps at the start over which the terms are balanced."""

_CLASSIFICATION, _SUM = "classification", "sum of "


class Factors:
    """The factors of γ and of the terms' weights.

    The balance of a term is the ratio of the mean classification loss to the mean of the term, over all steps
    of training so far and at most the first ten; it is constant afterwards. It is 1 while the mean of the
    term is not positive.

    Args:
        config: Settings of the objective.
    """

    def __init__(self, config: ObjectiveConfig) -> None:
        self._schedules = {GAMMA: schedules.parse(config.gamma_schedule)}
        self._schedules |= {name: schedules.parse(term.schedule) for name, term in config.weights.items()}
        self._balanced = [name for name, term in config.weights.items() if term.balance == "start"]
        self._sums: dict[str, float] = {}
        self._steps = 0

    def at(
        self, progress: float, terms: Mapping[str, Tensor], mean: Callable[[Tensor], float]
    ) -> dict[str, float]:
        """Compute the factors of a step, by the name of the term, and of γ as "gamma".

        A step among the first ten is added to the means of the balance.

        Args:
            progress: Share of the training that is done, in [0, 1].
            terms: Values of the terms in this step.
            mean: Function that takes the mean of a value over all processes.
        """
        if self._balanced and self._steps < STEPS:
            for name in (_CLASSIFICATION, *self._balanced):
                self._sums[name] = self._sums.get(name, 0.0) + mean(terms[name])
            self._steps += 1
        factors = {name: schedule(progress) for name, schedule in self._schedules.items()}
        for name in self._balanced:
            if self._sums[name] > 0:
                factors[name] *= self._sums[_CLASSIFICATION] / self._sums[name]
        return factors

    def state(self) -> dict[str, float]:
        """The state, for a checkpoint; empty where nothing is balanced."""
        sums = {f"{_SUM}{name}": value for name, value in self._sums.items()}
        return {"steps": float(self._steps), **sums} if self._balanced else {}

    def restore(self, state: Mapping[str, float]) -> None:
        """Restore the state of a checkpoint."""
        sums = {name.removeprefix(_SUM): value for name, value in state.items() if name.startswith(_SUM)}
        self._sums = {name: float(value) for name, value in sums.items()}
        self._steps = int(state.get("steps", 0))
