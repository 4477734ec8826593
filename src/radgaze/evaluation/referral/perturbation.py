"""DOCTOR with perturbed images: a small step of the image lowers the score before it is computed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from radgaze.attribution.engine.modes import evaluating
from radgaze.attribution.engine.turns import alone
from radgaze.double import double
from radgaze.evaluation.metrics.confidence import DIFFERENTIABLE, Kind
from radgaze.evaluation.referral.selective import Referral
from radgaze.objectives.triangle import probabilities


def perturbed(
    model: nn.Module,
    images: Tensor,
    magnitudes: Sequence[float],
    *,
    score: str,
    kind: Kind,
    temperature: float = 1.0,
    also: Sequence[Tensor] = (),
) -> list[Tensor]:
    """Compute the probabilities (B, C) of images x − ε·sign(∂ log D/∂x) for each ε.

    See Granese et al. (2021), section 4.1. The step reduces the score of wrong predictions less than that of
    correct ones. The images are clipped to [0, 1]. For classes that are not exclusive, D is that of the most
    uncertain class.

    Args:
        model: Model whose output has `logits`. It is put into evaluation mode, and restored afterwards.
        images: Images of shape (B, 1, H, W) in [0, 1].
        magnitudes: Magnitudes ε, in units of the image's range.
        score: Discriminator D, "alpha" or "beta".
        kind: Function that turns logits into probabilities, "softmax" or "sigmoid".
        temperature: Temperature of D only; the returned probabilities are without temperature.
        also: Further inputs of the model after the images.

    Raises:
        ValueError: `score` has no gradient, see `DIFFERENTIABLE`.
    """
    if score not in DIFFERENTIABLE:
        raise ValueError(f"`score` must be alpha or beta to perturb images, not {score}")
    results = []
    with alone(model), evaluating(model, parameters=True):
        with torch.enable_grad():
            x = images.detach().clone().requires_grad_()
            p = probabilities(double(model(x, *also).logits) / temperature, kind).double()
            (slope,) = torch.autograd.grad(_log(p, score, kind).sum(), x)
        with torch.no_grad():
            for magnitude in magnitudes:
                moved = (images - magnitude * slope.sign()).clamp(0, 1)
                results.append(double(probabilities(model(moved, *also).logits, kind)))
    return results


def given(
    rule: Referral, model: nn.Module, images: Tensor, plain: ArrayLike, also: Sequence[Tensor] = ()
) -> NDArray[np.float64]:
    """Return the probabilities (B, C) that a rule uses: the predicted ones, or those of the perturbed images.

    Args:
        rule: The rule.
        model: Model whose output has `logits`.
        images: Images of shape (B, 1, H, W) in [0, 1].
        plain: Predicted probabilities, of shape (B, C).
        also: Further inputs of the model after the images.
    """
    if not rule.magnitude:
        return np.asarray(plain, dtype=np.float64)
    (moved,) = perturbed(
        model,
        images,
        (rule.magnitude,),
        score=rule.score,
        kind=rule.kind,
        temperature=rule.temperature,
        also=also,
    )
    return moved.cpu().numpy()


def _log(p: Tensor, score: str, kind: Kind) -> Tensor:
    """Return log D of shape (B,), differentiable."""
    least = 1e-12
    if kind == "sigmoid":
        p = torch.stack([p, 1 - p], -1)
    trust = p.square().sum(-1) if score == "alpha" else p.amax(-1)
    log = (1 - trust).clamp(min=least).log() - trust.log()
    return log.amax(1) if kind == "sigmoid" else log
