"""Contract of every heatmap generator, as a class of tests that a generator is run through.

`test_contract.py` runs it over all registered names. A generator from elsewhere is tested by

    class TestMine(GeneratorContract):
        names = ("mine",)
"""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from radgaze import attribution
from radgaze.attribution.registry import REGISTRY
from tests.attribution.finite_differences import assert_heatmap_loss_is_exact, still
from tests.attribution.networks import Checkpointed, Inverted, Network, Residual, Small, randomised

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "relu": Residual,
    "silu": lambda: Small(nn.SiLU),
    "depthwise_se": Inverted,
}
Floats = NDArray[np.floating]
TARGETS = torch.tensor([2, 0, 1, 1])


class GeneratorContract:
    """The tests; `names` are those of the generators tested, `few` keeps those that average cheap."""

    names: ClassVar[Sequence[str]] = ()
    few: ClassVar[dict[str, Any]] = {"samples": 2, "steps": 3}

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "name" in metafunc.fixturenames:
            metafunc.parametrize("name", self.names)

    @pytest.fixture(autouse=True)
    def _seed(self) -> None:
        torch.manual_seed(0)

    def create(self, name: str, model: nn.Module, **options: Any) -> attribution.Generator:
        few = {key: value for key, value in self.few.items() if self.has(name, key)}
        return attribution.create(name, model, **(few | options))

    def has(self, name: str, option: str) -> bool:
        return option in REGISTRY[name].__dataclass_fields__

    # Exact gradients

    @pytest.mark.parametrize("network", NETWORKS)
    @pytest.mark.parametrize("training", [False, True])
    def test_heatmap_loss_gradient_matches_finite_differences(
        self, name: str, network: str, training: bool
    ) -> None:
        model = still(randomised(NETWORKS[network]())).train(training)
        generator = self.create(name, model, normalise="none")
        assert_heatmap_loss_is_exact(generator, images_for(model, 3), held=training)

    def test_exact_batch_statistics_match_finite_differences(self, name: str) -> None:
        model = still(randomised(Small(nn.SiLU))).train()
        generator = self.create(name, model, normalise="none", batch_statistics="exact")
        assert_heatmap_loss_is_exact(generator, images_for(model, 3))

    def test_loss_without_the_heatmap_has_the_gradients_of_the_bare_model(self, name: str) -> None:
        """The rule is off in the loss's own backward, and running statistics move once."""
        model = randomised(Small(nn.SiLU)).train()
        bare, images = copy.deepcopy(model), images_for(model, 4)
        torch.autograd.backward(torch.nn.functional.cross_entropy(bare(images), TARGETS))
        with self.create(name, model).capture() as read:
            logits = model(images)
            read(logits, TARGETS)
        torch.autograd.backward(torch.nn.functional.cross_entropy(logits, TARGETS))
        for ours, theirs in zip(model.parameters(), bare.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12)
        for found, expected in zip(model.buffers(), bare.buffers(), strict=True):
            torch.testing.assert_close(found, expected)

    # The same map, however it is asked for

    def test_one_batch_equals_batches_of_one(self, name: str) -> None:
        model = randomised(Small(nn.GELU)).eval()
        generator, images, targets = self.create(name, model), images_for(model, 9), torch.arange(9) % 3
        together = generator(images, targets)
        apart = torch.cat([generator(images[i : i + 1], int(targets[i])) for i in range(9)])
        torch.testing.assert_close(together, apart)

    def test_map_and_gradients_do_not_depend_on_how_many_images_are_evaluated_at_once(
        self, name: str
    ) -> None:
        if not self.has(name, "internal_batch_size"):
            pytest.skip("it evaluates each image once")
        model = randomised(Small(nn.GELU))
        images = images_for(model, 4)
        whole = self.gradients(self.create(name, model, normalise="none"), images)
        for at_once in (1, 3, 100):
            generator = self.create(name, model, normalise="none", internal_batch_size=at_once)
            torch.testing.assert_close(self.gradients(generator, images), whole)

    @pytest.mark.parametrize("network", NETWORKS)
    def test_channels_last_changes_nothing(self, name: str, network: str) -> None:
        model = randomised(NETWORKS[network]())
        images = images_for(model, 4)
        contiguous = self.gradients(self.create(name, model), images)
        last = copy.deepcopy(model).to(memory_format=torch.channels_last)
        found = self.gradients(self.create(name, last), images.to(memory_format=torch.channels_last))
        torch.testing.assert_close(found, contiguous)

    def test_maps_are_the_same_in_a_step_and_under_no_grad(self, name: str) -> None:
        model = randomised(Small(nn.SiLU)).eval()
        generator, images = self.create(name, model), images_for(model, 4)
        expected = generator(images, TARGETS)
        with torch.no_grad():
            torch.testing.assert_close(generator(images, TARGETS), expected)
            with generator.capture() as read:
                within = read(model(images), TARGETS)
        torch.testing.assert_close(within.detach(), expected)
        assert within.requires_grad
        assert not expected.requires_grad

    def test_second_reading_of_a_pass_equals_the_first(self, name: str) -> None:
        model = randomised(Small(nn.SiLU)).eval()
        images = images_for(model, 4)
        with self.create(name, model, normalise="none").capture() as read:
            output = model(images)
            first, other, second = read(output, TARGETS), read(output, 1 - TARGETS % 2), read(output, TARGETS)
        torch.testing.assert_close(second, first)
        assert not torch.allclose(other, first)
        one, two, both = (
            torch.autograd.grad(heat.square().sum(), model.head.weight, retain_graph=True)[0]
            for heat in (first, other, torch.cat([first, other]))
        )
        torch.testing.assert_close(one + two, both)

    # Parts of a network that do not learn

    def test_frozen_encoder_gets_no_gradient_and_the_head_its_exact_one(self, name: str) -> None:
        model = randomised(Small(nn.SiLU))
        images = images_for(model, 4)
        generator = self.create(name, model, normalise="none")
        expected = self.gradients(generator, images)
        model.requires_grad_(False)
        model.head.requires_grad_(True)
        found = self.gradients(generator, images)
        assert set(found) == {"map", *(key for key in expected if key.startswith("head"))}
        torch.testing.assert_close(found, {key: expected[key] for key in found})

    def test_frozen_stem_leaves_the_gradients_of_the_rest(self, name: str) -> None:
        model = randomised(Inverted())
        images = images_for(model, 4)
        generator = self.create(name, model, normalise="none")
        expected = self.gradients(generator, images)
        model.stem.requires_grad_(False)
        model.first.norm1.requires_grad_(False)
        model.second.depthwise.requires_grad_(False)
        found = self.gradients(generator, images)
        missing = {"stem.weight", "first.norm1.weight", "first.norm1.bias", "second.depthwise.weight"}
        assert set(expected) - set(found) == missing
        torch.testing.assert_close(found, {key: expected[key] for key in found})

    @pytest.mark.parametrize("network", [Inverted, Residual])
    def test_frozen_norms_leave_the_gradients_of_the_rest(
        self, name: str, network: Callable[[], nn.Module]
    ) -> None:
        model = randomised(network()).eval()
        images = images_for(model, 4)
        generator = self.create(name, model, normalise="none")
        expected = self.gradients(generator, images)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.requires_grad_(False)
        found = self.gradients(generator, images)
        assert 0 < len(found) < len(expected)
        torch.testing.assert_close(found, {key: expected[key] for key in found})

    # Half precision and recomputation

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
    def test_half_precision_is_close_to_float32(self, name: str, dtype: torch.dtype) -> None:
        model = approving(randomised(Small(nn.SiLU))).float().eval()
        generator, images = self.create(name, model), images_for(model, 4)
        expected = self.gradients(generator, images)
        with torch.autocast("cpu", dtype):
            looked_at = generator(images, TARGETS)
            found = self.gradients(generator, images)
        assert_alike(looked_at, expected["map"])
        assert_alike(found.pop("map"), expected.pop("map"))
        ours, theirs = (torch.cat([g.flatten() for g in each.values()]) for each in (found, expected))
        assert_alike(ours, theirs)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
    def test_large_activations_do_not_overflow_in_half_precision(self, name: str, dtype: torch.dtype) -> None:
        model = randomised(Small(nn.SiLU)).float().eval()
        with torch.no_grad():
            model.norm.weight.mul_(100)
        generator, images = self.create(name, model), images_for(model, 4)
        with torch.autocast("cpu", dtype):
            assert model.entered(images).abs().max() > 200
            found = self.gradients(generator, images)
        assert all(torch.isfinite(tensor).all() for tensor in found.values())
        assert found["map"].max() == 1

    @pytest.mark.parametrize("layer", [None, "act4"])
    def test_recomputed_activations_change_nothing(self, name: str, layer: str | None) -> None:
        if layer is not None and not self.takes_layers(name):
            pytest.skip("it has no layer")
        kept, again = randomised(Small(nn.SiLU)), randomised(Checkpointed(nn.SiLU))
        images = images_for(kept, 4)
        expected, found = (
            self.gradients(self.create(name, model, layer=layer, normalise="none"), images)
            for model in (kept, again)
        )
        torch.testing.assert_close(found, expected)

    # What is left behind

    def test_model_is_left_as_it_was_found(self, name: str) -> None:
        model = randomised(Small(lambda: nn.SiLU(inplace=True)))
        model.norm.eval()
        model.stem.weight.requires_grad_(False)
        images = images_for(model, 4).requires_grad_()
        generator = self.create(name, model)
        with left_as_found(model):
            generator(images, TARGETS)
        assert images.grad is None

    def test_model_is_left_as_it_was_found_after_an_exception(self, name: str) -> None:
        model = randomised(Small(nn.SiLU)).eval()
        images, generator = images_for(model, 4), self.create(name, model)

        def failing(*_: Any) -> Tensor:
            raise ZeroDivisionError

        breaking = copy.deepcopy(model)
        breaking.project.register_forward_hook(failing)
        with left_as_found(model), pytest.raises(ValueError, match="targets have the shape"):
            generator(images, torch.zeros(3, dtype=torch.long))
        with left_as_found(model), pytest.raises(ZeroDivisionError):
            break_off(generator, images)
        with left_as_found(breaking), pytest.raises(ZeroDivisionError):
            self.create(name, breaking)(images)
        with left_as_found(breaking), pytest.raises(ZeroDivisionError):
            self.gradients(self.create(name, breaking), images)
        assert generator(images).isfinite().all()

    @pytest.mark.parametrize("calls", [20, pytest.param(1000, marks=pytest.mark.slow)])
    def test_no_call_leaves_a_tensor_or_a_graph_behind(self, name: str, calls: int) -> None:
        """Not even one that only the garbage collector would find: it may come many steps later."""
        model = randomised(Small(nn.SiLU))
        images, generator = images_for(model, 4, size=(8, 8)), self.create(name, model)

        def step() -> None:
            generator(images, TARGETS)
            with generator.capture() as read:
                output = model(images)
                heat = read(output, TARGETS)
            (output.square().mean() + heat.mean()).backward()
            with suppress(ValueError):
                generator(images, torch.zeros(3, dtype=torch.long))
            with suppress(ZeroDivisionError):
                break_off(generator, images)

        step()  # leaves its gradients, which later ones are added to
        with left_as_found(model, gradients=True), nothing_alive_afterwards():
            for _ in range(calls):
                step()

    def test_a_pass_can_be_read_only_within_its_context(self, name: str) -> None:
        model = randomised(Small(nn.SiLU)).eval()
        generator = self.create(name, model)
        with generator.capture() as read:
            with pytest.raises(RuntimeError, match="call the model"):
                read(torch.zeros(4, 3), 1)
            output = model(images_for(model, 4))
        with pytest.raises(RuntimeError, match="call the model"):
            read(output, 1)

    # What a map is

    @pytest.mark.parametrize("how", ["max", "minmax", "quantile", "none"])
    def test_map_is_brought_between_0_and_1(self, name: str, how: str) -> None:
        model = approving(randomised(Small(nn.SiLU))).eval()
        images = images_for(model, 4)
        raw = self.create(name, model, normalise="none")(images, TARGETS)
        found = self.create(name, model, normalise=how)(images, TARGETS)
        assert found.shape == (4, 1, 20, 18)
        assert found.dtype == images.dtype
        assert not found.requires_grad
        expected = np.stack([scaled(each, how) for each in raw.numpy()])
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-9)
        assert raw.flatten(1).std(1).min() > 0

    def gradients(self, generator: attribution.Generator, images: Tensor) -> dict[str, Tensor]:
        """A map in evaluation mode, and the gradients of a loss of it in those parameters that get one."""
        model = generator.model.eval()
        model.zero_grad()
        targets = TARGETS[: len(images)]
        weights = torch.linspace(-1, 1, images[0, 0].numel(), dtype=images.dtype).view(images.shape[-2:])
        with generator.capture() as read:
            output = model(images)
            heat = read(output, targets)
            loss = (heat * heat * weights).mean() + output.float().square().mean()
            loss.backward()
        found = {key: p.grad for key, p in model.named_parameters() if p.grad is not None}
        return {"map": heat.detach(), **found}

    def takes_layers(self, name: str) -> bool:
        try:
            self.create(name, Small(nn.SiLU), layer="act4")
        except ValueError:
            return False
        return True


def break_off(generator: attribution.Generator, images: Tensor) -> None:
    with generator.capture():
        generator.model(images)
        raise ZeroDivisionError


def approving(model: Network) -> Network:
    """The model with features that speak for every class: no map is empty, nor its largest value a mere 0."""
    head = model.get_submodule("head")
    assert isinstance(head, nn.Linear)
    head.weight.data.abs_()
    return model


def images_for(model: nn.Module, batch: int, size: tuple[int, int] = (20, 18)) -> Tensor:
    """Images (B, C, H, W) in [0, 1], in the model's type."""
    weight = next(p for p in model.parameters() if p.dim() == 4)
    source = torch.Generator().manual_seed(batch)
    return torch.rand(batch, weight.shape[1], *size, generator=source, dtype=torch.float64).to(weight.dtype)


def scaled(raw: Floats, how: str) -> Floats:
    """One case's map in [0, 1], written with NumPy."""
    if how == "none":
        return raw
    if how == "minmax":
        stretched: Floats = (raw - raw.min()) / (raw.max() - raw.min())
        return stretched
    top = np.quantile(raw.astype(np.float32), 0.99) if how == "quantile" else raw.max()
    return np.clip(raw / top, 0, 1)


def assert_alike(found: Tensor, expected: Tensor, least: float = 0.9) -> None:
    assert torch.isfinite(found).all()
    assert torch.corrcoef(torch.stack([found.float().flatten(), expected.float().flatten()]))[0, 1] > least


@contextmanager
def left_as_found(model: nn.Module, *, gradients: bool = False) -> Iterator[None]:
    """Asserts that the model and torch's own state are afterwards what they were before.

    Args:
        model: The model.
        gradients: Whether it was trained: gradients and running statistics may have changed.
    """
    before = _state(model, gradients)
    yield
    after = _state(model, gradients)
    for key, value in before.items():
        torch.testing.assert_close(after[key], value, rtol=0, atol=0) if key == "tensors" else None
        assert key == "tensors" or after[key] == value, key


def _state(model: nn.Module, trained: bool) -> dict[str, Any]:
    modules, parameters = list(model.modules()), list(model.parameters())
    hooks = [key for key in vars(nn.Module()) if key.endswith(("_hooks", "_with_kwargs", "_always_called"))]
    assert "_forward_hooks" in hooks
    return {
        "hooks": [{key: len(getattr(m, key) or ()) for key in hooks} for m in modules],
        "attributes": [sorted(vars(m)) for m in modules],
        "modes": [(m.training, getattr(m, "inplace", None)) for m in modules],
        "learns": [p.requires_grad for p in parameters],
        "gradients": trained or [p.grad is None for p in parameters],
        "tensors": parameters if trained else [t.clone() for t in (*parameters, *model.buffers())],
        "function modes": len(torch.overrides._get_current_function_mode_stack()),  # type: ignore[no-untyped-call]
        "gradient mode": torch.is_grad_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
    }


@contextmanager
def nothing_alive_afterwards() -> Iterator[None]:
    """Asserts that no tensor and no node of a graph, made within, outlives it. The collector rests."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
        alive = [o for o in gc.get_objects() if issubclass(type(o), Tensor | FunctionCtx)]
        assert not alive, f"{len(alive)} are alive: {alive[:3]}"
    finally:
        gc.enable()
        gc.unfreeze()
