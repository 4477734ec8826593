"""Generators for some networks only: by what a network gives, and by how it is built."""

from __future__ import annotations

from torch import Tensor, nn

from radgaze.attribution.engine.capture import Capture
from radgaze.attribution.generator import Generator
from radgaze.attribution.registry import register


@register("with_class_maps", title="Gradient beside class maps")
class WithClassMaps(Generator):
    """H = |∂y/∂x|, of networks that give class maps."""

    needs = ("class_maps",)

    def attribute(self, read: Capture) -> Tensor:
        return read.gradient(read.place).abs()


@register("of_two_layers", title="Gradient of two layers")
class OfTwoLayers(Generator):
    """H = |∂y/∂x|, of networks with two convolutions."""

    @classmethod
    def unsupported(cls, model: nn.Module, size: int = 64) -> str | None:
        mask_too = 3
        convolutions = sum(isinstance(module, nn.Conv2d) for module in model.modules())
        if convolutions != mask_too:
            return f"the model has {convolutions} convolutions"
        return super().unsupported(model, size)

    def attribute(self, read: Capture) -> Tensor:
        return read.gradient(read.place).abs()
