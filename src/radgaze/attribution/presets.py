"""The methods that are shown to people, each a generator with settings, in the order in which they are
shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from radgaze.attribution.generators import REGISTRY, Generator, create, methods


@dataclass(frozen=True)
class Preset:
    """A method as it is offered.

    Attributes:
        title: What it is called on a figure.
        generator: Name of the generator.
        options: Its options, where they are not the usual ones.
    """

    title: str
    generator: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def differentiable(self) -> bool:
        """Whether its generator can be trained through."""
        return REGISTRY[self.generator].differentiable

    def create(self, model: nn.Module, **options: Any) -> Generator:
        """Its generator for a model, with other options where some are given."""
        return create(self.generator, model, **{**self.options, **options})


_NOISE = {"samples": 50, "noise": 0.15}  # Smilkov et al. 2017, section 3.2: 10% to 20%, and 50 copies

PRESETS: dict[str, Preset] = {
    "backprop": Preset("Gradient", "backprop"),
    "input_x_gradient": Preset("Input × gradient", "input_x_gradient"),
    "deconvnet": Preset("DeconvNet", "deconvnet"),
    "guided_backprop": Preset("Guided backprop", "guided_backprop"),
    "cam": Preset("CAM", "cam"),
    "grad_cam": Preset("Grad-CAM", "grad_cam"),
    "grad_cam_pp": Preset("Grad-CAM++", "grad_cam_pp"),
    "hires_cam": Preset("HiResCAM", "hires_cam"),
    "layer_cam": Preset("LayerCAM", "layer_cam"),
    "guided_grad_cam": Preset("Guided Grad-CAM", "guided_grad_cam"),
    "smooth_grad": Preset("SmoothGrad", "smooth_grad", _NOISE),
    "guided_smooth_grad": Preset("SmoothGrad, guided", "smooth_grad", {"base": "guided_backprop", **_NOISE}),
    "integrated_gradients": Preset("Integrated gradients", "integrated_gradients", {"steps": 32}),
    "deep_lift": Preset("DeepLIFT", "deep_lift"),
    "occlusion": Preset("Occlusion", "occlusion"),
    "lime": Preset("LIME", "lime"),
    "pylon": Preset("PYLON's map", "pylon"),
}


def presets(model: nn.Module, size: int = 64) -> dict[str, Preset]:
    """Those that apply to a model of images of that side, see `methods`."""
    able = methods(model, size)
    return {name: preset for name, preset in PRESETS.items() if preset.generator in able}
