"""Generators composed of others: a product, an average over noise, an integral along a path."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
import torch
from torch import Tensor

from radgaze.attribution import rules
from radgaze.attribution.engine.capture import Capture, full
from radgaze.attribution.engine.modes import compares_cases
from radgaze.attribution.generator import Generator
from radgaze.attribution.generators.cam import GradCAM
from radgaze.attribution.readout import enlarge
from radgaze.attribution.registry import REGISTRY, create, options, register, register_method

FEW = 4
"""Fewest images in one forward pass: one alone takes nearly as long."""


SHARED = (
    *("layer", "channels", "reshape", "tokens", "output"),
    *("readout", "rule_for", "gates", "batch_statistics", "compiled"),
)
"""Options of a generator that it gives to the one that it averages."""

_SHOWN = {"samples": 50, "noise": 0.15}  # Smilkov et al. 2017, section 3.2: 10% to 20%, and 50 copies


@register("guided_grad_cam", title="Guided Grad-CAM")
class GuidedGradCAM(GradCAM):
    """Guided back-propagation at the images times the enlarged Grad-CAM (Selvaraju et al. 2017, section 3.2).

    Both are made of one forward pass. The option `layer` applies to Grad-CAM alone.
    """

    def attribute(self, read: Capture) -> Tensor:
        cam = enlarge(full(super().attribute(read)), read.images.shape[-2:])
        return read.gradient(read.images, rules.GUIDED) * cam


@register("smooth_grad", title="SmoothGrad", options=_SHOWN)
@dataclass
class SmoothGrad(Generator):
    """The mean of another generator's attributions over noisy copies (Smilkov et al. 2017, eq. 1).

    The copies run through the model in evaluation mode, also in a training step. Each case gets the same
    noise, so that its map does not depend on its batch.

    Attributes:
        base: Name of the other generator.
        samples: Number of noisy copies of each image.
        noise: Standard deviation of the noise, as a share of the image's range (maximum − minimum).
        seed: Random seed of the noise, which is then the same in every call; None draws new noise from
            torch's global generator.
        internal_batch_size: Maximum number of images in one forward pass; None means the batch's size, or
            `FEW` if that is larger. In training the graphs of all passes are in memory together.
    """

    base: str = "backprop"
    samples: int = 16
    noise: float = 0.15
    seed: int | None = 0
    internal_batch_size: int | None = None

    _base: Generator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_positive(samples=self.samples, internal_batch_size=self.internal_batch_size)
        if self.noise < 0:
            raise ValueError(f"noise must be at least 0, a share of the image's range, got {self.noise}")
        if self.base in REGISTRY and not REGISTRY[self.base].differentiable:
            raise ValueError(
                f"smooth_grad averages maps of one backward pass, which {self.base} does not make"
            )
        self._base = create(self.base, self.model, **self._shared())

    def _shared(self) -> dict[str, object]:
        """The options that the other generator has as well, and those that it would refuse."""
        has = options(self.base) if self.base in REGISTRY else SHARED
        default = {each.name: each.default for each in fields(Generator)}
        values = {name: getattr(self, name) for name in SHARED}
        return {name: value for name, value in values.items() if name in has or value != default[name]}

    @property
    def is_plain(self) -> bool:
        """Whether the other generator's maps are."""
        return self._base.is_plain and type(self).attribute is SmoothGrad.attribute

    @property
    def reads_attention(self) -> bool:
        """Whether the other generator reads attention matrices."""
        return self._base.reads_attention

    @property
    def sampled(self) -> Hashable:
        """The noise, which other generators may have too; none has the same without a seed."""
        noise = (self.samples, self.noise, self.seed, self.internal_batch_size)
        alone = self.seed is None or type(self).attribute is not SmoothGrad.attribute
        return ("noise", *noise, id(self) if alone else None)

    def attribute(self, read: Capture) -> Tensor:
        return self.averages(read, [self._base])[0]

    def maps(self, read: Capture, generators: Sequence[Generator]) -> list[Tensor]:
        if len(generators) == 1:
            return super().maps(read, generators)
        bases = [each._base for each in generators if isinstance(each, SmoothGrad)]
        averages = zip(generators, self.averages(read, bases), strict=True)
        return [each.read_out(attribution, read) for each, attribution in averages]

    def averages(self, read: Capture, bases: Sequence[Generator]) -> list[Tensor]:
        """The mean attributions of other generators over the same noisy copies."""
        x = read.images.detach()
        spread = self.noise * (x.amax((1, 2, 3), keepdim=True) - x.amin((1, 2, 3), keepdim=True))
        source = None if self.seed is None else torch.Generator(x.device).manual_seed(self.seed)
        shape = (self.samples, *x.shape[1:])
        noise = torch.randn(shape, generator=source, dtype=x.dtype, device=x.device)

        def sample(k: Tensor, cases: Tensor) -> list[Tensor]:
            copy = read.again(x[cases] + spread[cases] * noise[k], cases)
            attributions = [base.attribute(copy) / self.samples for base in bases]
            copy.pass_.forget()  # else it would hold its graph until all are done
            return attributions

        return _summed(sample, self.samples, len(x), _at_once(read, self.internal_batch_size))


register_method(
    "guided_smooth_grad", "SmoothGrad, guided", "smooth_grad", {"base": "guided_backprop", **_SHOWN}
)


@register("integrated_gradients", title="Integrated gradients", options={"steps": 32})
@dataclass
class IntegratedGradients(Generator):
    """(x − x')·∫ ∂y/∂x (x' + α(x − x')) dα, α from 0 to 1 (Sundararajan et al. 2017, eq. 1).

    The integral is computed by Gauss–Legendre quadrature. Up to its error, attributions add up to
    y(x) − y(x') ("completeness"), which `readout="sum"` and `normalise="none"` preserve.

    Attributes:
        steps: Number of points on the path.
        baseline: Grey value of every pixel of the baseline image x'.
        internal_batch_size: Maximum number of images in one forward pass, see `SmoothGrad`.
    """

    steps: int = 50
    baseline: float = 0.0
    internal_batch_size: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_positive(steps=self.steps, internal_batch_size=self.internal_batch_size)
        if self.layer is not None:
            raise ValueError("integrated_gradients follows the images from a baseline: it has no layer")

    @property
    def sampled(self) -> Hashable:
        """The path."""
        return ("path", self.steps, self.baseline, self.internal_batch_size)

    @property
    def is_plain(self) -> bool:
        """Yes: plain gradients along the path."""
        return type(self).attribute is IntegratedGradients.attribute

    def attribute(self, read: Capture) -> Tensor:
        x = read.images.detach()
        points, weights = np.polynomial.legendre.leggauss(self.steps)
        alpha = x.new_tensor((points + 1) / 2).view(-1, 1, 1, 1)
        weight = x.new_tensor(weights / 2).view(-1, 1, 1, 1)

        def sample(k: Tensor, cases: Tensor) -> list[Tensor]:
            point = read.again(self.baseline + alpha[k] * (x[cases] - self.baseline), cases)
            gradient = weight[k] * point.gradient(point.images)
            point.pass_.forget()
            return [gradient]

        at_once = _at_once(read, self.internal_batch_size)
        return (x - self.baseline) * _summed(sample, self.steps, len(x), at_once)[0]


def _at_once(read: Capture, internal_batch_size: int | None) -> int | None:
    """The number of images per forward pass; the whole batch where a case's output depends on its batch.

    Raises:
        ValueError: It does, and another size is given.
    """
    batch = len(read.images)
    if not compares_cases(read.watch.model):
        return internal_batch_size
    if internal_batch_size is not None and internal_batch_size != batch:
        raise ValueError(
            "internal_batch_size must be left out: the model's batch norms have no running statistics, so "
            "that its output depends on the batch"
        )
    return batch


def _summed(
    sample: Callable[[Tensor, Tensor], list[Tensor]], samples: int, batch: int, at_once: int | None
) -> list[Tensor]:
    """Σ_k of each of sample(k, case), (B, K, h, w), evaluated for at most `at_once` pairs at a time."""
    totals: list[Tensor] = []
    pairs = torch.arange(samples * batch)
    for part in torch.split(pairs, at_once or max(batch, FEW)):
        k, cases = part // batch, part % batch
        values = sample(k, cases)
        if not totals:
            totals = [each.new_zeros(batch, *each.shape[1:]) for each in values]
        totals = [
            total.index_add(0, cases.to(each.device), each)
            for total, each in zip(totals, values, strict=True)
        ]
    return totals


def _check_positive(**counts: int | None) -> None:
    for name, count in counts.items():
        if count is not None and count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")
