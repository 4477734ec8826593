"""Where a map is made: at the layer named or, with none, at the features that the classifier pools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radgaze import attribution, models
from tests.attribution.finite_differences import assert_heatmap_loss_is_exact
from tests.attribution.generator_contract import images_for
from tests.attribution.networks import Residual, Small, randomised

TARGETS = torch.tensor([2, 0, 1, 1])
GRADIENTS = ("backprop", "input_x_gradient", "deconvnet", "guided_backprop")
Split = tuple[nn.Module, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]
"""A network, and the two halves of it: images to the last stage, the last stage to logits."""


def unet() -> Split:
    model: Any = models.create(models.ModelConfig(weights="none", dropout=0.0), 3)
    network = model.network
    return model, lambda x: network.encoder(model.grey(x))[-1], network.classification_head


def classifier() -> Split:
    config = models.ModelConfig(architecture="classifier", encoder="resnet18", weights="none", dropout=0.0)
    model: Any = models.create(config, 3)
    return model, lambda x: model.encoder(model.grey(x))[-1], model.head


def of_timm(name: str) -> Split:
    model: Any = timm.create_model(name, pretrained=False, num_classes=3, in_chans=1)
    return model, model.forward_features, model.forward_head


def vgg() -> Split:
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(4),
        nn.Conv2d(4, 5, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(4),
        nn.Flatten(),
        nn.Linear(5 * 16, 7),
        nn.ReLU(),
        nn.Linear(7, 3),
    )
    return model, model[:6], model[6:]


class TwoHeads(nn.Module):
    """Its second output pools other features, later than the first does."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3, stride=2), nn.Conv2d(4, 4, 3)
        self.head, self.other = nn.Linear(4, 3), nn.Linear(4, 2)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = self.features(images)
        return self.head(x.mean((2, 3))), self.other(self.second(x).mean((2, 3)))

    def features(self, images: Tensor) -> Tensor:
        return F.silu(self.first(images))


def two_heads() -> Split:
    model = TwoHeads()
    return model, model.features, lambda x: model.head(x.mean((2, 3)))


SPLIT: dict[str, Callable[[], Split]] = {
    "unet": unet,
    "classifier": classifier,
    "timm efficientnet": lambda: of_timm("test_efficientnet"),
    "timm resnet": lambda: of_timm("test_resnet"),
    "timm mobilenetv3": lambda: of_timm("mobilenetv3_small_050"),
    "flattened": vgg,
    "two heads": two_heads,
}


@pytest.mark.parametrize("network", SPLIT)
def test_last_stage_is_found_by_itself(network: str) -> None:
    torch.manual_seed(0)
    model, before, after = SPLIT[network]()
    randomised(model).eval()
    images = torch.rand(4, 1, 64, 64, dtype=torch.float64)
    A = before(images)
    (g,) = torch.autograd.grad(after(A).gather(1, TARGETS[:, None]).sum(), A)
    by_hand = {
        "grad_cam": (g.mean((2, 3), keepdim=True) * A).sum(1, keepdim=True).clamp(min=0),
        "layer_cam": (g.clamp(min=0) * A).sum(1, keepdim=True).clamp(min=0),
        "hires_cam": (g * A).sum(1, keepdim=True).clamp(min=0),
    }
    for name, coarse in by_hand.items():
        ours = attribution.create(name, model, normalise="none")(images, TARGETS)
        expected = F.interpolate(coarse.detach(), size=(64, 64), mode="bilinear")
        torch.testing.assert_close(ours, expected)
    assert by_hand["layer_cam"].max() > 0


@pytest.mark.parametrize("name", GRADIENTS)
@pytest.mark.parametrize("layer", ["act1", "norm2", "act2", "act4"])
def test_gradient_at_a_layer_is_that_of_the_rest_of_the_network_in_its_input(name: str, layer: str) -> None:
    model = randomised(Small(nn.SiLU)).eval()
    images = images_for(model, 4)

    class Rest(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.whole = model

        def forward(self, x: Tensor) -> Tensor:
            m = self.whole
            if layer == "act1":
                x = m.norm2(m.depthwise(x))
            if layer in ("act1", "norm2"):
                x = m.act2(x)
            if layer != "act4":
                x = m.excited(x)
            logits: Tensor = m.head(x.mean((2, 3)))
            return logits

    kept: list[Tensor] = []
    hook = model.get_submodule(layer).register_forward_hook(lambda *call: kept.append(call[2].detach()))
    model(images)
    hook.remove()
    if layer == "act4" and name in ("deconvnet", "guided_backprop"):
        with pytest.raises(RuntimeError, match="met no activation"):
            attribution.create(name, Rest())(kept[0], TARGETS)
        name_of_rest = "backprop"  # after it there is none to lay a rule on
    else:
        name_of_rest = name
    expected = attribution.create(name_of_rest, Rest(), normalise="none")(kept[0], TARGETS)
    ours = attribution.create(name, model, normalise="none", layer=layer)(images, TARGETS)
    torch.testing.assert_close(ours, F.interpolate(expected, size=images.shape[-2:], mode="bilinear"))


@pytest.mark.parametrize(
    "name", ["backprop", "guided_backprop", "grad_cam", "guided_grad_cam", "smooth_grad"]
)
def test_heatmap_loss_gradient_at_a_layer_matches_finite_differences(name: str) -> None:
    torch.manual_seed(0)
    model = randomised(Small(nn.SiLU)).eval()
    few = {"samples": 2, "base": "grad_cam"} if name == "smooth_grad" else {}
    generator = attribution.create(name, model, layer="act2", normalise="none", **few)
    assert_heatmap_loss_is_exact(generator, images_for(model, 3))


@pytest.mark.parametrize("name", ["backprop", "grad_cam"])
def test_layer_whose_output_is_overwritten_is_read_as_it_was(name: str) -> None:
    """In `Residual` the first norm's output is overwritten by a ReLU."""
    model = randomised(Residual()).eval()
    images = images_for(model, 4)
    A = model.norm(model.stem(images))
    x = F.max_pool2d(F.relu(A), 2)
    y = model.norm2(model.conv2(F.relu(model.norm1(model.conv1(x)))))
    logits = model.head(F.relu(y + model.shortcut(x)).mean((2, 3)))
    (g,) = torch.autograd.grad(logits.gather(1, TARGETS[:, None]).sum(), A)
    by_hand = {
        "backprop": g.abs().amax(1, keepdim=True),
        "grad_cam": (g.mean((2, 3), keepdim=True) * A).sum(1, keepdim=True).clamp(min=0).detach(),
    }
    ours = attribution.create(name, model, layer="norm", normalise="none")(images, TARGETS)
    torch.testing.assert_close(ours, by_hand[name])
    assert ours.max() > 0


def test_dotted_name_reaches_into_the_network() -> None:
    torch.manual_seed(0)
    model = models.create(models.ModelConfig(weights="none"), 3).eval()
    images = torch.rand(2, 1, 64, 64)
    for layer in ("network.encoder.blocks.2", "network.encoder.blocks.4.1.bn3"):
        heat = attribution.create("layer_cam", model, layer=layer)(images, 1)
        assert heat.shape == (2, 1, 64, 64)
        assert heat.max() == 1


def test_layer_that_there_is_not_is_named() -> None:
    with pytest.raises(ValueError, match="no layer 'act9'"):
        attribution.create("grad_cam", Small(nn.ReLU), layer="act9")


def test_layer_without_feature_maps_is_an_error_that_says_so() -> None:
    model = Small(nn.ReLU)
    with pytest.raises(RuntimeError, match=r"head gives no feature maps \(B, C, h, w\), but \(4, 3\)"):
        attribution.create("grad_cam", model, layer="head")(torch.rand(4, 1, 20, 18), 1)


@pytest.mark.parametrize("name", ["grad_cam", "guided_backprop"])
def test_layer_that_the_score_does_not_depend_on_is_an_error_that_says_so(name: str) -> None:
    with pytest.raises(RuntimeError, match="does not depend on"):
        attribution.create(name, TwoHeads(), layer="second")(torch.rand(4, 1, 20, 18), 1)


def test_network_that_pools_nothing_is_told_to_name_a_layer() -> None:
    class Strided(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 3, 8, stride=8)

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.conv(images)[:, :, 0, 0]
            return logits

    images = torch.rand(4, 1, 16, 16)
    with pytest.raises(RuntimeError, match="name a layer"):
        attribution.create("grad_cam", Strided())(images, 1)
    assert attribution.create("grad_cam", Strided(), layer="conv")(images, 1).shape == (4, 1, 16, 16)


def test_path_from_a_baseline_has_no_layer() -> None:
    with pytest.raises(ValueError, match="has no layer"):
        attribution.create("integrated_gradients", Small(nn.ReLU), layer="act2")
