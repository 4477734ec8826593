"""The loss: classification, the triangle of gaze G, mask M and heatmap H, and further terms.

An experiment is a choice of weights on the edges of the triangle, and of further terms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from radgaze.objectives.config import ObjectiveConfig
from radgaze.objectives.step import ForwardPass, Maps, MissingError, Step
from radgaze.objectives.terms import Term, further, needs_boxes, needs_parts
from radgaze.objectives.terms.edge import Edge

__all__ = [
    "ALONE",
    "Maps",
    "Shares",
    "cases",
    "classification",
    "objective",
    "probabilities",
    "terms",
    "total",
]

GAMMA = "gamma"
"""Name of γ among the factors."""


@dataclass(frozen=True)
class Shares:
    """The size of this process's batch, divided by the mean size of all processes' batches.

    Terms are means over the cases of one process. Multiplied by these shares, their mean over processes
    equals the mean over all cases, also where processes differ in their numbers of cases, or of cases with
    gaze.

    Attributes:
        cases: Share by the number of cases.
        gaze: Share by the number of cases with gaze.
        boxes: Share by the number of cases with boxes or regions.
        share_of: Function that returns the share by the number of other cases, (B,) bool; None if all are 1.
    """

    cases: Tensor | float = 1.0
    gaze: Tensor | float = 1.0
    boxes: Tensor | float = 1.0
    share_of: Callable[[Tensor], Tensor] | None = None


ALONE = Shares()


def objective(
    logits: Tensor,
    labels: Tensor,
    maps: Maps,
    config: ObjectiveConfig,
    shares: Shares = ALONE,
    *,
    forward: ForwardPass | None = None,
    factors: Mapping[str, float] | None = None,
) -> dict[str, Tensor]:
    """Compute loss = γ · classification + (1 − γ) · Σ weight · term, and its terms.

    If no term has a weight above 0, the loss is the classification alone, whatever γ is.

    Args:
        logits: Class scores (B, C).
        labels: Labels (B, C), 0 or 1.
        maps: Maps of the batch; a term with maps that not every case has is the mean over those that have.
        config: Settings: γ, edges, distances, further terms.
        shares: Share of this batch in the batches of all processes.
        forward: The forward pass, which some terms need.
        factors: Factors of γ ("gamma") and of the weights, by the name of the term; 1 where there is none.

    Returns:
        "loss", "classification" and one entry for each term with a weight above 0, all scalars; terms are not
        multiplied by their weights.

    Raises:
        MissingError: A term needs a map or an output that is missing.
    """
    values = terms(logits, labels, maps, config, shares, forward=forward)
    return {"loss": total(values, config, factors or {}), **values}


def terms(
    logits: Tensor,
    labels: Tensor,
    maps: Maps,
    config: ObjectiveConfig,
    shares: Shares = ALONE,
    *,
    forward: ForwardPass | None = None,
) -> dict[str, Tensor]:
    """The terms of the loss without their weights; see `objective`."""
    values = {"classification": shares.cases * classification(logits, labels, config.classification)}
    step = Step(maps, labels, config, forward)
    with torch.autocast(logits.device.type, enabled=False):
        for name, term in with_weight(config).items():
            try:
                values[name] = _mean(term, step, shares)
            except MissingError as error:
                raise MissingError(f"the term {name}: {error}") from None
    return values


def cases(maps: Maps, config: ObjectiveConfig) -> dict[str, Tensor]:
    """The number of cases that each term is the mean of, as a float scalar, by the name of the term."""
    step, counts = Step(maps, maps.has_gaze, config), {}
    for name, term in with_weight(config).items():
        counted = _counting(term, step).counted
        counts[name] = (torch.ones_like(maps.has_gaze) if counted is None else counted).sum().float()
    return counts


def _counting(term: Term, step: Step) -> Step:
    """The step for the cases that a term is the mean of."""
    return (step.with_boxes_as_gaze() if needs_boxes(term) else step).for_cases_with(term.maps)


def _mean(term: Term, step: Step, shares: Shares) -> Tensor:
    """The mean of a term over the cases that count."""
    step, share = _counting(term, step), shares.boxes if needs_boxes(term) else shares.gaze
    if step.counted is None:
        return shares.cases * term.values(step).mean()
    if needs_parts(term):
        share = 1.0 if shares.share_of is None else shares.share_of(step.counted)
    per_case = torch.where(step.counted, term.values(step), 0)
    return share * (per_case.sum() / step.counted.sum().clamp(min=1))


def total(values: Mapping[str, Tensor], config: ObjectiveConfig, factors: Mapping[str, float]) -> Tensor:
    """The loss of the terms that `terms` returned."""
    weights = config.weights
    if not weights:
        return values["classification"]
    weighted = sum(
        (weights[name].weight * factors.get(name, 1.0) * values[name] for name in weights),
        torch.zeros_like(values["classification"]),
    )
    gamma = config.gamma * factors.get(GAMMA, 1.0)
    return gamma * values["classification"] + (1 - gamma) * weighted


def with_weight(config: ObjectiveConfig) -> dict[str, Term]:
    """The edges of the triangle and the further terms that have weight, by name."""
    edges = {edge.value: Edge.of_triangle(edge, settings) for edge, settings in config.edges.items()}
    return {**edges, **further(config)}


def classification(logits: Tensor, labels: Tensor, kind: str) -> Tensor:
    """Compute the classification loss, a scalar mean over cases.

    Args:
        logits: Class scores (B, C).
        labels: Labels (B, C), 0 or 1.
        kind: "sigmoid" for binary cross-entropy, also averaged over classes; otherwise softmax cross-entropy,
            for classes that exclude each other.
    """
    logits = logits.float()
    if kind == "sigmoid":
        return F.binary_cross_entropy_with_logits(logits, labels.float())
    return F.cross_entropy(logits, labels.argmax(1))


def probabilities(logits: Tensor, kind: str) -> Tensor:
    """Compute class probabilities (B, C): sigmoid, whose sum need not be 1, or softmax."""
    return logits.float().sigmoid() if kind == "sigmoid" else logits.float().softmax(1)
