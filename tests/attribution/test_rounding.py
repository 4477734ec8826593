"""Rounding noise is no heatmap, and a model that cannot be explained raises an error with the reason."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from radgaze import attribution
from tests.attribution.networks import Small

LOOKING = (
    "backprop",
    "input_x_gradient",
    "grad_cam",
    "smooth_grad",
    "integrated_gradients",
    "guided_backprop",
)


class Constant(nn.Module):
    """Scores that do not depend on the images, but for their rounding."""

    def forward(self, images: Tensor) -> Tensor:
        mean = images.mean((1, 2, 3))
        return (mean / 3 + 100 - mean / 3)[:, None] * torch.tensor([1.0, -2.0], device=images.device)


@pytest.mark.parametrize("name", LOOKING)
def test_gradients_that_cancel_but_for_rounding_give_an_empty_map(name: str) -> None:
    """The probabilities of all classes add up to 1, whatever the image shows."""
    torch.manual_seed(0)
    model = Small(nn.ReLU).eval()
    model.head.weight.data.abs_()
    images = torch.rand(4, 1, 20, 18)
    generator = attribution.create(name, model)
    assert generator(images, lambda logits: logits.softmax(1).sum(1)).max() == 0
    assert generator(images, 1).amax() == 1


@pytest.mark.parametrize("name", ["lime", "occlusion"])
def test_scores_that_differ_by_rounding_alone_give_an_empty_map(name: str) -> None:
    torch.manual_seed(0)
    assert attribution.create(name, Constant())(torch.rand(2, 1, 24, 24), 0).max() == 0


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1.0])
def test_gradient_that_is_merely_small_beside_its_score_is_kept(scale: float) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(300, 2))
    images = torch.rand(3, 1, 12, 12)
    small = attribution.create("backprop", model)(images, lambda logits: 1 + scale * logits[:, 1])
    torch.testing.assert_close(small, attribution.create("backprop", model)(images, 1))


def test_map_to_train_through_is_empty_where_it_is_rounding_and_has_a_gradient() -> None:
    torch.manual_seed(0)
    model = Small(nn.SiLU).eval()
    with attribution.create("backprop", model).capture() as read:
        heat = read(model(torch.rand(2, 1, 20, 18)), lambda logits: logits.softmax(1).sum(1))
    torch.autograd.backward(heat.sum())
    assert heat.max() == 0
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("name", [*LOOKING, "deep_lift"])
@pytest.mark.filterwarnings("ignore")
def test_quantised_head_is_an_error_that_says_so(name: str) -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    quantised = torch.ao.quantization.quantize_dynamic(  # type: ignore[no-untyped-call]
        model.eval(), {nn.Linear}
    )
    with pytest.raises(RuntimeError, match="has no gradient, as those of quantised layers"):
        attribution.create(name, quantised)(torch.rand(2, 1, 12, 12), 1)


class Frozen(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.network, self.how = Small(nn.ReLU), how

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor
        if self.how == "everything":
            with torch.no_grad():
                logits = self.network(images)
                return logits
        with torch.no_grad():
            features = self.network.excited(self.network.entered(images))
        logits = self.network.head(features.mean((2, 3)))
        return logits


@pytest.mark.parametrize("how", ["everything", "encoder"])
@pytest.mark.parametrize("name", ["backprop", "guided_backprop", "integrated_gradients"])
def test_encoder_under_no_grad_is_an_error_that_says_so(name: str, how: str) -> None:
    model = Frozen(how)
    with (
        pytest.raises(RuntimeError, match=r"torch\.no_grad\(\)"),
        attribution.create(name, model).capture() as read,
    ):
        read(model(torch.rand(2, 1, 20, 18)), 1)


class Giving(nn.Module):
    def __init__(self, output: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.network, self.output = Small(nn.SiLU), output

    def forward(self, images: Tensor) -> Any:
        return self.output(self.network(images))


@pytest.mark.parametrize("name", ["backprop", "grad_cam", "cam", "smooth_grad", "occlusion", "deep_lift"])
def test_logits_are_named_where_it_is_not_plain_which_they_are(name: str) -> None:
    torch.manual_seed(0)
    model = Giving(lambda x: x).eval()
    images = torch.rand(2, 1, 20, 18)
    expected = attribution.create(name, model)(images, 1)
    model.output = lambda x: {"embedding": x.flip(1) * 2, "scores": x}
    with pytest.raises(ValueError, match=r"'embedding', 'scores' have the shape .* say output="):
        attribution.create(name, model)(images, 1)
    torch.testing.assert_close(attribution.create(name, model, output="scores")(images, 1), expected)
    model.output = lambda x: (x * 2, x)
    torch.testing.assert_close(attribution.create(name, model, output=1)(images, 1), expected)
    model.output = lambda x: {"maps": x[:, :, None, None], "scores": x}
    torch.testing.assert_close(attribution.create(name, model)(images, 1), expected)
    with pytest.raises(ValueError, match="has no 'probabilities': output names its logits"):
        attribution.create(name, model, output="probabilities")(images, 1)


@pytest.mark.parametrize(
    ("images", "match"),
    [
        (torch.zeros(0, 1, 20, 18), "the batch holds no images"),
        (torch.zeros(2, 1, 20, 18, dtype=torch.uint8), r"these are torch\.uint8"),
        (torch.zeros(2, 1, 20, 18, dtype=torch.long), r"these are torch\.int64"),
    ],
)
@pytest.mark.parametrize("name", ["backprop", "occlusion"])
def test_images_that_are_none_are_refused(name: str, images: Tensor, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        attribution.create(name, Small(nn.ReLU))(images, 1)


def test_images_given_by_name_are_refused_with_the_call_that_works() -> None:
    model = Small(nn.ReLU)
    with (
        attribution.create("backprop", model).capture(),
        pytest.raises(RuntimeError, match=r"call model\(images\), not model\(images=images\)"),
    ):
        model(images=torch.rand(2, 1, 20, 18))


@pytest.mark.parametrize("target", [None, 1.5, True, torch.tensor([0.5, 1.0]), torch.tensor([True, False])])
@pytest.mark.parametrize("name", ["backprop", "occlusion"])
def test_target_that_is_no_class_is_refused(name: str, target: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="target is a class, one for each case"):
            attribution.create(name, Small(nn.ReLU).eval())(torch.rand(2, 1, 20, 18), target)
