"""Class-activation maps: weighted sums of the feature maps A_k (B, K, h, w) that the classifier pools.

A is found during the forward pass, or is the output of `layer`. The weights are differentiated too, unless
`channel_weights="held"`, and the map is enlarged to the image by bilinear interpolation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from radgaze.attribution.engine.capture import Capture, full
from radgaze.attribution.engine.feature_maps import UnpooledError
from radgaze.attribution.engine.graph import before
from radgaze.attribution.engine.tokens import GridError
from radgaze.attribution.generator import Generator, check_option
from radgaze.attribution.generators.trials import black, reason
from radgaze.attribution.registry import register
from radgaze.attribution.targets import logits_of

ChannelWeights = Literal["exact", "held"]


class OfFeatures(Generator):
    """A generator of the feature maps that the class score pools, or of a transformer's tokens."""

    @classmethod
    def unsupported(cls, model: nn.Module, size: int = 64) -> str | None:
        """The reason why the model pools no feature maps, as some transformers; tested with black images."""
        return super().unsupported(model, size) or reason(GradCAM, model, size, (UnpooledError, GridError))


@register("cam", title="CAM")
@dataclass
class CAM(Generator):
    """H = Σ_k w_k A_k, w the linear layer's weights of the class (Zhou et al. 2016, eq. 2), signed.

    The head must be global average pooling and one linear layer, with at most drop-out in between; the
    generalisation to other heads is `hires_cam`.

    Attributes:
        channel_weights: Whether w is differentiated ("exact") or constant in the backward pass ("held").
    """

    readout: str = "sum"
    channel_weights: ChannelWeights = "exact"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option("channel_weights", self.channel_weights, get_args(ChannelWeights))

    @classmethod
    def unsupported(cls, model: nn.Module, size: int = 64) -> str | None:
        """The reason why the model has no such head, tested with a black image."""
        if any(_makes_a_map(cls, model, image) for image in black(model, size)):
            return None
        return "the model's head is not average pooling and one linear layer; grad_cam takes any"

    def attribute(self, read: Capture) -> Tensor:
        if not isinstance(read.target, Tensor):
            raise ValueError("cam explains a class; its target cannot be a function of the output")
        weight = _linear_weight(read)
        if self.channel_weights == "held":
            weight = weight.detach()
        return (weight[read.target][:, :, None, None] * read.features).sum(1, keepdim=True)


@register("grad_cam", title="Grad-CAM")
@dataclass
class GradCAM(OfFeatures):
    """H = max(Σ_k α_k A_k, 0), α_k the mean of ∂y/∂A_k over the map (Selvaraju et al. 2017, eq. 1 and 2).

    Attributes:
        channel_weights: Whether α is differentiated ("exact") or constant in the backward pass ("held"), as
            in GAIN (Li et al. 2018, section 3.1), which saves the second derivatives.
    """

    channel_weights: ChannelWeights = "exact"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option("channel_weights", self.channel_weights, get_args(ChannelWeights))

    def attribute(self, read: Capture) -> Tensor:
        A = read.features
        g = read.constant_gradient(A) if self.channel_weights == "held" else read.gradient(A)
        alpha = self.weights(g)
        return (alpha * A).sum(1, keepdim=True).clamp(min=0)

    def weights(self, g: Tensor) -> Tensor:
        """The weights α (B, K, 1, 1) of the channels, given g = ∂y/∂A (B, K, h, w)."""
        return g.mean((2, 3), keepdim=True)


@register("grad_cam_positive", title="Grad-CAM, positive gradients")
class GradCAMPositive(GradCAM):
    """Grad-CAM of positive gradients alone: α_k the mean of max(∂y/∂A_k, 0) (Wang et al. 2019, ICASC)."""

    def weights(self, g: Tensor) -> Tensor:
        return g.clamp(min=0).mean((2, 3), keepdim=True)


@register("grad_cam_pp", title="Grad-CAM++")
class GradCAMPlusPlus(OfFeatures):
    """H = max(Σ_k α_k A_k, 0), α_k = Σ_ij a_ij · max(g_ij, 0) (Chattopadhay et al. 2018, eq. 15 and 19).

    a = g² / (2g² + g³·Σ_ij A_ij) for g = ∂y/∂A, and 0 where the denominator is 0. Equation 19 holds for the
    class score exp(y); its common factor exp(y), which does not change the scaled map, is left out.
    """

    def attribute(self, read: Capture) -> Tensor:
        A = read.features
        g = read.gradient(A)
        # g² is cancelled, so that there is no 0/0 where g is merely small.
        below = 2 + g * full(A).sum((2, 3), keepdim=True)
        a = torch.where((g == 0) | (below == 0), torch.zeros_like(g), 1 / torch.where(below == 0, 1.0, below))
        alpha = (a * g.clamp(min=0)).sum((2, 3), keepdim=True)
        return (alpha * A).sum(1, keepdim=True).clamp(min=0)


@register("hires_cam", title="HiResCAM")
class HiResCAM(OfFeatures):
    """H = max(Σ_k ∂y/∂A_k ∘ A_k, 0): the gradient is not averaged (Draelos and Carin 2020, eq. 3)."""

    def attribute(self, read: Capture) -> Tensor:
        A = read.features
        return (read.gradient(A) * A).sum(1, keepdim=True).clamp(min=0)


@register("layer_cam", title="LayerCAM")
class LayerCAM(OfFeatures):
    """H = max(Σ_k max(∂y/∂A_k, 0) ∘ A_k, 0), for any layer (Jiang et al. 2021, eq. 6 to 8)."""

    def attribute(self, read: Capture) -> Tensor:
        A = read.features
        return (read.gradient(A).clamp(min=0) * A).sum(1, keepdim=True).clamp(min=0)


_BETWEEN = (
    "View",
    "ReshapeAlias",
    "UnsafeView",
    "Squeeze",
    "AsStrided",
    "Flatten",
    "Clone",
    "Alias",
    "ToCopy",
    "Mul",
    "Div",
    "NativeDropout",
)
_AVERAGE = ("Mean", "AdaptiveAvgPool2D", "AvgPool2D")


_SCALED = ("Mul", "Div")


def _is_one_factor(node: Node) -> bool:
    """Whether a multiplication or division is by one number, or by the zeros and one number of dropout."""
    factor = next(
        (
            each
            for each in (getattr(node, "_saved_other", None), getattr(node, "_saved_self", None))
            if isinstance(each, Tensor)
        ),
        None,
    )
    if factor is None:
        return True
    others = factor[factor != 0]
    return not others.numel() or bool((others == others[0]).all())


def _makes_a_map(kind: type[Generator], model: nn.Module, image: Tensor) -> bool:
    try:
        kind(model)(image)
    except Exception:  # a network of another kind may fail in any way
        return False
    return True


def _linear_weight(read: Capture) -> Tensor:
    """The weight (classes, K) of the linear layer that computes the logits from the pooled features.

    Raises:
        RuntimeError: The head is of another kind.
    """
    linear = read.pass_.linear
    if linear is not None and linear[2].grad_fn is logits_of(read.output, read.which).grad_fn:
        x, weight, _ = linear
        if weight.shape[1] == read.features.shape[1] and _is_average_of(x, read.as_made[0]):
            return weight
    raise RuntimeError(
        "cam needs a head of global average pooling and one linear layer; grad_cam and hires_cam take any"
    )


def _is_average_of(x: Tensor, features: Tensor) -> bool:
    """Whether x is one average of the features, otherwise only reshaped, scaled or dropped out."""
    node = x.grad_fn
    averages = 0
    while node is not None and node is not features.grad_fn:
        kind = node.name().removesuffix("Backward0").removesuffix("Backward1")
        if kind.startswith(_AVERAGE):
            averages += 1
        elif not kind.startswith(_BETWEEN) or (kind.startswith(_SCALED) and not _is_one_factor(node)):
            return False
        sources = before(node)
        node = sources[0] if len(sources) == 1 else None
    return node is not None and averages == 1
