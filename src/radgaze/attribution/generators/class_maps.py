"""The class maps that a model computes itself, shown without attribution."""

from __future__ import annotations

from torch import Tensor, nn

from radgaze.attribution.engine.capture import Capture, full
from radgaze.attribution.generator import Generator
from radgaze.attribution.readout import enlarge
from radgaze.attribution.registry import register


@register("pylon", title="PYLON's map")
class ClassMap(Generator):
    """H = sigmoid(M_y), M_y the enlarged map of logits of the class (Preechakul et al. 2022).

    The model's output must have these maps as an attribute `class_maps`, (B, C, h, w). No gradient is
    computed, so that the options for rules and batch statistics have no effect.

    Raises:
        ValueError: The model's output has no class maps, or the target is no class.
    """

    needs = ("class_maps",)

    @classmethod
    def unsupported(cls, model: nn.Module, size: int = 64) -> str | None:
        """The reason why the model has no class maps."""
        missing = super().unsupported(model, size)
        return f"{missing}; a network of the architecture pylon, class_maps or stl does" if missing else None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layer is not None:
            raise ValueError("pylon shows the model's own map of a class: it has no layer")

    def attribute(self, read: Capture) -> Tensor:
        maps = getattr(read.output, "class_maps", None)
        if maps is None:
            raise ValueError(
                "pylon shows the map that a model makes of each class itself, `class_maps` (B, C, h, w) of "
                "its output; this model makes none"
            )
        if not isinstance(read.target, Tensor):
            raise ValueError("pylon shows a class's map; its target cannot be a function of the output")
        class_map: Tensor = maps.gather(1, read.target.view(-1, 1, 1, 1).expand(-1, 1, *maps.shape[-2:]))
        return enlarge(full(class_map), read.images.shape[-2:]).sigmoid()
