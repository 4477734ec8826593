"""Errors for models that cannot be explained state problem and remedy; rounding noise is no map."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from radgaze import attribution


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
        self.head = nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(images).mean((2, 3)))
        return logits


class Frozen(Net):
    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            found = self.features(images)
        logits: Tensor = self.head(found.mean((2, 3)))
        return logits


class Several(Net):
    def forward(self, images: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        found = self.features(images)
        return OrderedDict(embedding=found.mean((2, 3)), scores=self.head(found.mean((2, 3))), maps=found)


IMAGES = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("name", ["backprop", "guided_backprop", "grad_cam"])
def test_an_encoder_under_no_grad_is_told(name: str) -> None:
    with pytest.raises(RuntimeError, match=r"no_grad|no activation|no feature maps"):
        attribution.create(name, Frozen())(IMAGES, target=1)


def test_of_several_outputs_the_logits_are_named() -> None:
    model = Several()
    with pytest.raises(ValueError, match="which of the model's outputs are the logits"):
        attribution.create("backprop", model)(IMAGES, target=1)
    for name in ("backprop", "grad_cam", "smooth_grad", "occlusion"):
        made = attribution.create(name, model, output="scores")(IMAGES, target=1)
        assert torch.equal(made, attribution.create(name, Net())(IMAGES, target=1))
    with pytest.raises(ValueError, match="has no 'logit'"):
        attribution.create("backprop", model, output="logit")(IMAGES, target=1)


@pytest.mark.parametrize("name", ["backprop", "grad_cam", "occlusion"])
@pytest.mark.parametrize(
    ("images", "target", "words"),
    [
        (torch.zeros(0, 1, 8, 8), 1, "holds no images"),
        (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), 1, "floating-point"),
        (IMAGES.numpy(), 1, r"images are a tensor \(B, C, H, W\), got ndarray"),
        (IMAGES.tolist(), 1, r"images are a tensor \(B, C, H, W\), got list"),
        (IMAGES[:, 0], 1, r"images are a tensor \(B, C, H, W\); these are \(2, 8, 8\)"),
        (IMAGES[0, 0], 1, r"these are \(8, 8\)"),
        (IMAGES[None], 1, r"these are \(1, 2, 1, 8, 8\)"),
        (IMAGES, None, "not None"),
        (IMAGES, 0.5, "not 0.5"),
        (IMAGES, True, "not True"),
        (IMAGES, torch.tensor([0.0, 1.0]), "not a tensor of torch.float32"),
    ],
)
def test_what_is_no_batch_or_no_target_is_refused(
    name: str, images: Tensor, target: object, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        attribution.create(name, Net())(images, target=target)  # type: ignore[arg-type]  # refused


@pytest.mark.parametrize("name", ["backprop", "grad_cam", "occlusion"])
@pytest.mark.parametrize("model", [None, Net, lambda images: images])
def test_what_is_no_network_is_refused(name: str, model: Any) -> None:
    with pytest.raises(ValueError, match=r"of a network, a torch\.nn\.Module, got"):
        attribution.create(name, model)


def test_what_is_no_network_is_refused_where_it_is_captured() -> None:
    generator = attribution.create("backprop", Net())
    with (
        pytest.raises(ValueError, match=r"of a network, .* got function"),
        generator.capture(lambda images: images),  # type: ignore[arg-type]  # refused
    ):
        pass


def test_images_given_by_keyword_are_told_how_to_be_given() -> None:
    model = Net()
    generator = attribution.create("backprop", model)
    with generator.capture(model) as read, pytest.raises(RuntimeError, match=r"call model\(images\), not"):
        read(model(images=IMAGES), 1)


def test_one_class_as_a_tensor_is_that_of_all_cases() -> None:
    generator = attribution.create("backprop", Net())
    assert torch.equal(generator(IMAGES, target=torch.tensor(2)), generator(IMAGES, target=2))


class Constant(nn.Module):
    """Its score depends on the image by rounding alone: the mean is taken away, and comes to nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(1, 2)

    def forward(self, images: Tensor) -> Tensor:
        total = (images - images.mean((2, 3), keepdim=True)).mean((2, 3)) * 1e-3
        logits: Tensor = self.head(torch.relu(total + 1)) + 1
        return logits


@pytest.mark.parametrize("name", ["backprop", "guided_backprop", "occlusion", "integrated_gradients"])
def test_a_map_of_rounding_noise_is_zero_and_not_scaled_to_one(name: str) -> None:
    made = attribution.create(name, Constant())(IMAGES, target=1)
    assert torch.equal(made, torch.zeros_like(made))


def test_a_small_gradient_that_is_no_noise_is_kept() -> None:
    model = Net()
    with torch.no_grad():
        model.head.weight.mul_(1e-6)
        model.head.bias.fill_(3.0)
    whole = attribution.create("backprop", Net())(IMAGES, target=1)
    torch.testing.assert_close(
        attribution.create("backprop", model)(IMAGES, target=1), whole, rtol=1e-4, atol=1e-5
    )
