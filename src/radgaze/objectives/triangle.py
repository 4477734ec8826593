"""The triangle of maps: gaze G, mask M, heatmap H. An experiment is a choice of weights on its edges."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from radgaze.objectives import distances
from radgaze.objectives.config import Edge, EdgeConfig, Map, ObjectiveConfig
from radgaze.objectives.matching import match, pyramid


@dataclass(frozen=True)
class Maps:
    """The three maps of one batch, each (B, 1, H, W), or None where there is none.

    Attributes:
        gaze: Gaze maps in [0, 1]; rows of cases without gaze are ignored.
        has_gaze: Which cases have gaze, (B,) bool.
        sigma: Standard deviations (σy, σx) of the gaze maps in pixels, (B, 2).
        mask: Mask logits of the decoder.
        heatmap: Raw heatmaps, not negative.
    """

    gaze: Tensor
    has_gaze: Tensor
    sigma: Tensor
    mask: Tensor | None = None
    heatmap: Tensor | None = None


@dataclass(frozen=True)
class Shares:
    """The size of this process's batch, over the mean of all processes' batches.

    Terms are means over cases; times these, the mean of all processes' terms is that over all their cases,
    also where one of them has more cases, or more cases with gaze.

    Attributes:
        cases: Share by the number of cases.
        gaze: Share by the number of cases with gaze.
    """

    cases: Tensor | float = 1.0
    gaze: Tensor | float = 1.0


ALONE = Shares()


def objective(
    logits: Tensor, labels: Tensor, maps: Maps, config: ObjectiveConfig, shares: Shares = ALONE
) -> dict[str, Tensor]:
    """loss = γ · classification + (1 − γ) · Σ weight · distance(edge), and its terms.

    Without any edge the loss is the classification alone, whatever γ.

    Args:
        logits: Class scores (B, C).
        labels: Labels (B, C), 0 or 1.
        maps: Maps of the batch; a case without gaze adds nothing to an edge with G.
        config: Settings: γ, edges, distances.
        shares: Share of this batch in the batches of all processes.

    Returns:
        "loss", "classification" and one term for each edge with weight, all scalars.

    Raises:
        ValueError: An edge needs a map that is missing.
    """
    terms = {"classification": shares.cases * classification(logits, labels, config.classification)}
    edges = config.edges
    with torch.autocast(logits.device.type, enabled=False):
        for edge, settings in edges.items():
            share = shares.gaze if Map.GAZE in edge.ends else shares.cases
            terms[edge.value] = share * _edge(edge, settings, maps, config)
    if edges:
        total = sum(
            (settings.weight * terms[edge.value] for edge, settings in edges.items()),
            torch.zeros_like(logits[0, 0].float()),
        )
        loss = config.gamma * terms["classification"] + (1 - config.gamma) * total
    else:
        loss = terms["classification"]
    return {"loss": loss, **terms}


def classification(logits: Tensor, labels: Tensor, kind: str) -> Tensor:
    """The mean over classes of sigmoid cross-entropy, else softmax cross-entropy over exclusive classes."""
    logits = logits.float()
    if kind == "sigmoid":
        return F.binary_cross_entropy_with_logits(logits, labels.float())
    return F.cross_entropy(logits, labels.argmax(1))


def probabilities(logits: Tensor, kind: str) -> Tensor:
    """Class probabilities (B, C) under the same choice: under sigmoid they need not sum to 1."""
    return logits.float().sigmoid() if kind == "sigmoid" else logits.float().softmax(1)


def _edge(edge: Edge, settings: EdgeConfig, maps: Maps, config: ObjectiveConfig) -> Tensor:
    distance = distances.find(settings.distance)
    mask = None if maps.mask is None else maps.mask.float().sigmoid()
    seen = maps.has_gaze.view(-1, 1, 1, 1)
    heat, gaze = None, torch.where(seen, maps.gaze.float(), 0)
    if Map.HEATMAP in edge.ends:
        if maps.heatmap is None:
            raise ValueError(f"the edge {edge} needs a heatmap")
        heat, gaze = match(maps.heatmap.float(), gaze, maps.sigma, config.heatmap)
    if Map.MASK in edge.ends and mask is None:
        raise ValueError(f"the edge {edge} needs a model with a decoder")
    if edge is Edge.MASK_HEATMAP and heat is not None and mask is not None:
        rows, columns = heat.shape[-2:]
        mask = F.adaptive_avg_pool2d(mask, (rows, columns))
        return _distance(distance, mask, heat, config.heatmap.scales).mean()
    predicted = heat if edge.predicted is Map.HEATMAP else mask
    assert predicted is not None
    # The distance of a case without gaze may be undefined, and 0 · NaN is NaN: where() and not a product, in
    # the value and in the gradient, which ends at those cases.
    predicted = torch.where(seen, predicted, predicted.detach())
    scales = config.heatmap.scales if edge.predicted is Map.HEATMAP else (1,)
    per_case = _distance(distance, predicted, gaze, scales)
    return torch.where(maps.has_gaze, per_case, 0).sum() / maps.has_gaze.sum().clamp(min=1)


def _distance(distance: distances.Distance, p: Tensor, q: Tensor, scales: tuple[int, ...]) -> Tensor:
    return torch.stack([distance(*pyramid(p, q, scale)) for scale in scales]).mean(0)
