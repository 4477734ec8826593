"""Which score is explained, of whatever a model gives, and what is said of a target that makes no sense."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from radgaze import attribution
from radgaze.attribution.targets import Index, Target, logits_of, target_index
from tests.attribution.generator_contract import images_for
from tests.attribution.networks import Small, randomised

LOGITS = torch.tensor([[3.0, 1.0, 2.0], [0.0, -1.0, 5.0], [0.1, 0.2, 0.0], [1.0, 2.0, 1.5]])
PREDICTED = torch.tensor([0, 2, 1, 1])


class Named(NamedTuple):
    mask: Tensor
    logits: Tensor


@dataclass
class Held:
    logits: Tensor


OUTPUTS: dict[str, Callable[[Tensor], Any]] = {
    "tensor": lambda x: x,
    "tuple": lambda x: (x, None),
    "list": lambda x: [x, x + 1],
    "dictionary, by name": lambda x: {"mask": x[:, :, None, None], "logits": x},
    "dictionary, first": lambda x: {"scores": x, "mask": None},
    "named tuple": lambda x: Named(x[:, :, None, None], x),
    "object": lambda x: Held(x),
    "nested": lambda x: ({"out": [x]}, "more"),
    "object in a tuple": lambda x: (SimpleNamespace(logits=x), None),
}


class Giving(nn.Module):
    def __init__(self, network: nn.Module, output: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.network, self.output = network, output

    def forward(self, images: Tensor) -> Any:
        return self.output(self.network(images))


def maps(target: Target, labels: Any = None, output: str = "tensor") -> Tensor:
    model = Giving(randomised(Small(nn.SiLU)), OUTPUTS[output]).eval()
    return attribution.create("backprop", model, normalise="none")(images_for(model, 4), target, labels)


def by_hand(weights: Tensor) -> Tensor:
    """|∂/∂x Σ_ic weights_ic · logits_ic| of the same network."""
    model = randomised(Small(nn.SiLU)).eval()
    images = images_for(model, 4).requires_grad_()
    (g,) = torch.autograd.grad((model(images) * weights).sum(), images)
    return g.abs()


def one_hot(index: Tensor | list[int]) -> Tensor:
    return torch.eye(3, dtype=torch.float64)[torch.as_tensor(index)]


@pytest.mark.parametrize("output", OUTPUTS)
def test_logits_are_found_in_any_output(output: str) -> None:
    assert logits_of(OUTPUTS[output](LOGITS)) is LOGITS
    for name in ("backprop", "grad_cam", "cam"):
        model = Giving(randomised(Small(nn.SiLU)), OUTPUTS[output]).eval()
        bare = randomised(Small(nn.SiLU)).eval()
        images = images_for(model, 4)
        found, expected = (attribution.create(name, each)(images, PREDICTED) for each in (model, bare))
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("target", "index"),
    [
        (1, [1, 1, 1, 1]),
        (np.int64(2), [2, 2, 2, 2]),
        (torch.tensor(0), [0, 0, 0, 0]),
        (torch.tensor([2, 0, 1, 2]), [2, 0, 1, 2]),
        (torch.tensor([2, 0, 1, 2], dtype=torch.int32), [2, 0, 1, 2]),
    ],
)
def test_class_or_classes(target: Index, index: list[int]) -> None:
    assert target_index(LOGITS, target).tolist() == index
    torch.testing.assert_close(maps(target), by_hand(one_hot(index)))


def test_predicted_class_is_the_one_of_the_largest_logit() -> None:
    assert torch.equal(target_index(LOGITS, "predicted"), PREDICTED)
    model = randomised(Small(nn.SiLU)).eval()
    predicted = model(images_for(model, 4)).argmax(1)
    torch.testing.assert_close(maps("predicted"), by_hand(one_hot(predicted)))


def test_predicted_is_what_is_explained_where_nothing_is_said() -> None:
    model = randomised(Small(nn.SiLU)).eval()
    generator, images = attribution.create("backprop", model), images_for(model, 4)
    torch.testing.assert_close(generator(images), generator(images, "predicted"))


def test_true_class_is_the_labels() -> None:
    labels = torch.tensor([1, 0, 2, 2])
    assert torch.equal(target_index(LOGITS, "true", labels), labels)
    torch.testing.assert_close(maps("true", labels), by_hand(one_hot(labels)))


@pytest.mark.parametrize("convert", [list, np.array, torch.Tensor])
@pytest.mark.parametrize("labels", [[1, 0, 2, 2], [[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 1]]])
def test_labels_may_be_a_list_or_an_array(labels: list[Any], convert: Callable[[list[Any]], Any]) -> None:
    assert target_index(LOGITS, "true", convert(labels)).tolist() == [1, 0, 2, 2]
    torch.testing.assert_close(maps("true", convert(labels)), by_hand(one_hot([1, 0, 2, 2])))


@pytest.mark.parametrize("dtype", [torch.long, torch.float32, torch.bool])
def test_true_class_of_several_is_each_of_them_in_turn_and_of_none_the_predicted(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    labels = torch.tensor([[1, 0, 1], [0, 1, 0], [1, 1, 1], [0, 0, 0]]).to(dtype)
    drawn = torch.stack([target_index(LOGITS, "true", labels) for _ in range(3000)])
    counts = torch.stack([(drawn == k).sum(0) for k in range(3)], 1) / 3000
    expected = torch.tensor([[1 / 2, 0, 1 / 2], [0, 1, 0], [1 / 3, 1 / 3, 1 / 3], [0, 1, 0]])
    assert torch.all((counts == 0) == (expected == 0))
    torch.testing.assert_close(counts, expected, rtol=0, atol=0.03)


def test_true_class_is_drawn_by_torchs_seed() -> None:
    labels = torch.ones(4, 3)
    draws = []
    for _ in range(2):
        torch.manual_seed(7)
        draws.append(torch.stack([target_index(LOGITS, "true", labels) for _ in range(8)]))
    assert torch.equal(*draws)
    assert len(set(draws[0].flatten().tolist())) > 1


def test_function_of_the_output_is_differentiated() -> None:
    weights = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    found = maps(lambda output: output[0] @ weights, output="tuple")
    torch.testing.assert_close(found, by_hand(weights.expand(4, 3)))


def test_function_may_explain_what_is_no_logit_at_all() -> None:
    model = Giving(randomised(Small(nn.SiLU)), lambda x: SimpleNamespace(age=x[:, 0] ** 2)).eval()
    images = images_for(model, 4).requires_grad_()
    (g,) = torch.autograd.grad(model(images).age.sum(), images)
    generator = attribution.create("backprop", model, normalise="none")
    torch.testing.assert_close(generator(images.detach(), lambda output: output.age), g.abs())


@pytest.mark.parametrize("batch", [1, 3, 4, 5, 9])
def test_targets_belong_to_their_cases_in_a_batch_of_any_size(batch: int) -> None:
    model = randomised(Small(nn.SiLU)).eval()
    images, index = images_for(model, batch), torch.arange(batch) % 3
    generator = attribution.create("backprop", model, normalise="none")
    x = images.clone().requires_grad_()
    (g,) = torch.autograd.grad(model(x).gather(1, index[:, None]).sum(), x)
    targets: list[tuple[Target, Tensor | None]] = [
        (index, None),
        ("true", index),
        ("true", one_hot(index)),
    ]
    for target, labels in targets:
        torch.testing.assert_close(generator(images, target, labels), g.abs())


def test_function_is_given_the_whole_batch_within_a_step() -> None:
    model = randomised(Small(nn.SiLU)).eval()
    images, index = images_for(model, 20, size=(8, 8)), torch.arange(20) % 3
    generator = attribution.create("backprop", model)
    with generator.capture() as read:
        heat = read(model(images), lambda output: output.gather(1, index[:, None])[:, 0])
    torch.testing.assert_close(heat.detach(), generator(images, index))


def test_several_targets_are_read_out_of_one_pass() -> None:
    model = randomised(Small(nn.SiLU)).eval()
    images, labels = images_for(model, 4), torch.tensor([1, 0, 2, 2])
    generator = attribution.create("backprop", model, normalise="none")
    with generator.capture() as read:
        output = model(images)
        found = [read(output, 0), read(output, "true", labels), read(output, lambda y: y.sum(1))]
    expected = [one_hot([0] * 4), one_hot(labels), torch.ones(4, 3)]
    for heat, weights in zip(found, expected, strict=True):
        torch.testing.assert_close(heat.detach(), by_hand(weights))


@pytest.mark.parametrize(
    ("target", "labels", "match"),
    [
        (torch.tensor([0, 1]), None, r"targets have the shape \(2,\), but the batch holds 4 cases"),
        (torch.zeros(4, 1, dtype=torch.long), None, r"targets have the shape \(4, 1\)"),
        (3, None, "targets are between 0 and 2, for there are 3 classes"),
        (-1, None, "targets are between 0 and 2"),
        (torch.tensor([0, 1, 2, 3]), None, "targets are between 0 and 2"),
        ("truth", None, "'predicted', 'true' or a function; not 'truth'"),
        ("true", None, "target 'true' needs the cases' labels"),
        ("true", torch.tensor([0, 1]), r"\(2,\), but the batch holds 4 cases"),
        ("true", torch.tensor([0, 1, 2, 3]), "targets are between 0 and 2"),
        ("true", torch.tensor([0, 1, 1.7, 2]), r"labels \(B,\) are class indices, not 1.7"),
        ("true", torch.tensor([0, math.nan, 1, 2]), r"labels \(B,\) are class indices, not nan"),
        ("true", ["a", "b", "a", "b"], "labels are class indices .* got list"),
        ("true", 1, "labels are class indices .* got int"),
        ("true", [0, 1], r"\(2,\), but the batch holds 4 cases"),
        ("true", torch.zeros(4, 2), r"labels are \(B,\) or, like the logits, \(4, 3\); these are \(4, 2\)"),
        (lambda output: output, None, r"one score for each case, \(B,\); this one gave \(4, 3\)"),
        (lambda output: output.sum(), None, r"one score for each case, \(B,\); this one gave \(\)"),
        (lambda output: 1.0, None, r"one score for each case, \(B,\); this one gave float"),
        (lambda output: output[:2, 0], None, "one score for each case"),
    ],
)
def test_target_that_makes_no_sense_is_an_error_that_says_why(
    target: Target, labels: Any, match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        maps(target, labels)


@pytest.mark.parametrize(
    ("output", "match"),
    [
        (lambda x: "text", "a str, holds no logits: give a function as target"),
        (lambda x: 1.5, "a float, holds no logits: give a function as target"),
        (lambda x: None, "a NoneType, holds no logits"),
        (lambda x: {}, "a dict, holds no logits"),
        (lambda x: (), "a tuple, holds no logits"),
        (lambda x: x[:, 0], r"logits must have the shape \(B, C\); those of the model's output have \(4,\)"),
        (lambda x: x[:, :, None, None], r"\(4, 3, 1, 1\)"),
    ],
)
def test_output_without_logits_is_an_error_that_says_why(output: Callable[[Tensor], Any], match: str) -> None:
    model = Giving(randomised(Small(nn.SiLU)), output).eval()
    with pytest.raises(ValueError, match=match):
        attribution.create("backprop", model)(images_for(model, 4), 0)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (
            {"smooth": True},
            "backprop has no option 'smooth'; it has layer, channels, reshape, tokens, output, readout",
        ),
        ({"readout": "mean"}, "readout must be one of absolute, positive, negative, sum, norm, got 'mean'"),
        ({"normalise": "sum"}, "normalise must be one of max, minmax, quantile, none, got 'sum'"),
        ({"rule_for": "silu"}, "rule_for must be one of all, relu, got 'silu'"),
        ({"gates": "open"}, "gates must be one of plain, held, ruled, got 'open'"),
        ({"batch_statistics": "free"}, "batch_statistics must be one of held, exact, got 'free'"),
        ({"layer": "act9"}, "no layer 'act9'"),
    ],
)
def test_unknown_option_or_value_is_an_error_that_lists_the_known(
    options: dict[str, Any], match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        attribution.create("backprop", Small(nn.ReLU), **options)


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("smooth_grad", {"base": "gradient"}, "no generator 'gradient'; there are backprop"),
        ("smooth_grad", {"samples": 0}, "samples must be at least 1, got 0"),
        ("smooth_grad", {"noise": -0.1}, "noise must be at least 0, a share of the image's range, got -0.1"),
        ("smooth_grad", {"internal_batch_size": 0}, "internal_batch_size must be at least 1, got 0"),
        ("integrated_gradients", {"steps": 0}, "steps must be at least 1, got 0"),
        ("guided", {}, "no generator 'guided'; there are backprop, input_x_gradient"),
    ],
)
def test_options_that_make_no_sense_are_errors(name: str, options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        attribution.create(name, Small(nn.ReLU), **options)


def test_compiled_model_is_refused_for_a_rule_cannot_reach_it() -> None:
    compiled = torch.compile(Small(nn.ReLU))
    assert isinstance(compiled, nn.Module)
    with pytest.raises(ValueError, match=r"torch\.compile"):
        attribution.create("backprop", compiled)


def test_model_called_without_images_is_an_error_that_says_so() -> None:
    model = Small(nn.ReLU)
    generator = attribution.create("backprop", model)
    with generator.capture(), pytest.raises(RuntimeError, match=r"without images \(B, C, H, W\)"):
        model(images=torch.rand(1, 1, 8, 8))
