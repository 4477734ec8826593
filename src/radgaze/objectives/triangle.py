"""The loss: classification, the triangle of gaze G, mask M and heatmap H, and further terms.

An experiment is a choice of weights on the edges of the triangle, and of further terms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from radgaze.objectives.config import ObjectiveConfig
from radgaze.objectives.step import ForwardPass, Maps, MissingError, Step
from radgaze.objectives.terms import Term, further, needs_boxes, needs_gaze
from radgaze.objectives.terms.edge import Edge

__all__ = ["ALONE", "Maps", "Shares", "classification", "objective", "probabilities", "terms", "total"]

GAMMA = "gamma"
"""Name of γ among the factors."""


@dataclass(frozen=True)
class Shares:
    """The size of this process's batch, over the mean of all processes' batches.

    Terms are means over cases; times these, the mean of all processes' terms is that over all their cases,
    also where one of them has more cases, or more cases with gaze.

    Attributes:
        cases: Share by the number of cases.
        gaze: Share by the number of cases with gaze.
        boxes: Share by the number of cases with boxes or regions.
    """

    cases: Tensor | float = 1.0
    gaze: Tensor | float = 1.0
    boxes: Tensor | float = 1.0


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
    """loss = γ · classification + (1 − γ) · Σ weight · term, and its terms.

    Without any term with weight the loss is the classification alone, whatever γ.

    Args:
        logits: Class scores (B, C).
        labels: Labels (B, C), 0 or 1.
        maps: Maps of the batch; a case without gaze adds nothing to a term with G.
        config: Settings: γ, edges, distances, further terms.
        shares: Share of this batch in the batches of all processes.
        forward: The forward pass, which some terms need.
        factors: Factors of γ ("gamma") and of the weights, by the name of the term; 1 where there is none.

    Returns:
        "loss", "classification" and one entry for each term with weight, all scalars.

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


def _mean(term: Term, step: Step, shares: Shares) -> Tensor:
    """The mean of a term over the cases that count."""
    share = shares.gaze
    if needs_boxes(term):
        step, share = step.with_boxes_as_gaze(), shares.boxes
    elif not needs_gaze(term):
        return shares.cases * term.values(step).mean()
    has_gaze = step.maps.has_gaze
    per_case = torch.where(has_gaze, term.values(step.for_cases_with_gaze()), 0)
    return share * (per_case.sum() / has_gaze.sum().clamp(min=1))


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
    """The mean over classes of sigmoid cross-entropy, else softmax cross-entropy over exclusive classes."""
    logits = logits.float()
    if kind == "sigmoid":
        return F.binary_cross_entropy_with_logits(logits, labels.float())
    return F.cross_entropy(logits, labels.argmax(1))


def probabilities(logits: Tensor, kind: str) -> Tensor:
    """Class probabilities (B, C) under the same choice: under sigmoid they need not sum to 1."""
    return logits.float().sigmoid() if kind == "sigmoid" else logits.float().softmax(1)
