"""Generators through Captum, whose maps cannot be trained through.

DeepLIFT compares with a reference image; LIME and occlusion measure how much the score decreases without a
part of the image. Captum and scikit-image are imported only when such a generator is called.
"""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from collections.abc import Sequence
from contextlib import _GeneratorContextManager
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args
from unittest.mock import patch

import torch
from torch import Tensor, nn

from radgaze.attribution.engine.checks import refuse_without_derivative
from radgaze.attribution.engine.rounding import without_rounding
from radgaze.attribution.generator import Generator, Read
from radgaze.attribution.readout import READOUTS, normalise
from radgaze.attribution.registry import register
from radgaze.attribution.targets import Target, logits_of, score_of, target_index

Reference = Literal["black", "mean", "blurred"]

_BLUR = 0.1  # σ, as a share of the image's side


@dataclass
class PostHoc(Generator):
    """The base class of generators whose maps cannot be differentiated."""

    differentiable: ClassVar[bool] = False
    without: ClassVar[tuple[str, ...]] = (
        "layer",
        "channels",
        "reshape",
        "tokens",
        "through_scale",
        "rule_for",
        "gates",
        "batch_statistics",
        "compiled",
    )

    def capture(
        self, model: nn.Module | None = None, *, create_graph: bool = True
    ) -> _GeneratorContextManager[Read]:
        """Refuse to capture, as these maps have no graph.

        Raises:
            ValueError: Always.
        """
        raise ValueError(f"{self.name} makes maps to look at; it cannot be trained through")

    def look(
        self, model: nn.Module, images: Tensor, target: Target, labels: Tensor | None, also: Sequence[Tensor]
    ) -> Tensor:
        """See `Generator.look`."""
        if not callable(target):
            with torch.no_grad():
                target = target_index(logits_of(model(images, *also), self.output), target, labels)
        # A model's graph is only needed for gradients.
        with torch.enable_grad() if isinstance(self, DeepLift) else torch.no_grad():
            score = _Score(model, target, self.output)
            if isinstance(self, DeepLift):
                followed = images.detach().requires_grad_()
                refuse_without_derivative(score_of(model(followed, *also), target, self.output))
            attributions = self.attributions(score, images.detach(), target, tuple(also)).detach()
            with torch.no_grad():
                values = score_of(model(images, *also), target, self.output)
        attributions = without_rounding(attributions, values, shared_out=isinstance(self, DeepLift))
        return normalise(READOUTS[self.readout](attributions), self.normalise)

    def attributions(
        self, score: nn.Module, images: Tensor, target: Target, also: tuple[Tensor, ...]
    ) -> Tensor:
        """Compute the signed attribution of each pixel, (B, C or 1, H, W).

        Args:
            score: Module that gives the logits or, for a function as target, the scores (B,).
            images: Images (B, C, H, W).
            target: A class for each case (B,), or a function.
            also: Further arguments of the model after the images.
        """
        raise NotImplementedError


@register("deep_lift", title="DeepLIFT")
@dataclass
class DeepLift(PostHoc):
    """(x − x')·m, m the multipliers of the rescale rule for a reference x' (Shrikumar et al. 2017).

    At each activation (f(x) − f(x'))/(x − x') replaces its derivative, also at SiLU, GELU and the like. Where
    activations are called as functions, and at products that gate (squeeze-and-excitation), the derivative is
    used, so that attributions add up to y(x) − y(x') only for networks without these.

    Attributes:
        reference: Reference image x': "black" (0), "mean" (the mean of the image's values), "blurred" (the
            image under a Gaussian whose standard deviation is a tenth of its shorter side), or a tensor for
            all images, (1, H, W) or (C, H, W).
    """

    reference: Reference | Tensor = "black"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_reference(self.reference)

    def attributions(
        self, score: nn.Module, images: Tensor, target: Target, also: tuple[Tensor, ...]
    ) -> Tensor:
        """See `PostHoc`."""
        from captum.attr import DeepLift as Captums
        from captum.attr._core import deep_lift

        # Captum hooks the inputs of all activations, also where they depend on the further arguments alone.
        also = tuple(a.detach().requires_grad_() if a.is_floating_point() else a for a in also)
        # The rescale rule is the same for any function of one number.
        more = dict.fromkeys(_ACTIVATIONS, deep_lift.nonlinear)
        with patch.dict(deep_lift.SUPPORTED_NON_LINEAR, more), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it sets hooks and says so
            once = _each_used_once(score, tuple(deep_lift.SUPPORTED_NON_LINEAR), images, also)
            attributions: Tensor = Captums(once).attribute(
                images,
                referred(self.reference, images),
                target=None if callable(target) else target,
                additional_forward_args=also or None,
            )
        return attributions


@register("occlusion", title="Occlusion")
@dataclass
class Occlusion(PostHoc):
    """The decrease of the score when a square of the image is replaced, averaged over squares at each pixel.

    Zeiler and Fergus (2014), section 4.2.

    Attributes:
        readout: Name of the reduction over channels; "positive" shows evidence for the class.
        window: Side of the square, as a share of the image's shorter side.
        stride: Distance between neighbouring squares, as a share of their side.
        reference: Image that replaces the square, see `DeepLift`.
        internal_batch_size: Number of images in one forward pass, at least one for each case of the batch;
            None means 8 on a CPU and 64 elsewhere.
    """

    readout: str = "positive"
    window: float = 0.15
    stride: float = 0.5
    reference: Reference | Tensor = "mean"
    internal_batch_size: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_reference(self.reference)
        for name in ("window", "stride"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must be a share above 0 and up to 1, got {getattr(self, name)}")
        _check_batch(self.internal_batch_size)

    def attributions(
        self, score: nn.Module, images: Tensor, target: Target, also: tuple[Tensor, ...]
    ) -> Tensor:
        """See `PostHoc`."""
        from captum.attr import Occlusion as Captums

        channels, side = images.shape[1], max(1, round(self.window * min(images.shape[-2:])))
        step = max(1, round(self.stride * side))
        attributions: Tensor = Captums(score).attribute(
            images,
            sliding_window_shapes=(channels, side, side),
            strides=(channels, step, step),
            baselines=referred(self.reference, images),
            target=None if callable(target) else target,
            additional_forward_args=also or None,
            perturbations_per_eval=max(1, _at_once(self.internal_batch_size, images) // len(images)),
        )
        return attributions[:, :1]  # the same in every channel


@register("lime", title="LIME")
@dataclass
class Lime(PostHoc):
    """Weights of a linear model of the score, fitted on images without some superpixels.

    Ribeiro et al. (2016). Ridge regression on the presence of superpixels, weighted by exp(−d²/w²), d the
    cosine distance to the presence of all. Superpixels are scikit-image's SLIC.

    Attributes:
        readout: Name of the reduction over channels; "positive" shows evidence for the class.
        superpixels: Approximate number of superpixels.
        samples: Number of perturbed images; each leaves out every superpixel with a probability of 1/2.
        width: Width w of the weights.
        penalty: Penalty of the ridge regression.
        reference: Image that replaces the superpixels left out, see `DeepLift`.
        seed: Random seed, the same for each image, so that its map does not depend on the others.
        internal_batch_size: Number of images in one forward pass; None means 8 on a CPU and 64 elsewhere.
    """

    readout: str = "positive"
    superpixels: int = 60
    samples: int = 200
    width: float = 0.25
    penalty: float = 1.0
    reference: Reference | Tensor = "mean"
    seed: int = 0
    internal_batch_size: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_reference(self.reference)
        for name in ("superpixels", "samples"):
            if getattr(self, name) < 2:
                raise ValueError(f"{name} must be at least 2, got {getattr(self, name)}")
        if not (self.width > 0 and self.penalty >= 0):
            raise ValueError("width must be greater than 0, and penalty at least 0")
        _check_batch(self.internal_batch_size)

    def attributions(
        self, score: nn.Module, images: Tensor, target: Target, also: tuple[Tensor, ...]
    ) -> Tensor:
        """See `PostHoc`."""
        from captum._utils.models.linear_model import SkLearnRidge
        from captum.attr import Lime as Captums

        lime = Captums(score, SkLearnRidge(alpha=self.penalty), similarity_func=self._weight)
        reference = referred(self.reference, images)
        maps = []
        for i in range(len(images)):
            one = slice(i, i + 1)
            with torch.random.fork_rng(devices=[images.device] if images.is_cuda else []):
                torch.manual_seed(self.seed)
                attributions = lime.attribute(
                    images[one],
                    baselines=reference[one],
                    target=target[one] if isinstance(target, Tensor) else None,
                    additional_forward_args=tuple(a[one] for a in also) or None,
                    feature_mask=superpixels(images[i], self.superpixels),
                    n_samples=self.samples,
                    perturbations_per_eval=_at_once(self.internal_batch_size, images),
                )
            maps.append(attributions[:, :1])  # the same in every channel
        return torch.cat(maps).to(images.dtype)

    def _weight(self, image: Tensor, changed: Tensor, present: Tensor, **_: object) -> Tensor:
        """The weight of an image in the regression, by the presence of its superpixels (1, K)."""
        distance = 1 - present.float().mean().sqrt()  # the cosine to a vector of ones
        return torch.exp(-(distance**2) / self.width**2)


def superpixels(image: Tensor, count: int) -> Tensor:
    """SLIC superpixels (Achanta et al. 2012) of an image (C, H, W): (1, 1, H, W) int64, numbered from 0."""
    from skimage.segmentation import slic

    grey = image.mean(0).float().cpu().numpy()
    labels = slic(grey, n_segments=count, compactness=0.1, sigma=1, start_label=0, channel_axis=None)
    return torch.from_numpy(labels).long().view(1, 1, *grey.shape).to(image.device)


def referred(reference: Reference | Tensor, images: Tensor) -> Tensor:
    """The reference of each image, (B, C, H, W)."""
    if isinstance(reference, Tensor):
        return reference.to(images).expand_as(images).contiguous()
    if reference == "black":
        return torch.zeros_like(images)
    if reference == "mean":
        return images.mean((1, 2, 3), keepdim=True).expand_as(images).contiguous()
    from scipy.ndimage import gaussian_filter

    sigma = _BLUR * min(images.shape[-2:])
    planes = gaussian_filter(images.float().cpu().numpy(), (0, 0, sigma, sigma))
    return torch.from_numpy(planes).to(images)


class _Score(nn.Module):
    """The model's logits or, for a function as target, its scores (B,), as Captum needs them."""

    def __init__(self, model: nn.Module, target: Target, which: str | int | None) -> None:
        super().__init__()
        self.model, self.target, self.which = model, target, which

    def forward(self, images: Tensor, *also: Tensor) -> Tensor:
        output = self.model(images, *also)
        return score_of(output, self.target) if callable(self.target) else logits_of(output, self.which)


class _InTurn(nn.Module):
    """Copies of a module that is called several times in a forward pass, one for each call."""

    def __init__(self, copies: Sequence[nn.Module]) -> None:
        super().__init__()
        self.copies, self.calls = nn.ModuleList(copies), 0

    def forward(self, x: Tensor) -> Tensor:
        copied = self.copies[self.calls % len(self.copies)]
        self.calls += 1
        y: Tensor = copied(x)
        return y


def _each_used_once(
    score: nn.Module, kinds: tuple[type[nn.Module], ...], images: Tensor, also: tuple[Tensor, ...]
) -> nn.Module:
    """A copy of the network in which each call of a module of these kinds has its own module.

    Captum keeps the input and output of a module's last call alone. The network itself is returned where no
    module is called twice.
    """
    calls: Counter[nn.Module] = Counter()

    def count(module: nn.Module, *_: object) -> None:
        calls[module] += 1

    hooks = [m.register_forward_hook(count) for m in score.modules() if isinstance(m, kinds)]
    try:
        with torch.no_grad():
            score(images[:1], *(a[:1] for a in also))
    finally:
        for hook in hooks:
            hook.remove()
    several = {module: uses for module, uses in calls.items() if uses > 1}
    if not several:
        return score
    split = {id(m): _InTurn([copy.deepcopy(m) for _ in range(uses)]) for m, uses in several.items()}
    return copy.deepcopy(score, dict(split))  # deepcopy takes what it finds there for the copy


_ACTIVATIONS: tuple[type[nn.Module], ...] = (
    nn.SiLU,
    nn.GELU,
    nn.Mish,
    nn.SELU,
    nn.CELU,
    nn.ReLU6,
    nn.Hardswish,
    nn.Hardsigmoid,
    nn.LogSigmoid,
)


def _check_reference(reference: object) -> None:
    if not isinstance(reference, Tensor) and reference not in get_args(Reference):
        choices = ", ".join(get_args(Reference))
        raise ValueError(f"reference must be one of {choices}, or an image, got {reference!r}")


def _at_once(internal_batch_size: int | None, images: Tensor) -> int:
    if internal_batch_size is not None:
        return internal_batch_size
    return 8 if images.device.type == "cpu" else 64  # on a CPU many do not fit the cache


def _check_batch(size: int | None) -> None:
    if size is not None and size < 1:
        raise ValueError(f"internal_batch_size must be at least 1, got {size}")
