"""The score that each of an objective's heatmaps explains, against the gradient of that score by autograd."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from radgaze.attribution.targets import runner_up
from radgaze.models.output import Output
from radgaze.objectives.config import EdgeConfig, HeatmapConfig, ObjectiveConfig
from radgaze.objectives.heatmaps import Heatmaps, Targets
from tests.attribution.networks import Inverted, randomised

LABELS = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0]])


class Scored(nn.Module):
    """A network that returns an `Output`."""

    def __init__(self) -> None:
        super().__init__()
        self.network = randomised(Inverted(channels=1), seed=2).eval()

    def forward(self, images: Tensor) -> Output:
        return Output(self.network(images), None)


def images() -> Tensor:
    return torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def read(model: nn.Module, heatmap: HeatmapConfig, labels: Tensor = LABELS) -> tuple[Tensor, Targets]:
    """The raw heatmap of the settings, and the targets of the step."""
    objective = ObjectiveConfig(heatmap_gaze=EdgeConfig(1.0, "mse"), heatmap=heatmap)
    with Heatmaps(model, objective).capture(model) as maps:
        output = model(images())
        targets = Targets(output, labels, "softmax")
        return maps(output, targets)["heatmap"], targets


def gradient(model: nn.Module, weights: Tensor) -> Tensor:
    """∂/∂x of the weighted sum of the logits, (B, 1, H, W)."""
    x = images().requires_grad_()
    return torch.autograd.grad((model(x).logits * weights).sum(), x)[0]


def test_contrast_is_the_score_of_the_class_less_that_of_the_most_probable_other_one() -> None:
    model = Scored()
    found, _ = read(model, HeatmapConfig(generator="backprop", readout="sum", target="contrast"))
    logits = model(images()).logits.detach()
    weights = LABELS.double()
    for case in range(4):
        wrong = [k for k in range(3) if not LABELS[case, k]]
        weights[case, max(wrong, key=lambda k: float(logits[case, k]))] = -1
    torch.testing.assert_close(found, gradient(model, weights))


@pytest.mark.parametrize("generator", ["smooth_grad", "integrated_gradients"])
@pytest.mark.parametrize("target", ["true", "predicted", "runner_up", "contrast", "all"])
def test_averages_over_images_explain_each_case_as_a_batch_of_any_size_does(
    generator: str, target: Any
) -> None:
    model, heatmap = Scored(), HeatmapConfig(generator=generator, target=target)
    objective = ObjectiveConfig(heatmap_gaze=EdgeConfig(1.0, "mse"), heatmap=heatmap)
    x, labels = images().repeat(2, 1, 1, 1)[:5], LABELS.repeat(2, 1)[:5]
    found = []
    for size in range(1, 6):
        with Heatmaps(model, objective).capture(model) as maps:
            output = model(x[:size])
            found.append(maps(output, Targets(output, labels[:size], "softmax"))["heatmap"])
    for each in found:
        torch.testing.assert_close(each, found[-1][: len(each)])


def test_contrast_of_two_classes_is_gradmasks_up_to_its_sign() -> None:
    """|∂|ŷ_0 − ŷ_1|/∂x|, whichever of the two the case has."""
    model = Scored()
    model.network.head = nn.Linear(8, 2).double()
    labels = torch.tensor([[1.0, 0], [0, 1], [0, 1], [1, 0]])
    found, _ = read(model, HeatmapConfig(generator="backprop", readout="sum", target="contrast"), labels)
    x = images().requires_grad_()
    logits = model(x).logits
    (expected,) = torch.autograd.grad((logits[:, 0] - logits[:, 1]).abs().sum(), x)
    torch.testing.assert_close(found.abs(), expected.abs())


def test_each_target_explains_its_class_and_no_other() -> None:
    """Not the highest score where the label is asked for, and not the label where a wrong class is."""
    model = Scored()
    for target in ("true", "runner_up", "predicted"):
        found, targets = read(model, HeatmapConfig(generator="backprop", readout="sum", target=target))
        classes = targets.classes(target)
        expected = gradient(model, nn.functional.one_hot(classes, 3).double())
        torch.testing.assert_close(found, expected)
        has = LABELS.gather(1, classes[:, None])[:, 0]
        assert target == "predicted" or has.eq(target == "true").all()


@pytest.mark.parametrize(
    ("target", "explained"), [("all", "true"), ("contrast", "true"), ("runner_up", "runner_up")]
)
def test_a_score_of_several_classes_stands_for_the_true_one(target: str, explained: str) -> None:
    heatmap = HeatmapConfig()
    heatmap.target = target  # type: ignore[assignment]
    assert heatmap.explained == explained


def test_held_weights_of_cam_give_the_head_no_gradient_and_leave_the_others() -> None:
    model = Scored()
    head = model.network.head
    found = {}
    for weights in ("exact", "held"):
        heatmap = HeatmapConfig(generator="cam")
        heatmap.channel_weights = weights
        map_, _ = read(model, heatmap)
        others = [p for p in model.parameters() if p not in set(head.parameters())]
        loss = map_.square().sum()
        found[weights] = (map_, *torch.autograd.grad(loss, [head.weight, *others], allow_unused=True))
    torch.testing.assert_close(found["held"][0], found["exact"][0])
    assert found["held"][1] is None
    assert found["exact"][1].any()
    for exact, held in zip(found["exact"][2:], found["held"][2:], strict=True):
        torch.testing.assert_close(held, exact)


def test_of_several_classes_one_is_drawn_by_the_key_of_the_case_alone() -> None:
    """In one process as in several, whatever the other cases of a batch are; in the long run all of them."""
    labels = torch.tensor([[1.0, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]]).repeat(600, 1)
    logits = torch.rand(2400, 3, generator=torch.Generator().manual_seed(1))
    keys = 7919 * torch.arange(2400) ** 3
    some = torch.randperm(2400, generator=torch.Generator().manual_seed(2))[:500]

    def chosen(rows: Tensor) -> Tensor:
        targets = Targets(Output(logits[rows], None), labels[rows], "sigmoid", keys[rows])
        return targets.classes("true")

    found = chosen(torch.arange(2400))
    assert torch.equal(found[some], chosen(some))
    none = labels.sum(1) == 0
    assert torch.equal(found[none], logits[none].argmax(1))
    assert labels.gather(1, found[:, None])[~none].all()
    for kind, of_kind in ((0, [0, 2]), (2, [0, 1, 2])):
        counts = torch.bincount(found[kind::4], minlength=3)[of_kind] / 600
        assert counts.tolist() == pytest.approx([1 / len(of_kind)] * len(of_kind), abs=0.07)


def test_the_runner_up_is_never_the_class_with_which_it_is_contrasted() -> None:
    """Neither of a case without any class, whose "true" class is the predicted one, nor of one with all."""
    logits = torch.tensor([[0.3, -1.0, 2.0], [0.3, -1.0, 2.0], [0.3, -1.0, 2.0], [0.3, -1.0, 2.0]])
    labels = torch.tensor([[0.0, 0, 0], [1, 1, 1], [1, 1, 1], [0, 0, 1]])
    true = torch.tensor([2, 1, 0, 2])
    assert runner_up(logits, labels, true).tolist() == [0, 0, 1, 0]
    model = Scored()
    none = torch.zeros_like(LABELS)
    found, _ = read(model, HeatmapConfig(generator="backprop", readout="sum", target="contrast"), none)
    assert found.abs().amax((1, 2, 3)).gt(0).all()
