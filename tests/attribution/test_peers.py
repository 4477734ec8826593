"""On ReLU networks, where a rule means the same to all, maps equal Captum's and pytorch-grad-cam's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import captum.attr
import numpy as np
import pytest
import pytorch_grad_cam
import torch
import torch.nn.functional as F
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from radgaze import attribution
from tests.attribution.generator_contract import approving, images_for
from tests.attribution.networks import Small, randomised

TARGETS = torch.tensor([0, 2, 1, 1])
pytestmark = pytest.mark.filterwarnings("ignore:Setting backward hooks")


class Grey(nn.Module):
    """A network of one channel, shown images of two: attributions differ between the channels."""

    def __init__(self, network: Small) -> None:
        super().__init__()
        self.mix, self.network = nn.Conv2d(2, 1, 1, bias=False), network

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(self.mix(images))
        return logits


@pytest.fixture
def model() -> Grey:
    model = randomised(Grey(Small(nn.ReLU))).eval()
    approving(model.network)
    return model


@pytest.fixture
def images(model: Grey) -> Tensor:
    return images_for(model, 4, size=(24, 20))


@pytest.mark.parametrize("readout", ["absolute", "sum", "norm"])
@pytest.mark.parametrize(
    ("name", "oracle"),
    [
        ("backprop", lambda model: captum.attr.Saliency(model)),
        ("input_x_gradient", captum.attr.InputXGradient),
        ("deconvnet", captum.attr.Deconvolution),
        ("guided_backprop", captum.attr.GuidedBackprop),
    ],
)
def test_gradients_equal_captums(
    name: str, oracle: Callable[[nn.Module], Any], readout: str, model: Grey, images: Tensor
) -> None:
    ours = attribution.create(name, model, normalise="none", readout=readout)(images, TARGETS)
    signed = {"abs": False} if name == "backprop" else {}
    theirs = oracle(model).attribute(images.clone().requires_grad_(), target=TARGETS, **signed)
    assert_same(ours, read_out(theirs.detach(), readout))


@pytest.mark.parametrize("layer", ["network.act1", "network.act2", "network.act4"])
def test_grad_cam_equals_captums(layer: str, model: Grey, images: Tensor) -> None:
    ours = attribution.create("grad_cam", model, normalise="none", layer=layer)(images, TARGETS)
    oracle = captum.attr.LayerGradCam(model, model.get_submodule(layer))
    theirs = oracle.attribute(images.clone().requires_grad_(), target=TARGETS, relu_attributions=True)
    assert_same(ours, enlarged(theirs.detach(), images))


@pytest.mark.parametrize("layer", ["network.act1", "network.act4"])
def test_guided_grad_cam_equals_captums(layer: str, model: Grey, images: Tensor) -> None:
    ours = attribution.create("guided_grad_cam", model, normalise="none", readout="norm", layer=layer)
    oracle = captum.attr.GuidedGradCam(model, model.get_submodule(layer))
    theirs = oracle.attribute(images.clone().requires_grad_(), target=TARGETS, interpolate_mode="bilinear")
    assert_same(ours(images, TARGETS), read_out(theirs.detach(), "norm"))


@pytest.mark.parametrize(("steps", "baseline"), [(7, 0.0), (20, 0.3)])
def test_integrated_gradients_equal_captums(steps: int, baseline: float, model: Grey, images: Tensor) -> None:
    ours = attribution.create(
        "integrated_gradients", model, normalise="none", readout="sum", steps=steps, baseline=baseline
    )
    theirs = captum.attr.IntegratedGradients(model).attribute(
        images, baselines=baseline, target=TARGETS, n_steps=steps, method="gausslegendre"
    )
    # theirs has its points in float32
    assert_same(ours(images, TARGETS), theirs.detach().sum(1, keepdim=True), rtol=1e-6)


def test_integrated_gradients_sum_up_to_the_difference_of_the_scores(images: Tensor) -> None:
    model = randomised(Grey(Small(nn.GELU))).eval()
    generator = attribution.create(
        "integrated_gradients", model, normalise="none", readout="sum", steps=30, baseline=0.5
    )
    with torch.no_grad():
        difference = model(images) - model(torch.full_like(images, 0.5))
    expected = difference.gather(1, TARGETS[:, None])[:, 0]
    torch.testing.assert_close(generator(images, TARGETS).sum((1, 2, 3)), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("base", "oracle"),
    [
        ("backprop", lambda model: captum.attr.Saliency(model)),
        ("guided_backprop", captum.attr.GuidedBackprop),
        ("input_x_gradient", captum.attr.InputXGradient),
    ],
)
def test_smooth_grad_is_the_mean_of_captums_maps_over_the_same_noise(
    base: str, oracle: Callable[[nn.Module], Any], model: Grey, images: Tensor
) -> None:
    images = images * torch.tensor([1, 0.5, 2, 3]).view(-1, 1, 1, 1)  # noise is a share of each one's range
    ours = attribution.create(
        "smooth_grad", model, base=base, samples=3, noise=0.2, seed=5, normalise="none", readout="norm"
    )
    source = torch.Generator().manual_seed(5)
    noise = torch.randn(3, *images.shape[1:], generator=source, dtype=images.dtype)
    spread = 0.2 * (images.amax((1, 2, 3)) - images.amin((1, 2, 3))).view(-1, 1, 1, 1)
    signed = {"abs": False} if base == "backprop" else {}
    explained = [
        oracle(model).attribute((images + spread * each).requires_grad_(), target=TARGETS, **signed)
        for each in noise
    ]
    mean = torch.stack(explained).mean(0).detach()
    assert_same(ours(images, TARGETS), read_out(mean, "norm"))


def test_smooth_grad_over_a_class_activation_map_is_the_mean_of_captums(model: Grey, images: Tensor) -> None:
    ours = attribution.create("smooth_grad", model, base="grad_cam", samples=2, normalise="none")
    source = torch.Generator().manual_seed(0)
    noise = torch.randn(2, *images.shape[1:], generator=source, dtype=images.dtype)
    spread = 0.15 * (images.amax((1, 2, 3)) - images.amin((1, 2, 3))).view(-1, 1, 1, 1)
    oracle = captum.attr.LayerGradCam(model, model.network.act4)
    maps = [
        oracle.attribute(images + spread * each, target=TARGETS, relu_attributions=True) for each in noise
    ]
    assert_same(ours(images, TARGETS), enlarged(torch.stack(maps).mean(0).detach(), images))


@pytest.mark.parametrize(
    ("name", "oracle"),
    [("guided_backprop", captum.attr.GuidedBackprop), ("deconvnet", captum.attr.Deconvolution)],
)
def test_on_silu_networks_captum_gives_the_plain_gradient_and_we_do_not(
    name: str, oracle: Callable[[nn.Module], Any], images: Tensor
) -> None:
    model = randomised(Grey(Small(nn.SiLU))).eval()
    plain = attribution.create("backprop", model, normalise="none")(images, TARGETS)
    ours = attribution.create(name, model, normalise="none")(images, TARGETS)
    theirs = oracle(model).attribute(images.clone().requires_grad_(), target=TARGETS)
    assert_same(read_out(theirs.detach(), "absolute"), plain)
    assert (ours - plain).abs().max() > 0.01 * plain.max()


PYTORCH_GRAD_CAM = {
    "grad_cam": pytorch_grad_cam.GradCAM,
    "grad_cam_pp": pytorch_grad_cam.GradCAMPlusPlus,
    "hires_cam": pytorch_grad_cam.HiResCAM,
    "layer_cam": pytorch_grad_cam.LayerCAM,
}


@pytest.mark.parametrize("layer", ["network.act1", "network.act4"])
@pytest.mark.parametrize("name", PYTORCH_GRAD_CAM)
def test_class_activation_maps_equal_those_of_pytorch_grad_cam(
    name: str, layer: str, model: Grey, images: Tensor
) -> None:
    """To their 1e-5: they compute in float32, and add 1e-6 below a fraction and 1e-7 to a scale."""
    model.network.head.weight.data.mul_(1e4)  # beside such gradients that counts nothing
    ours = attribution.create(name, model, normalise="minmax", layer=layer)(images, TARGETS)
    targets = [ClassifierOutputTarget(int(k)) for k in TARGETS]
    with PYTORCH_GRAD_CAM[name](model, [model.get_submodule(layer)]) as oracle:
        theirs = oracle(images, targets)
    assert ours.flatten(1).std(1).min() > 0.01
    np.testing.assert_allclose(ours[:, 0].numpy(), theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", PYTORCH_GRAD_CAM)
def test_raw_class_activation_maps_equal_those_of_pytorch_grad_cam(
    name: str, model: Grey, images: Tensor
) -> None:
    model.network.head.weight.data.mul_(1e4)
    ours = attribution.create(name, model, normalise="none")(images, TARGETS)
    targets = [ClassifierOutputTarget(int(k)) for k in TARGETS]
    with PYTORCH_GRAD_CAM[name](model, [model.network.act4]) as oracle:
        oracle(images, targets)
        seen = oracle.activations_and_grads
        arrays = (seen.activations[0].numpy(), seen.gradients[0].numpy())
        raw = oracle.get_cam_image(images, model.network.act4, targets, *arrays, eigen_smooth=False)
    theirs = torch.from_numpy(np.maximum(raw, 0))[:, None]
    assert_same(ours, enlarged(theirs, images), rtol=1e-5)


def read_out(attributions: Tensor, how: str) -> Tensor:
    """(B, C, H, W) → (B, 1, H, W)."""
    reduced: dict[str, Tensor] = {
        "absolute": attributions.abs().max(1)[0],
        "sum": attributions.sum(1),
        "norm": attributions.norm(dim=1),
    }
    return reduced[how].unsqueeze(1)


def enlarged(heat: Tensor, images: Tensor) -> Tensor:
    return F.interpolate(heat, size=images.shape[-2:], mode="bilinear", align_corners=False)


def assert_same(ours: Tensor, theirs: Tensor, rtol: float = 1e-9) -> None:
    """Within rounding, though 1e-5 is asked for."""
    torch.testing.assert_close(ours, theirs, rtol=rtol, atol=rtol * theirs.abs().max().item())
    assert theirs.abs().max() > 0
