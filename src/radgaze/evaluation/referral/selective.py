"""When to refer a case to a radiologist: a threshold on a score of doubt, chosen on validation cases."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radgaze.errors import UserError
from radgaze.evaluation.metrics import confidence
from radgaze.evaluation.metrics.confidence import Kind
from radgaze.files import read_json, write_text

FORMAT = 1
FILE = "selective.json"
GOALS = {
    "coverage": "share of all predictions that are accepted",
    "frr": "share of the right predictions that are referred",
    "risk": "share of errors among the accepted predictions",
}
NAMES = {
    "alpha": "D_α",
    "beta": "D_β",
    "maximum": "1 − maximum probability",
    "entropy": "entropy",
}

Floats = NDArray[np.float64]


class Decision(NamedTuple):
    """What becomes of a prediction.

    Attributes:
        accept: Whether it is accepted; else the case is referred.
        reason: Why, in words.
        score: How little it is to be trusted.
    """

    accept: bool
    reason: str
    score: float


@dataclass(frozen=True)
class Goal:
    """What a threshold is to reach on the validation cases.

    Attributes:
        name: One of `GOALS`.
        value: A share, in [0, 1].
    """

    name: str
    value: float

    @classmethod
    def parse(cls, text: str) -> Goal:
        """From "coverage=0.9" and the like.

        Raises:
            UserError: It is nothing like that.
        """
        name, _, value = text.partition("=")
        try:
            share = float(value)
        except ValueError:
            share = float("nan")
        if name not in GOALS or not 0 <= share <= 1:
            known = ", ".join(f"{goal}=SHARE ({words})" for goal, words in GOALS.items())
            raise UserError(f"--goal {text}: it is one of {known}, the share from 0 to 1")
        return cls(name, share)


@dataclass(frozen=True)
class Referral:
    """Whether to accept a prediction, as chosen on the validation cases of a run.

    Attributes:
        classes: The run's.
        kind: "softmax" for classes that exclude each other, or "sigmoid".
        score: Name of one of `confidence.SCORES`.
        temperature: That logits are divided by first.
        magnitude: Of the perturbation of the image, in units of its range (0 for none, see `perturbation`);
            `decide` then takes the probabilities of the perturbed image.
        threshold: The highest score that is accepted.
        goal, value: What the threshold was chosen for.
        calibration: The temperature that makes probabilities the most likely (`confidence.temperature`),
            which `calibrated` divides by.
        validation: cases, errors, coverage, frr and risk there.
    """

    classes: tuple[str, ...]
    kind: Kind
    score: str
    temperature: float
    magnitude: float
    threshold: float
    goal: str
    value: float
    calibration: float
    validation: dict[str, float | None]

    def decide(self, probabilities: ArrayLike) -> list[Decision]:
        """Accept or refer predictions, (n, C) probabilities as the model gives them."""
        return [self._decision(score) for score in self.scores(probabilities).tolist()]

    def scores(self, probabilities: ArrayLike) -> Floats:
        """How little predictions (n, C) are to be trusted, (n,)."""
        p = np.asarray(probabilities, dtype=np.float64)
        if p.ndim != 2 or p.shape[1] != len(self.classes):
            raise ValueError(f"probabilities are (n, {len(self.classes)}); these are {p.shape}")
        return confidence.distrust(self.score, confidence.tempered(p, self.temperature, self.kind), self.kind)

    def calibrated(self, probabilities: ArrayLike) -> Floats:
        """Probabilities (n, C) as temperature scaling has them."""
        return confidence.tempered(probabilities, self.calibration, self.kind)

    def write(self, folder: Path) -> Path:
        """Write it into a run's folder."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=2, ensure_ascii=False)
        write_text(text + "\n", folder / FILE)
        return folder / FILE

    @classmethod
    def read(cls, folder: Path) -> Referral | None:
        """What a run's folder holds, None where nothing was chosen yet.

        Raises:
            UserError: The file is broken, or of another format.
        """
        path = folder / FILE
        if not path.is_file():
            return None
        advice = f"choose anew: radgaze evaluate {folder} --reject"
        found: dict[str, Any] = read_json(path, lambda found: isinstance(found, dict), advice)
        try:
            if found.pop("format") != FORMAT:
                raise ValueError("another format")
            return cls(**_checked(found))
        # The last: an integer that no float holds.
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise UserError(f"{path} cannot be used; {advice}") from error

    def _decision(self, score: float) -> Decision:
        accept = score <= self.threshold
        words = f"{NAMES[self.score]} {score:.3f} is {'within' if accept else 'above'} {self.threshold:.3f}"
        return Decision(accept, words, score)


def choose(  # many arguments: what a `Referral` keeps, given by name
    probabilities: ArrayLike,
    labels: ArrayLike,
    *,
    classes: tuple[str, ...],
    kind: Kind,
    score: str,
    goal: Goal,
    temperature: float = 1.0,
    magnitude: float = 0.0,
    calibration: float = 1.0,
    given: ArrayLike | None = None,
) -> Referral:
    """Choose the threshold on validation cases.

    Coverage: the lowest threshold that accepts as many. FRR: the lowest that refers no more of what is right.
    Risk: the highest at which no more of what is accepted is wrong, and below all scores where there is none.
    These hold on the validation cases; on others they hold about as well as those are many.

    Args:
        probabilities: (n, C) of the validation cases' images, which say what is predicted.
        labels: (n, C).
        classes: Names.
        kind: See `Referral`.
        score: See `Referral`.
        goal: What is to be reached.
        temperature: See `Referral`.
        magnitude: See `Referral`.
        calibration: See `Referral`.
        given: (n, C) of the perturbed images, which are scored; None where there is no perturbation.

    Raises:
        UserError: There is no case, or, for FRR, none that is right.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    if not len(p):
        raise UserError("the run has no validation cases to choose a threshold on")
    errors = confidence.wrong(p, labels, kind)
    seen = confidence.tempered(p if given is None else given, temperature, kind)
    scores = confidence.distrust(score, seen, kind)
    threshold = _threshold(scores, errors, goal)
    accepted = scores <= threshold
    right = int((~errors).sum())
    validation: dict[str, float | None] = {
        "cases": len(p),
        "errors": int(errors.sum()),
        "coverage": float(accepted.mean()),
        "frr": float((~accepted & ~errors).sum() / right) if right else None,
        "risk": float(errors[accepted].mean()) if accepted.any() else None,
    }
    return Referral(
        classes,
        kind,
        score,
        temperature,
        magnitude,
        threshold,
        goal.name,
        goal.value,
        calibration,
        validation,
    )


def _checked(found: dict[str, Any]) -> dict[str, Any]:
    """The fields of a rule that a file holds; a ValueError where one is none that `choose` makes."""
    classes = found["classes"]
    if not (isinstance(classes, list) and classes and all(isinstance(name, str) for name in classes)):
        raise ValueError("no classes")
    if found["score"] not in confidence.SCORES or found["kind"] not in get_args(Kind):
        raise ValueError("an unknown score")
    if found["goal"] not in GOALS or not isinstance(found["validation"], dict):
        raise ValueError("an unknown goal")
    for name in ("temperature", "magnitude", "threshold", "calibration", "value"):
        if type(found[name]) not in (int, float) or not math.isfinite(found[name]):
            raise ValueError(f"{name} is no number")
    if min(found["temperature"], found["calibration"]) <= 0 or found["magnitude"] < 0:
        raise ValueError("out of range")
    if found["magnitude"] and found["score"] not in confidence.DIFFERENTIABLE:
        raise ValueError("images are not moved along this score")
    return {**found, "classes": tuple(classes)}


def _threshold(scores: Floats, errors: NDArray[np.bool_], goal: Goal) -> float:
    if goal.name == "risk":
        ordered = np.sort(scores)
        _, risk = confidence.risk_coverage(errors, scores)
        fits = np.flatnonzero(risk <= goal.value + 1e-12)
        # As many of the scores as are no greater than the last that fits.
        return float(np.unique(ordered)[fits[-1]]) if len(fits) else _below(ordered[0])
    counted = scores if goal.name == "coverage" else scores[~errors]
    if not len(counted):
        raise UserError(
            "no prediction of the validation cases is right: there is no FRR to keep below; choose a coverage"
        )
    share = goal.value if goal.name == "coverage" else 1 - goal.value
    count = int(np.ceil(share * len(counted) - 1e-9))
    ordered = np.sort(counted)
    return float(ordered[count - 1]) if count else _below(ordered[0])


def _below(score: float) -> float:
    """A threshold that accepts nothing, of scores that are not negative."""
    return float(np.nextafter(score, -np.inf))
