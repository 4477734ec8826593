"""The maps of Captum, MONAI and pytorch-grad-cam, each asked for as its documentation says.

Whatever a library does batch by batch is asked for a batch at a time. What they give per colour is reduced
as ours is, by the largest absolute value, and a map of a layer is enlarged as ours is, bilinearly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytorch_grad_cam as pgc
import torch
from captum import attr
from monai import visualize as monai
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

Maps = Callable[[Tensor], Tensor]
"""Images (B, 3, H, W) to maps (B, 1, H, W)."""

TARGET = 1
SAMPLES = 8
NOISE = 0.15
"""The class asked for; how many copies the averaging methods take, and their noise, a share of the range."""


@dataclass(frozen=True)
class Network:
    """A network with the names of the modules that the maps of a layer are taken from.

    Attributes:
        layer: What global pooling sees.
        head: The linear layer after it.
    """

    model: nn.Module
    layer: str
    head: str


@dataclass(frozen=True)
class Peer:
    """One library's way to the maps of one method.

    Attributes:
        name: Library and class.
        make: What is built once, before the clock starts.
        single: Whether it takes one image at a time.
        same: Whether its maps are meant to be ours on a network of ReLUs.
        scaled: Whether they are once both are stretched from 0 to 1.
    """

    name: str
    make: Callable[[Network], Maps]
    single: bool = False
    same: bool = True
    scaled: bool = False


def _captum(explain: attr.Attribution, **options: object) -> Maps:
    return lambda images: _channels(explain.attribute(images, target=TARGET, **options))


def _captum_grad_cam(net: Network) -> Maps:
    explain = attr.LayerGradCam(net.model, net.model.get_submodule(net.layer))

    def maps(images: Tensor) -> Tensor:
        coarse = explain.attribute(images, target=TARGET, relu_attributions=True)
        return attr.LayerAttribution.interpolate(coarse, images.shape[-2:], "bilinear")

    return maps


def _captum_guided_grad_cam(net: Network) -> Maps:
    explain = attr.GuidedGradCam(net.model, net.model.get_submodule(net.layer))
    return _captum(explain, interpolate_mode="bilinear")


def _captum_smooth_grad(explain: attr.GradientAttribution, **options: object) -> Maps:
    tunnel = attr.NoiseTunnel(explain)

    def maps(images: Tensor) -> Tensor:
        noise = NOISE * float(images.max() - images.min())
        return _captum(tunnel, nt_samples=SAMPLES, nt_samples_batch_size=1, stdevs=noise, **options)(images)

    return maps


def _captum_integrated_gradients(net: Network) -> Maps:
    explain = attr.IntegratedGradients(net.model)
    return lambda images: _captum(explain, n_steps=SAMPLES, internal_batch_size=len(images))(images)


def _monai_gradient(explain: monai.VanillaGrad) -> Maps:
    """MONAI's gradients refuse more than one image."""
    return lambda images: _channels(torch.cat([explain(image, index=TARGET) for image in images.split(1)]))


def _monai_smooth_grad(kind: type[monai.SmoothGrad]) -> Callable[[Network], Maps]:
    return lambda net: _monai_gradient(
        kind(net.model, stdev_spread=NOISE, n_samples=SAMPLES, magnitude=False, verbose=False)
    )


def _monai_cam(net: Network) -> Maps:
    explain = monai.CAM(net.model, net.layer, net.head, postprocessing=_as_it_is)
    return lambda images: explain(images, class_idx=[TARGET] * len(images)).detach()


def _monai_grad_cam(net: Network) -> Maps:
    explain = monai.GradCAM(net.model, net.layer, postprocessing=_as_it_is)
    return lambda images: explain(images, class_idx=TARGET).detach()


def _monai_grad_cam_pp(net: Network) -> Maps:
    """It multiplies the scores (B,) with a gradient (B, C, H, W), which is right for one image alone."""
    explain = monai.GradCAMpp(net.model, net.layer, postprocessing=_as_it_is)
    return lambda images: torch.cat([explain(image, class_idx=TARGET).detach() for image in images.split(1)])


def _pgc_cam(kind: type[pgc.base_cam.BaseCAM]) -> Callable[[Network], Maps]:
    def make(net: Network) -> Maps:
        explain = kind(model=net.model, target_layers=[net.model.get_submodule(net.layer)])

        def maps(images: Tensor) -> Tensor:
            targets = [ClassifierOutputTarget(TARGET)] * len(images)
            return torch.from_numpy(explain(input_tensor=images, targets=targets)).unsqueeze(1)

        return maps

    return make


def _pgc_guided(net: Network) -> Maps:
    """It reads the first image of a batch, as an array (H, W, C)."""
    explain = pgc.GuidedBackpropReLUModel(net.model)

    def one(image: Tensor) -> Tensor:
        return torch.from_numpy(explain(image, target_category=TARGET)).permute(2, 0, 1)

    return lambda images: _channels(torch.stack([one(image) for image in images.split(1)]))


def _channels(gradient: Tensor) -> Tensor:
    return gradient.detach().abs().amax(1, keepdim=True)


def _as_it_is(maps: Tensor) -> Tensor:
    return maps


PEERS: dict[str, tuple[Peer, ...]] = {
    "backprop": (
        Peer("Captum Saliency", lambda net: _captum(attr.Saliency(net.model))),
        Peer("MONAI VanillaGrad", lambda net: _monai_gradient(monai.VanillaGrad(net.model)), single=True),
    ),
    "input_x_gradient": (Peer("Captum InputXGradient", lambda net: _captum(attr.InputXGradient(net.model))),),
    "deconvnet": (Peer("Captum Deconvolution", lambda net: _captum(attr.Deconvolution(net.model))),),
    "guided_backprop": (
        Peer("Captum GuidedBackprop", lambda net: _captum(attr.GuidedBackprop(net.model))),
        Peer(
            "MONAI GuidedBackpropGrad",
            lambda net: _monai_gradient(monai.GuidedBackpropGrad(net.model)),
            single=True,
            same=False,
        ),
        Peer("pytorch-grad-cam GuidedBackpropReLUModel", _pgc_guided, single=True),
    ),
    "cam": (Peer("MONAI CAM", _monai_cam, scaled=True),),
    "grad_cam": (
        Peer("Captum LayerGradCam", _captum_grad_cam),
        Peer("MONAI GradCAM", _monai_grad_cam),
        Peer("pytorch-grad-cam GradCAM", _pgc_cam(pgc.GradCAM), scaled=True),
    ),
    "grad_cam_pp": (
        Peer("MONAI GradCAMpp", _monai_grad_cam_pp, single=True, scaled=True),
        Peer("pytorch-grad-cam GradCAMPlusPlus", _pgc_cam(pgc.GradCAMPlusPlus), scaled=True),
    ),
    "hires_cam": (Peer("pytorch-grad-cam HiResCAM", _pgc_cam(pgc.HiResCAM), scaled=True),),
    "layer_cam": (Peer("pytorch-grad-cam LayerCAM", _pgc_cam(pgc.LayerCAM), scaled=True),),
    "guided_grad_cam": (Peer("Captum GuidedGradCam", _captum_guided_grad_cam),),
    "smooth_grad": (
        Peer(
            "Captum NoiseTunnel of Saliency",
            lambda net: _captum_smooth_grad(attr.Saliency(net.model), abs=False),
            same=False,
        ),
        Peer("MONAI SmoothGrad", _monai_smooth_grad(monai.SmoothGrad), single=True, same=False),
    ),
    "smooth_grad of guided_backprop": (
        Peer(
            "Captum NoiseTunnel of GuidedBackprop",
            lambda net: _captum_smooth_grad(attr.GuidedBackprop(net.model)),
            same=False,
        ),
        Peer(
            "MONAI GuidedBackpropSmoothGrad",
            _monai_smooth_grad(monai.GuidedBackpropSmoothGrad),
            single=True,
            same=False,
        ),
    ),
    "integrated_gradients": (Peer("Captum IntegratedGradients", _captum_integrated_gradients),),
}
