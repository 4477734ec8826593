"""Runs, images and predictions as the page gets them, in JSON."""

from __future__ import annotations

from math import isfinite
from typing import Any, Literal

from radgaze.errors import UserError
from radgaze.evaluation.interval_estimate import IntervalEstimate
from radgaze.evaluation.results import MACRO, Groups, read_results
from radgaze.predicting.inputs import Preparation
from radgaze.version import __version__
from radgaze.viewing.network import Network, Reading
from radgaze.viewing.service import GAZE, Service
from radgaze.viewing.shown import Shown

Json = dict[str, Any]

FIRST_CHOICES = ("grad_cam", "relevance", "guided_backprop")
"""Methods that are shown first, the first that applies where the run was not trained with one."""


def about(service: Service) -> Json:
    """Describe the runs, the limits and the store."""
    stored = service.stored
    return {
        "version": __version__,
        "runs": [run(each, service) for each in service.networks],
        "largest": service.limits.largest,
        "gaze": GAZE,
        "cases": None if stored is None else {"count": len(stored.store), "splits": stored.splits},
    }


def run(network: Network, service: Service) -> Json:
    """Describe a run: its classes, methods and what is known of its probabilities."""
    rule = network.predictor.referral
    return {
        "name": network.run.name,
        "experiment": network.run.experiment,
        "classes": network.classes,
        "exclusive": network.one_class,
        "methods": [{"name": name, "title": title} for name, title in network.methods.items()],
        "first": first_method(network),
        "voters": len(network.predictor.models),
        "rule": None if rule is None else _rule_in_words(network),
        "calibration": calibration(network),
        "notes": [*figures(network), *preparation(network, service)],
    }


def first_method(network: Network) -> str:
    """Return the method that is shown first: the one that the run was trained with, if any."""
    trained = network.run.config.objective.heatmap.generator
    names = [name for name in (trained, *FIRST_CHOICES) if name in network.methods]
    return names[0] if names else next(iter(network.methods))


def calibration(network: Network) -> str:
    """Say on one line how far the run's probabilities are from frequencies, with a 95% interval."""
    error = _macro(network, "calibration_error")
    if error is None or error.value is None:
        return "Calibration not measured."
    chance = _macro(network, "calibration_error_if_calibrated")
    by_chance = "" if chance is None or chance.value is None else f"; {_with_ends(chance, 100, 0)} by chance"
    return f"Calibration error {_with_ends(error, 100, 0)} percentage points{by_chance}."


def figures(network: Network) -> list[str]:
    """Describe how far the run can be trusted, as it was measured on its test cases, with 95% intervals."""
    auc, error = _macro(network, "auc"), _macro(network, "calibration_error")
    words = []
    if error is not None and error.value is not None:
        words.append(
            "Calibration error: how far its probabilities were from the observed frequencies, on average over"
            " its test cases; in brackets the 95% interval. By chance: that of calibrated probabilities, on"
            " as many cases."
        )
    if auc is not None and auc.value is not None:
        words.append(f"AUC on its test cases: {_with_ends(auc, 1, 2)}; 0.5 is chance.")
    return words or ["Not evaluated: how often this run is right is not known (radgaze evaluate)."]


def preparation(network: Network, service: Service) -> list[str]:
    """Say where the store's images are not made as the run's were."""
    stored = service.stored
    if stored is None:
        return []
    trained, store = Preparation.of(network.run), stored.store
    if (trained.side, trained.voi) == (store.size, store.voi):
        return []
    return [
        f"Trained on images of {trained.side} pixels a side; those of this store have {store.size}, or other "
        "greys: its predictions of cases may differ from those of the original files."
    ]


def image(shown: Shown) -> Json:
    """Describe an image."""
    rows, columns = shown.pixels.shape
    return {
        "key": shown.key,
        "rows": rows,
        "columns": columns,
        "originalRows": shown.rows,
        "originalColumns": shown.columns,
        "window": shown.window,
        "case": shown.case_id,
        "truth": shown.truth,
        "turned": shown.turned,
        "burnedIn": shown.burned_in,
        "marks": [
            {
                "label": mark.label,
                "corners": mark.corners,
                "ellipse": mark.ellipse,
                "finding": mark.finding,
            }
            for mark in shown.marks
        ],
        "fixations": [(each.x, each.y, each.duration) for each in shown.fixations],
    }


def reading(network: Network, made: Reading) -> Json:
    """Describe a prediction."""
    finite = all(isfinite(p) for p in made.probabilities)
    decision = made.decision
    return {
        "classes": [
            {
                "name": name,
                "probability": _number(made.probabilities[i]),
                "calibrated": None if made.calibrated is None else _number(made.calibrated[i]),
                "low": _number(made.of_each[:, i].min()) if len(made.of_each) > 1 else None,
                "high": _number(made.of_each[:, i].max()) if len(made.of_each) > 1 else None,
                "predicted": finite and name in made.predicted,
            }
            for i, name in enumerate(network.classes)
        ],
        "target": network.classes[int(made.probabilities.argmax())] if finite else network.classes[0],
        "decision": None
        if decision is None or not finite
        else {"accept": decision.accept, "reason": decision.reason, "score": _number(decision.score)},
        "problem": None if finite else "The network's probabilities are no finite numbers.",
    }


def _rule_in_words(network: Network) -> str:
    rule = network.predictor.referral
    assert rule is not None
    results = rule.validation
    risk = "" if results.risk is None else f", of which {results.risk:.0%} were wrong"
    where = f"{results.cases} validation cases, where it accepted {results.coverage:.0%}"
    return f"The rule was chosen on {where}{risk}."


def _macro(
    network: Network, metric: Literal["auc", "calibration_error", "calibration_error_if_calibrated"]
) -> IntervalEstimate | None:
    """A figure of the run's test cases, averaged over classes; None where it was not evaluated."""
    try:
        test = read_results(network.run.path).test
    except UserError:
        return None
    groups: Groups = getattr(test, metric)
    return groups.get(MACRO)


def _with_ends(figure: IntervalEstimate, times: int, digits: int) -> str:
    """A figure with its interval, such as 0.67 [0.58, 0.74]."""
    numbers = [
        f"{times * number:.{digits}f}"
        for number in (figure.value, figure.low, figure.high)
        if number is not None
    ]
    return numbers[0] if len(numbers) < 3 else f"{numbers[0]} [{numbers[1]}, {numbers[2]}]"


def _number(value: float) -> float | None:
    return float(value) if isfinite(value) else None
