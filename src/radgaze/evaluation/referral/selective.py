"""The rule by which cases are referred: a threshold on an uncertainty score, chosen on validation cases."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from radgaze import records
from radgaze.errors import UserError, call
from radgaze.evaluation.metrics import confidence
from radgaze.evaluation.metrics.confidence import Kind
from radgaze.evaluation.referral.options import Goal, GoalName, ScoreName
from radgaze.records import Record

FILE = "selective.json"
SYMBOLS: dict[ScoreName, str] = {
    "alpha": "D_α",
    "beta": "D_β",
    "maximum": "1 − maximum probability",
    "entropy": "entropy",
}

Floats = NDArray[np.float64]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Positive = Annotated[float, Field(strict=True, allow_inf_nan=False, gt=0)]
NotNegative = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0)]


class Decision(NamedTuple):
    """A decision on a prediction.

    Attributes:
        accept: Whether the prediction is accepted; otherwise the case is referred.
        reason: The reason, in words.
        score: Uncertainty score, higher for less confident predictions.
    """

    accept: bool
    reason: str
    score: float


@dataclass(frozen=True)
class ReferralValidation:
    """Results of a threshold on the validation cases.

    Attributes:
        cases: Number of cases.
        errors: Number of cases that are predicted wrong.
        coverage: Share of cases that are accepted.
        frr: Share of correct predictions that are referred; None where none is correct.
        risk: Share of errors among accepted predictions; None where none is accepted.
    """

    cases: int
    errors: int
    coverage: float
    frr: float | None
    risk: float | None

    def reached(self, goal: GoalName) -> float | None:
        """Return the figure that a goal limits."""
        return {"coverage": self.coverage, "frr": self.frr, "risk": self.risk}[goal]


@dataclass(frozen=True)
class Referral(Record):
    """A rule that accepts predictions or refers cases, chosen on the validation cases of a run.

    Attributes:
        format: Format of the file.
        classes: Names of the run's classes.
        kind: "softmax" or "sigmoid", of the probabilities.
        score: Name of one of `confidence.SCORES`.
        temperature: Temperature that logits are divided by first.
        magnitude: Magnitude of the perturbation of the image, in units of its range (0 for none, see
            `perturbation`); `decide` then takes the probabilities of the perturbed image.
        threshold: Highest score that is accepted.
        goal: Name of the goal that the threshold was chosen for, one of `GOALS`.
        value: Value of that goal.
        calibration: Temperature that minimises the validation loss (`confidence.temperature`), for
            `calibrated`.
        validation: Results of the threshold on the validation cases.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - read by pydantic

    format: Literal[1] = field(default=1, kw_only=True)
    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    kind: Kind
    score: ScoreName
    temperature: Positive
    magnitude: NotNegative
    threshold: Number
    goal: GoalName
    value: Number
    calibration: Positive
    validation: ReferralValidation

    def __post_init__(self) -> None:
        """Check that the score can be perturbed.

        Raises:
            ValueError: `magnitude` is not 0, and the score has no gradient.
        """
        if self.magnitude and self.score not in confidence.DIFFERENTIABLE:
            raise ValueError(f"images are not moved along {self.score}")

    def decide(self, probabilities: ArrayLike) -> list[Decision]:
        """Accept or refer predictions, given the model's probabilities of shape (n, C).

        Raises:
            ValueError: The probabilities have another shape.
        """
        return [self._decision(score) for score in self.scores(probabilities).tolist()]

    def scores(self, probabilities: ArrayLike) -> Floats:
        """Compute the uncertainty scores, of shape (n,), of probabilities of shape (n, C).

        Raises:
            ValueError: The probabilities have another shape.
        """
        p = np.asarray(probabilities, dtype=np.float64)
        if p.ndim != 2 or p.shape[1] != len(self.classes):
            raise ValueError(f"probabilities must have shape (n, {len(self.classes)}), got {p.shape}")
        return confidence.distrust(self.score, confidence.tempered(p, self.temperature, self.kind), self.kind)

    def calibrated(self, probabilities: ArrayLike) -> Floats:
        """Return probabilities of shape (n, C) after temperature scaling."""
        return confidence.tempered(probabilities, self.calibration, self.kind)

    def write(self, folder: Path) -> Path:
        """Write the rule into a run's folder; return the path of the file."""
        records.write(self, folder / FILE)
        return folder / FILE

    @classmethod
    def read(cls, folder: Path) -> Referral | None:
        """Read the rule of a run's folder; None where no rule has been chosen yet.

        Raises:
            UserError: The file is damaged, or of another format.
        """
        path = folder / FILE
        advice = f"choose the rule again: {call('evaluate', folder, reject=True)}"
        return records.read(cls, path, advice) if path.is_file() else None

    def _decision(self, score: float) -> Decision:
        accept = score <= self.threshold
        where = "within" if accept else "above"
        return Decision(accept, f"{SYMBOLS[self.score]} {score:.3f} is {where} {self.threshold:.3f}", score)


def choose(  # many arguments: what a `Referral` keeps, given by name
    probabilities: ArrayLike,
    labels: ArrayLike,
    *,
    classes: tuple[str, ...],
    kind: Kind,
    exclusive: bool,
    score: ScoreName,
    goal: Goal,
    temperature: float = 1.0,
    magnitude: float = 0.0,
    calibration: float = 1.0,
    given: ArrayLike | None = None,
) -> Referral:
    """Choose the threshold on validation cases.

    For a coverage it is the lowest threshold that accepts at least this share of the cases; for an FRR, the
    lowest that refers at most this share of the correct predictions; for a risk, the highest at which at most
    this share of the accepted predictions are wrong, or, if there is none, a threshold below all scores. The
    goal holds on the validation cases; how closely it holds on other cases depends on their number.

    Args:
        probabilities: Probabilities of the validation cases, of shape (n, C), which give the predictions.
        labels: Labels of shape (n, C).
        classes: Names of the classes.
        kind: See `Referral`.
        exclusive: Whether each case has exactly one class.
        score: See `Referral`.
        goal: The goal.
        temperature: See `Referral`.
        magnitude: See `Referral`.
        calibration: See `Referral`.
        given: Probabilities of the perturbed images, of shape (n, C), which are scored; None where there is
            no perturbation.

    Raises:
        UserError: There are no cases or, for FRR, no correct predictions.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    if not len(p):
        raise UserError("the run has no validation cases to choose a threshold on")
    errors = confidence.wrong(p, labels, exclusive=exclusive)
    scores = confidence.distrust(
        score, confidence.tempered(p if given is None else given, temperature, kind), kind
    )
    threshold = _threshold(scores, errors, goal)
    accepted = scores <= threshold
    right = int((~errors).sum())
    validation = ReferralValidation(
        cases=len(p),
        errors=int(errors.sum()),
        coverage=float(accepted.mean()),
        frr=float((~accepted & ~errors).sum() / right) if right else None,
        risk=float(errors[accepted].mean()) if accepted.any() else None,
    )
    return Referral(
        classes=classes,
        kind=kind,
        score=score,
        temperature=temperature,
        magnitude=magnitude,
        threshold=threshold,
        goal=goal.name,
        value=goal.value,
        calibration=calibration,
        validation=validation,
    )


def _threshold(scores: Floats, errors: NDArray[np.bool_], goal: Goal) -> float:
    if goal.name == "risk":
        ordered = np.sort(scores)
        _, risk = confidence.risk_coverage(errors, scores)
        fits = np.flatnonzero(risk <= goal.value + 1e-12)
        # The highest score at which the risk still fits: `risk` has one entry for each distinct score.
        return float(np.unique(ordered)[fits[-1]]) if len(fits) else _below(ordered[0])
    counted = scores if goal.name == "coverage" else scores[~errors]
    if not len(counted):
        raise UserError(
            "no prediction of the validation cases is right, so their FRR is undefined; choose a coverage"
        )
    share = goal.value if goal.name == "coverage" else 1 - goal.value
    count = int(np.ceil(share * len(counted) - 1e-9))
    ordered = np.sort(counted)
    return float(ordered[count - 1]) if count else _below(ordered[0])


def _below(score: float) -> float:
    """Return a threshold that accepts nothing, for scores that are not negative."""
    return float(np.nextafter(score, -np.inf))
