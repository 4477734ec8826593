"""Every generator keeps the contract: those registered, and one from outside."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from torch import Tensor

from radgaze import attribution
from radgaze.attribution.engine.capture import Capture
from radgaze.attribution.generators.attention import OfAttention
from radgaze.attribution.registry import PRESETS, REGISTRY
from tests.attribution.generator_contract import GeneratorContract


class TestEveryRegisteredGenerator(GeneratorContract):
    # pylon shows the maps of models that make some, which these networks do not: test_class_maps.py; maps of
    # attention are those of transformers: test_transformers.py
    names = tuple(
        name
        for name in attribution.names(differentiable=True)
        if name != "pylon" and not issubclass(REGISTRY[name], OfAttention)
    )


class SquaredGradient(attribution.Generator):
    """H = max_c (∂y/∂x_c)², or ∂y/∂A at a layer."""

    def attribute(self, read: Capture) -> Tensor:
        return read.gradient(read.place, self.rule).square()


class TestGeneratorFromOutside(GeneratorContract):
    names = ("squared_gradient",)

    @pytest.fixture(autouse=True, scope="class")
    def _registered(self) -> Iterator[None]:
        attribution.register("squared_gradient")(SquaredGradient)
        yield
        del REGISTRY["squared_gradient"], PRESETS["squared_gradient"]
