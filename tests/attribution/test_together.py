"""Maps of several generators from the same forward passes: those of each by itself, with fewer passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from radgaze import attribution
from radgaze.attribution import Capture, Generator
from radgaze.attribution.rules import Rule
from tests.attribution.networks import Inverted, Residual, Small, randomised

SINGLE = (
    *("backprop", "input_x_gradient", "deconvnet", "guided_backprop"),
    *("cam", "grad_cam", "grad_cam_positive", "grad_cam_pp", "hires_cam", "layer_cam", "guided_grad_cam"),
)
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "silu": lambda: Small(nn.SiLU),
    "relu": Residual,
    "hardswish": lambda: Small(nn.Hardswish),
    "inverted": Inverted,
}


@pytest.fixture(params=NETWORKS)
def model(request: pytest.FixtureRequest) -> nn.Module:
    return randomised(NETWORKS[request.param]()).eval()


def images(model: nn.Module, batch: int = 3) -> Tensor:
    first = next(model.parameters())
    draw = torch.Generator().manual_seed(1)
    return torch.rand(batch, first.shape[1], 24, 24, generator=draw, dtype=first.dtype)


def every(model: nn.Module) -> dict[str, Generator]:
    """All methods that are made of gradients or features, with few noisy copies."""
    few = {"smooth_grad": {"samples": 3}, "guided_smooth_grad": {"samples": 3}}
    few["integrated_gradients"] = {"steps": 3}
    names = [name for name in (*SINGLE, *few) if name in attribution.presets(model, 24)]
    assert set(few) < set(names)
    return {name: attribution.PRESETS[name].create(model, **few.get(name, {})) for name in names}


@contextmanager
def counted(model: nn.Module) -> Iterator[list[int]]:
    """The number of images of each forward pass."""
    passes: list[int] = []
    hook = model.register_forward_pre_hook(lambda module, args: passes.append(len(args[0])))
    yield passes
    hook.remove()


def test_maps_are_those_of_each_generator_by_itself(model: nn.Module) -> None:
    x, targets = images(model), torch.tensor([0, 2, 1])
    found = attribution.together(every(model), x, targets)
    assert list(found) == list(every(model))
    for name, generator in every(model).items():
        torch.testing.assert_close(found[name], generator(x, targets), rtol=1e-4, atol=1e-5, msg=name)
        assert found[name].amax() > 0, name


def test_one_forward_pass_serves_all_maps_and_one_noisy_copy_both_averages() -> None:
    model = randomised(Small(nn.SiLU)).eval()
    generators = every(model)
    groups = attribution.shared(generators)
    assert groups == [SINGLE, ("smooth_grad", "guided_smooth_grad"), ("integrated_gradients",)]
    with counted(model) as passes:
        attribution.together(generators, images(model))
    assert sum(passes) == 3 * (1 + (1 + 3) + (1 + 3))
    with counted(model) as apart:
        for generator in generators.values():
            generator(images(model))
    assert sum(apart) == 3 * (len(SINGLE) + 3 * (1 + 3))


def test_the_same_gradient_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = randomised(Small(nn.SiLU)).eval()
    rules: list[str] = []
    differentiated = Capture._in_range

    def in_range(read: Capture, sources: Sequence[Tensor], rule: Rule) -> Tensor:
        rules.append(rule.name)
        return differentiated(read, sources, rule)

    monkeypatch.setattr(Capture, "_in_range", in_range)
    attribution.together({name: attribution.create(name, model) for name in SINGLE}, images(model))
    # At the images under three rules, and at the features.
    assert sorted(rules) == ["backprop", "backprop", "deconvnet", "guided"]


def test_generators_of_other_options_noise_or_kind_look_by_themselves() -> None:
    model = randomised(Small(nn.SiLU)).eval()
    generators = {
        "plain": attribution.create("backprop", model),
        "of a layer": attribution.create("backprop", model, layer="norm2"),
        "literal": attribution.create("guided_backprop", model, rule_for="relu"),
        "summed": attribution.create("backprop", model, readout="sum", normalise="none"),
        "two": attribution.create("smooth_grad", model, samples=2),
        "three": attribution.create("smooth_grad", model, samples=3),
        "unseeded": attribution.create("smooth_grad", model, samples=2, seed=None),
        "another unseeded": attribution.create("smooth_grad", model, samples=2, seed=None),
        "occlusion": attribution.create("occlusion", model),
        "of another model": attribution.create("backprop", randomised(Small(nn.SiLU)).eval()),
    }
    alone = [(name,) for name in generators if name not in ("plain", "summed")]
    assert sorted(attribution.shared(generators)) == sorted([("plain", "summed"), *alone])


def test_a_map_of_ones_own_is_made_as_it_is_by_itself() -> None:
    class Twice(Generator):
        def map(self, read: Capture) -> Tensor:
            return 2 * super().map(read)

    class Shifted(Generator):
        def attribute(self, read: Capture) -> Tensor:
            return super().attribute(read) + 1

    model = randomised(Small(nn.SiLU)).eval()
    x = images(model)
    raw = {"normalise": "none"}
    made: dict[str, Generator] = {
        "twice": Twice(model, **raw),  # type: ignore[arg-type]
        "shifted": Shifted(model, **raw),  # type: ignore[arg-type]
        "plain": attribution.create("backprop", model, **raw),
    }
    assert attribution.shared(made) == [("twice",), ("shifted", "plain")]
    found = attribution.together(made, x, 1)
    for name, generator in made.items():
        torch.testing.assert_close(found[name], generator(x, 1), rtol=1e-4, atol=1e-6)


def test_a_model_is_left_as_it_was_where_one_of_them_fails() -> None:
    class Broken(Generator):
        def attribute(self, read: Capture) -> Tensor:
            raise RuntimeError("this one fails")

    model = randomised(Small(nn.SiLU)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(RuntimeError, match="this one fails"):
        attribution.together(
            {"plain": attribution.create("backprop", model), "broken": Broken(model)}, images(model)
        )
    assert all(module.training and not module._forward_hooks for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
