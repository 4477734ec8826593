"""Generators that are one gradient of the score, each under its rule for activations."""

from __future__ import annotations

from torch import Tensor

from radgaze.attribution import rules
from radgaze.attribution.engine.capture import Capture
from radgaze.attribution.generator import Generator
from radgaze.attribution.registry import register


@register("backprop", title="Gradient")
class Backprop(Generator):
    """Gradient magnitude, H = max_c |∂y/∂x_c| (Simonyan et al. 2014)."""


@register("input_x_gradient", title="Input × gradient")
class InputXGradient(Generator):
    """H = max_c |x_c · ∂y/∂x_c| (Shrikumar et al. 2016)."""

    @property
    def is_plain(self) -> bool:
        """Whether there is no layer."""
        return self.layer is None and type(self).attribute is InputXGradient.attribute

    def attribute(self, read: Capture) -> Tensor:
        return read.place * read.gradient(read.place)


@register("deconvnet", title="DeconvNet")
class DeconvNet(Generator):
    """Back-propagation that passes max(g, 0) at each activation (Zeiler and Fergus 2014)."""

    rule = rules.DECONVNET


@register("guided_backprop", title="Guided backprop")
class GuidedBackprop(Generator):
    """Back-propagation that passes max(g, 0)·[x > 0]·a'(x) at each activation (Springenberg et al. 2015)."""

    rule = rules.GUIDED
