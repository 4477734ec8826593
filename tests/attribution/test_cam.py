"""CAM by hand, and the heads that it takes; the others of its family are compared with their peers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radgaze import attribution
from tests.attribution.generator_contract import approving, images_for
from tests.attribution.networks import Small, randomised

TARGETS = torch.tensor([0, 2, 1, 1])


class Headed(nn.Module):
    """A convolution, and any head."""

    def __init__(self, head: nn.Module, channels: int = 5) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, channels, 3, padding=1), head

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(F.relu(self.conv(images)))
        return logits


class Pooled(nn.Module):
    """A head whose pooling is a function, then a linear layer."""

    def __init__(self, pool: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.pool, self.linear = pool, nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(self.pool(x))
        return logits


POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda x: x.mean((2, 3)),
    "mean, kept": lambda x: torch.mean(x, (-2, -1), keepdim=True).squeeze(-1).squeeze(-1),
    "adaptive": lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1),
    "adaptive, view": lambda x: F.adaptive_avg_pool2d(x, (1, 1)).view(len(x), -1),
    "adaptive, indexed": lambda x: F.adaptive_avg_pool2d(x, 1).reshape(x.shape[:2]),
    "dropout": lambda x: F.dropout(F.adaptive_avg_pool2d(x, 1), 0.3, training=False).flatten(1),
}
HEADS: dict[str, Callable[[], nn.Module]] = {
    "flatten": lambda: nn.Sequential(nn.Flatten(), nn.Linear(5 * 12 * 10, 3)),
    "maximum": lambda: Pooled(lambda x: x.amax((2, 3))),
    "two layers": lambda: nn.Sequential(Pooled(lambda x: x.mean((2, 3))), nn.ReLU(), nn.Linear(3, 3)),
    "hidden layer of one width": lambda: nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 3)
    ),
    "activation between": lambda: Pooled(lambda x: torch.tanh(x.mean((2, 3)))),
    "pooled norm": lambda: nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(5), nn.Flatten(), nn.Linear(5, 3)
    ),
    "convolution": lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(5, 3, 1), nn.Flatten()),
    "scaled logits": lambda: nn.Sequential(Pooled(lambda x: x.mean((2, 3))), nn.Softmax(1)),
    "scaled channels": lambda: Pooled(lambda x: x.mean((2, 3)) * torch.tensor([1.0, -2.0, 3.0, 0.1, 1.0])),
    "divided channels": lambda: Pooled(lambda x: x.mean((2, 3)) / torch.tensor([1.0, -2.0, 3.0, 0.1, 1.0])),
}


@pytest.mark.parametrize("pool", POOLS)
def test_cam_is_the_linear_layers_weights_times_the_features(pool: str) -> None:
    head = Pooled(POOLS[pool])
    model = randomised(Headed(head)).eval()
    images = images_for(model, 4, size=(12, 10))
    ours = attribution.create("cam", model, normalise="none")(images, TARGETS)
    with torch.no_grad():
        features, weight = F.relu(model.conv(images)), head.linear.weight
    for i, k in enumerate(TARGETS):
        by_hand = sum(weight[k, c].detach() * features[i, c] for c in range(5))
        torch.testing.assert_close(ours[i, 0], by_hand)
    assert ours.min() < 0 < ours.max()


@pytest.mark.parametrize("pool", POOLS)
def test_cam_takes_a_step_in_any_layout(pool: str) -> None:
    model = randomised(Headed(Pooled(POOLS[pool]))).eval()
    images = images_for(model, 4, size=(12, 10))
    found = []
    for layout in (torch.contiguous_format, torch.channels_last):
        model.to(memory_format=layout)
        with attribution.create("cam", model).capture() as read:
            heat = read(model(images.contiguous(memory_format=layout)), TARGETS)
        found.append(heat.detach())
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("head", HEADS)
def test_cam_says_what_it_needs_of_any_other_head(head: str) -> None:
    model = randomised(Headed(HEADS[head]())).eval()
    generator = attribution.create("cam", model)
    with pytest.raises(RuntimeError, match=r"global average pooling and one linear layer; grad_cam and"):
        generator(images_for(model, 4, size=(12, 10)), TARGETS)


def test_cam_of_a_layer_that_is_not_what_is_pooled_is_an_error() -> None:
    model = randomised(Small(nn.ReLU)).eval()
    with pytest.raises(RuntimeError, match="global average pooling"):
        attribution.create("cam", model, layer="act2")(images_for(model, 4), TARGETS)


def test_cam_explains_classes_only() -> None:
    model = randomised(Small(nn.ReLU)).eval()
    with pytest.raises(ValueError, match="cam explains a class"):
        attribution.create("cam", model)(images_for(model, 4), lambda output: output[:, 0])


def test_cam_and_hires_cam_are_one_where_the_head_is_pool_and_linear() -> None:
    """There ∂y/∂A is w/hw everywhere (Draelos and Carin 2020, section 3); here no feature speaks against."""
    model = approving(randomised(Small(nn.ReLU))).eval()
    images = images_for(model, 4, size=(24, 20))
    cam = attribution.create("cam", model, normalise="none")(images, TARGETS)
    hires = attribution.create("hires_cam", model, normalise="none")(images, TARGETS)
    torch.testing.assert_close(hires * (6 * 5), cam)
