"""Options of selective prediction: the goal of the threshold, and the score to which it applies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from radgaze.devices import check_device
from radgaze.errors import UserError
from radgaze.options import Options, option

GoalName = Literal["coverage", "frr", "risk"]
ScoreName = Literal["alpha", "beta", "maximum", "entropy"]
CandidateName = Literal[
    "alpha",
    "beta",
    "alpha_tempered",
    "beta_tempered",
    "alpha_perturbed",
    "beta_perturbed",
    "maximum",
    "entropy",
]

GOALS: dict[GoalName, str] = {
    "coverage": "share of all predictions that are accepted",
    "frr": "share of the right predictions that are referred",
    "risk": "share of errors among the accepted predictions",
}


@dataclass(frozen=True)
class Goal:
    """Goal of a threshold on the validation cases.

    Attributes:
        name: One of `GOALS`.
        value: A share, in [0, 1].
    """

    name: GoalName
    value: float

    @classmethod
    def parse(cls, text: str) -> Goal:
        """Parse a goal such as "coverage=0.9".

        Raises:
            UserError: The text has another form.
        """
        name, _, value = text.partition("=")
        try:
            share = float(value)
        except ValueError:
            share = float("nan")
        if name not in GOALS or not 0 <= share <= 1:
            forms = ", ".join(f"{goal}=SHARE ({words})" for goal, words in GOALS.items())
            raise UserError(f"`goal` must be one of {forms}, the share from 0 to 1, got {text}")
        return cls(name, share)


@dataclass(frozen=True)
class ReferralOptions(Options):
    """Options of selective prediction.

    Attributes:
        goal: Goal of the referral rule on the validation cases: coverage=SHARE of predictions accepted,
            frr=SHARE of correct predictions referred, or risk=SHARE of errors among accepted predictions.
        score: Score of the referral rule: alpha or beta (DOCTOR's), either of them with _tempered or
            _perturbed, maximum, or entropy.
        device: Device: auto (default), a GPU if there is one; cpu; cuda, or one of several such as cuda:1; or
            mps.
        resamples: Number of bootstrap resamples.
        seed: Seed of the bootstrap and of the images out of distribution.
        batch_size: Number of cases in a batch.
    """

    goal: str = "coverage=0.9"
    score: str = option("alpha", choices=lambda: get_args(CandidateName))
    device: str = option("auto", check=check_device)
    resamples: int = option(2000, at_least=1, at_most=1_000_000)
    seed: int = option(0, at_least=0, hidden=True)
    batch_size: int = option(16, at_least=1, hidden=True)

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UserError: A value is not allowed.
        """
        super().__post_init__()
        Goal.parse(self.goal)
