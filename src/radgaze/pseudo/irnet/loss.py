"""The loss of IRNet, from confident pixels of maps."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from radgaze.pseudo.irnet.network import Relations
from radgaze.pseudo.irnet.paths import affinities, ends, paths
from radgaze.pseudo.options import INSIDE, OUTSIDE

RADIUS = 10
"""Distance in pixels of a quarter's size from which on pixels are no pair (section 3.2 of the paper)."""
UNSURE = -1
"""Label of a pixel in between, which is in no pair."""
EPS = 1e-5
"""Smallest argument of the logarithms, as implemented in the authors' code."""


class Terms(NamedTuple):
    """Terms of the loss, each a mean over pairs of a batch; 0 where there is no such pair.

    Attributes:
        same_foreground: −log a over pairs inside the same class.
        same_background: −log a over pairs outside.
        different: −log(1 − a) over pairs of different labels.
        foreground_displacement: |δ − δ̂| over pairs inside the same class.
        background_displacement: |δ̂| over pairs outside.
    """

    same_foreground: Tensor
    same_background: Tensor
    different: Tensor
    foreground_displacement: Tensor
    background_displacement: Tensor

    def total(self) -> Tensor:
        """The loss: (L⁺ + L⁻)/2 + (L_fg + L_bg)/2, as implemented in the authors' code."""
        same = (self.same_foreground + self.same_background) / 2
        displaced = (self.foreground_displacement + self.background_displacement) / 2
        return (same + self.different) / 2 + displaced


def confident_labels(maps: Tensor, inside: float = INSIDE, outside: float = OUTSIDE) -> Tensor:
    """Labels of confident pixels, from the maps of the classes of each case.

    The authors smooth the maps by a conditional random field before; here they are taken as they are.

    Args:
        maps: Maps (B, C, h, w) in [0, 1]; zeros for a class that a case does not have.
        inside: Value above which a pixel is inside.
        outside: Value below which a pixel is outside.

    Returns:
        (B, h, w): 0 outside, 1 + k inside class k, `UNSURE` between.
    """
    highest, classes = maps.max(1)
    labels = torch.full_like(classes, UNSURE)
    labels[highest < outside] = 0
    return torch.where(highest > inside, classes + 1, labels)


def loss_terms(relations: Relations, labels: Tensor, radius: int = RADIUS) -> Terms:
    """Compute the terms of the loss (equations 3, 4 and 8 of the paper).

    Args:
        relations: Output of the network.
        labels: Labels (B, h, w), see `confident_labels`.
        radius: Distance from which on pixels are no pair.
    """
    other = torch.stack(list(ends(labels.float(), radius, UNSURE)), 1)
    first = labels[:, None].float()
    sure = (first != UNSURE) & (other != UNSURE)
    same = sure & (first == other)
    foreground, background, different = same & (first > 0), same & (first == 0), sure & (first != other)
    affinity = affinities(relations.boundary, radius)
    # D(i) − D(j) is to be the offset from i to j, so that both lead to the same middle.
    moved = [relations.displacement - end for end in ends(relations.displacement, radius, 0.0)]
    estimated = torch.stack(moved, 1)
    offsets = estimated.new_tensor([path.end for path in paths(radius)])[None, :, :, None, None]
    return Terms(
        same_foreground=_mean(-(affinity + EPS).log(), foreground),
        same_background=_mean(-(affinity + EPS).log(), background),
        different=_mean(-(1 + EPS - affinity).log(), different),
        foreground_displacement=_mean((offsets - estimated).abs().sum(2), foreground),
        background_displacement=_mean(estimated.abs().sum(2), background),
    )


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    """The mean of the chosen values; 0 without any."""
    return (values * chosen).sum() / chosen.sum().clamp_min(1)
