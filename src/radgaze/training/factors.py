"""The factors of the weights in a training step: schedules, and the balance of the terms at the start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from radgaze.objectives import schedules
from radgaze.objectives.config import ObjectiveConfig
from radgaze.objectives.triangle import GAMMA

STEPS = 10
"""Number of steps at the start over which a term is balanced."""

_CLASSIFICATION = "classification"
_STEPS, _SUM, _BESIDE = "steps of ", "sum of ", "classification beside "


class Factors:
    """The factors of γ and of the terms' weights.

    The balance of a term is the ratio of the mean classification loss to the mean of the term, over the steps
    of training so far in which the term has cases, and at most the first ten of them; it is constant
    afterwards. It is 1 while the mean of the term is not positive.

    Args:
        config: Settings of the objective.
    """

    def __init__(self, config: ObjectiveConfig) -> None:
        self._schedules = {GAMMA: schedules.parse(config.gamma_schedule)}
        self._schedules |= {name: schedules.parse(term.schedule) for name, term in config.weights.items()}
        balanced = (name for name, term in config.weights.items() if term.balance == "start")
        self._balances = {name: _Balance() for name in balanced}

    @property
    def counting(self) -> bool:
        """Whether a term is still being balanced."""
        return any(balance.steps < STEPS for balance in self._balances.values())

    def at(
        self,
        progress: float,
        terms: Mapping[str, Tensor],
        cases: Mapping[str, Tensor],
        mean: Callable[[Tensor], float],
    ) -> dict[str, float]:
        """Compute the factors of a step, by the name of the term, and of γ as "gamma".

        Args:
            progress: Share of the training that is done, in [0, 1].
            terms: Values of the terms in this step.
            cases: Number of cases of each balanced term in this step, which may be left out unless
                `counting`.
            mean: Function that takes the mean of a value over all processes.
        """
        for name, balance in self._balances.items():
            if balance.steps < STEPS and mean(cases[name]) > 0:
                balance.add(mean(terms[name]), mean(terms[_CLASSIFICATION]))
        factors = {name: schedule(progress) for name, schedule in self._schedules.items()}
        for name, balance in self._balances.items():
            factors[name] *= balance.factor
        return factors

    def state(self) -> dict[str, float]:
        """The state, for a checkpoint; empty where nothing is balanced."""
        state: dict[str, float] = {}
        for name, balance in self._balances.items():
            state[_STEPS + name] = float(balance.steps)
            state[_SUM + name] = balance.term
            state[_BESIDE + name] = balance.classification
        return state

    def restore(self, state: Mapping[str, float]) -> None:
        """Restore the state of a checkpoint."""
        for name in self._balances:
            self._balances[name] = _Balance(
                int(state.get(_STEPS + name, 0)), state.get(_SUM + name, 0.0), state.get(_BESIDE + name, 0.0)
            )


@dataclass
class _Balance:
    """The sums of a term and of the classification loss over the steps in which the term had cases."""

    steps: int = 0
    term: float = 0.0
    classification: float = 0.0

    def add(self, term: float, classification: float) -> None:
        self.steps += 1
        self.term += term
        self.classification += classification

    @property
    def factor(self) -> float:
        return self.classification / self.term if self.term > 0 else 1.0
