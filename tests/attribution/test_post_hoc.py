"""Generators to look at alone: against loops, closed forms, and networks whose answer is known."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radgaze import attribution
from radgaze.attribution.generators.post_hoc import Reference, referred, superpixels
from radgaze.attribution.registry import PRESETS, presets
from tests.attribution.networks import Inverted, Residual, Small, randomised

POST_HOC = ("deep_lift", "occlusion", "lime")
RAW: dict[str, object] = {"readout": "sum", "normalise": "none"}
FEW: dict[str, dict[str, object]] = {
    "lime": {"samples": 40, "superpixels": 12},
    "occlusion": {"window": 0.25},
    "deep_lift": {},
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def plain(activation: type[nn.Module]) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        activation(),
        nn.Conv2d(4, 5, 3, stride=2),
        activation(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(5, 3),
    ).eval()


def test_post_hoc_generators_are_those_that_cannot_be_trained_through() -> None:
    assert set(attribution.names(differentiable=False)) == set(POST_HOC)
    assert set(attribution.names(differentiable=True)) == set(attribution.names()) - set(POST_HOC)


@pytest.mark.parametrize("name", POST_HOC)
def test_there_is_no_reading_and_no_option_of_rules(name: str) -> None:
    generator = attribution.create(name, plain(nn.ReLU))
    with pytest.raises(ValueError, match="cannot be trained through"):
        generator.capture()
    with pytest.raises(ValueError, match="no option 'rule_for'"):
        attribution.create(name, plain(nn.ReLU), rule_for="relu")


@pytest.mark.parametrize("name", POST_HOC)
@pytest.mark.parametrize("network", [Residual, lambda: Small(nn.SiLU), lambda: Inverted(channels=1)])
def test_a_map_lies_in_0_to_1_leaves_the_model_alone_and_does_not_depend_on_its_batch(
    name: str, network: Callable[[], nn.Module]
) -> None:
    model = randomised(network()).float().train()
    images = torch.rand(3, 1, 24, 20)
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    generator = attribution.create(name, model, readout="absolute", **FEW[name])
    heat = generator(images, torch.tensor([0, 2, 1]))
    assert torch.equal(torch.rand(2), expected)  # torch's random state is as it was
    assert heat.shape == images.shape
    assert not heat.requires_grad
    assert heat.min() >= 0
    assert heat.amax((1, 2, 3)).tolist() == pytest.approx([1.0] * 3)
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(not module._forward_hooks and not module._backward_hooks for module in model.modules())
    torch.testing.assert_close(generator(images[1:2], 2)[0], heat[1], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", POST_HOC)
def test_a_function_is_a_target_and_words_are(name: str) -> None:
    model, images = plain(nn.SiLU), torch.rand(2, 1, 16, 16)
    generator = attribution.create(name, model, **RAW, **FEW[name])
    torch.testing.assert_close(generator(images, 1), generator(images, lambda out: out[:, 1]))
    best = model(images).argmax(1)
    torch.testing.assert_close(generator(images), generator(images, best))
    torch.testing.assert_close(
        generator(images, "true", labels=torch.tensor([2, 0])), generator(images, torch.tensor([2, 0]))
    )


# DeepLIFT


@pytest.mark.parametrize("activation", [nn.ReLU, nn.SiLU, nn.GELU, nn.Hardswish])
@pytest.mark.parametrize("reference", ["black", "mean", "blurred"])
def test_deep_lift_adds_up_to_what_the_score_gains_over_the_reference(
    activation: type[nn.Module], reference: Reference
) -> None:
    model, images = plain(activation), torch.rand(3, 1, 16, 16)
    found = attribution.create("deep_lift", model, reference=reference, **RAW)(images, 1)
    gain = model(images)[:, 1] - model(referred(reference, images))[:, 1]
    torch.testing.assert_close(found.sum((1, 2, 3)), gain.detach(), atol=1e-5, rtol=1e-3)


def test_deep_lift_of_a_large_image_is_no_rounding_error() -> None:
    """Each of so many places has a part of the score that is below the rounding of the whole."""
    torch.manual_seed(0)
    head = nn.Linear(16, 3)
    head.bias.data[1] += 3
    layers = (
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
    )
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head).eval()
    images = torch.rand(1, 1, 512, 512)
    found = attribution.create("deep_lift", model, **RAW)(images, 1)
    with torch.no_grad():
        gain = (model(images) - model(torch.zeros_like(images)))[0, 1]
    assert abs(gain) > 0.01
    torch.testing.assert_close(found.sum(), gain, rtol=1e-3, atol=1e-4)


def test_deep_lift_of_one_layer_is_the_rescale_rule_by_hand() -> None:
    weight, out = torch.randn(6, 16), torch.randn(3, 6)
    first, last = nn.Linear(16, 6, bias=False), nn.Linear(6, 3, bias=False)
    model = nn.Sequential(nn.Flatten(), first, nn.SiLU(), last)
    first.weight.data, last.weight.data = weight, out
    images, reference = torch.randn(2, 1, 4, 4), torch.rand(1, 4, 4)
    found = attribution.create("deep_lift", model, reference=reference, **RAW)(images, 2)
    for image, heat in zip(images, found, strict=True):
        z, z0 = weight @ image.flatten(), weight @ reference.flatten()
        multiplier = ((F.silu(z) - F.silu(z0)) / (z - z0) * out[2]) @ weight
        expected = (image - reference).flatten() * multiplier
        torch.testing.assert_close(heat.flatten(), expected, atol=1e-5, rtol=1e-4)


def test_deep_lift_of_an_activation_used_twice_is_that_of_two() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.act = nn.Linear(16, 8), nn.Linear(8, 3), nn.SiLU()

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.act(self.second(self.act(self.first(x.flatten(1)))))
            return logits

    twice = Twice()
    apart = nn.Sequential(nn.Flatten(), twice.first, nn.SiLU(), twice.second, nn.SiLU())
    images = torch.rand(2, 1, 4, 4)
    found = [attribution.create("deep_lift", model, **RAW)(images, 0) for model in (twice, apart)]
    torch.testing.assert_close(*found)
    gain = apart(images)[:, 0] - apart(torch.zeros_like(images))[:, 0]
    torch.testing.assert_close(found[0].sum((1, 2, 3)), gain.detach(), atol=1e-5, rtol=1e-3)


# Occlusion


def test_occlusion_is_a_loop_over_squares() -> None:
    model, images = plain(nn.SiLU), torch.rand(2, 1, 13, 11)
    found = attribution.create("occlusion", model, window=0.4, stride=0.5, reference="black", **RAW)(
        images, 1
    )
    side, step = round(0.4 * 11), round(0.5 * round(0.4 * 11))

    def starts(length: int) -> list[int]:
        return list(range(0, length - side + step, step))

    with torch.no_grad():
        for image, heat in zip(images, found, strict=True):
            lost, counts = torch.zeros(13, 11), torch.zeros(13, 11)
            for top in starts(13):
                for left in starts(11):
                    hidden = image.clone()
                    hidden[:, top : top + side, left : left + side] = 0
                    lost[top : top + side, left : left + side] += (model(image[None]) - model(hidden[None]))[
                        0, 1
                    ]
                    counts[top : top + side, left : left + side] += 1
            torch.testing.assert_close(heat[0], lost / counts.clamp(min=1), atol=1e-5, rtol=1e-4)


# LIME


def test_lime_finds_the_weights_of_a_score_that_is_linear_in_superpixels() -> None:
    image = torch.zeros(1, 1, 24, 24)
    for k, value in enumerate((0.2, 0.9, 0.5, 0.7)):
        image[..., 12 * (k // 2) :, 12 * (k % 2) :] = value
    labels = superpixels(image[0], 4)
    there = sorted(set(labels.flatten().tolist()))
    assert there == list(range(len(there)))
    weights = torch.randn(len(there))

    class Linear(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            parts = [x[:, 0][:, labels[0, 0] == k].mean(1) for k in there]
            return (torch.stack(parts, 1) @ weights)[:, None]

    found = attribution.create("lime", Linear(), penalty=0.0, superpixels=4, reference="black", **RAW)(
        image, 0
    )
    for k in there:
        own = labels[0] == k
        expected = weights[k] * image[0][own].mean()
        torch.testing.assert_close(found[0][own], expected.expand(int(own.sum())), atol=1e-4, rtol=1e-3)


def test_what_cannot_be_is_told() -> None:
    model = plain(nn.ReLU)
    wrong: list[tuple[str, dict[str, object], str]] = [
        ("deep_lift", {"reference": "white"}, "black, mean, blurred"),
        ("occlusion", {"window": 0}, "window must be a share"),
        ("lime", {"samples": 1}, "samples must be at least 2"),
        ("lime", {"internal_batch_size": 0}, "internal_batch_size"),
    ]
    wrong += [("smooth_grad", {"base": name}, f"which {name} does not make") for name in POST_HOC]
    for name, options, said in wrong:
        with pytest.raises(ValueError, match=said):
            attribution.create(name, model, **options)


# What applies, and what is offered

OF_TRANSFORMERS = {"attention", "attention_rollout", "relevance"}


def test_methods_are_those_that_apply_to_the_model() -> None:
    convolutions = Small(nn.SiLU)
    assert set(attribution.methods(convolutions)) == set(attribution.names()) - {"pylon", *OF_TRANSFORMERS}
    no_pooling = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
    no_pooling(torch.zeros(1, 1, 64, 64))
    assert (
        set(attribution.methods(no_pooling)) == set(attribution.names()) - {"pylon", "cam"} - OF_TRANSFORMERS
    )
    assert set(PRESETS) == set(presets(convolutions)) | {"pylon"} | OF_TRANSFORMERS


@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet"])
def test_every_method_that_is_listed_makes_a_map(name: str) -> None:
    """The CAMs of a transformer, made of its tokens, were listed, and failed."""
    model = timm.create_model(name, pretrained=False, num_classes=3).eval()
    images = torch.rand(1, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    listed = attribution.methods(model)
    assert "grad_cam" in listed
    assert OF_TRANSFORMERS & set(listed) == (OF_TRANSFORMERS if name == "test_vit" else set())
    for method in listed:
        few: dict[str, dict[str, float]] = {
            "occlusion": {"window": 0.5, "stride": 0.5},
            "lime": {"samples": 8},
            "smooth_grad": {"samples": 2},
        }
        heat = attribution.create(method, model, **few.get(method, {}))(images, target=1)
        assert heat.shape == (1, 1, 160, 160), method


class OneQuadrant(nn.Module):
    """A classifier that can only see the upper right quarter of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act1 = nn.Conv2d(1, 6, 3, padding=1, bias=False), nn.SiLU()
        self.second, self.act2 = nn.Conv2d(6, 8, 3, stride=2, padding=1, bias=False), nn.SiLU()
        self.head = nn.Linear(8, 2)

    def forward(self, images: Tensor) -> Tensor:
        H, W = images.shape[-2:]
        seen = torch.zeros(H, W, device=images.device)
        seen[: H // 2, W // 2 :] = 1
        x = self.act2(self.second(self.act1(self.first(images * seen))))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


@pytest.mark.parametrize("name", [name for name in PRESETS if name not in {"pylon", *OF_TRANSFORMERS}])
def test_a_network_that_sees_one_quadrant_is_localised_there_by_every_method(name: str) -> None:
    torch.manual_seed(3)
    model = OneQuadrant()
    for parameter in model.parameters():  # the score grows with what is seen
        parameter.data.abs_()
    model.head.weight.data[1].neg_()
    images = F.interpolate(torch.rand(2, 1, 12, 12), size=(48, 48), mode="bilinear").clamp(0.05)
    assert name in presets(model)
    heat = PRESETS[name].create(model)(images, 0)
    inside = torch.zeros(48, 48)
    inside[:25, 23:] = 1  # and what a convolution of 3 pixels reaches
    # Superpixels straddle the border, and a regression on draws leaves some weight to all of them.
    least = 0.8 if name == "lime" else 0.9
    energy = (heat * inside).sum((1, 2, 3)) / heat.sum((1, 2, 3))
    assert (energy > least).all(), energy
    for one in heat[:, 0]:
        row, column = divmod(int(one.argmax()), 48)
        assert inside[row, column] == 1
