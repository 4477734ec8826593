"""Model randomisation, and similarity of maps: against scikit-image, SciPy and the model's own state."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity
from torch import nn

from radgaze import models
from radgaze.evaluation.metrics.randomisation import Mode, layers, randomisations, rank_correlation, ssim
from radgaze.models import ModelConfig


class Scale(nn.Module):
    """Parameters without a way to reset them."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.randn(5) * 3 + 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor[0]


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), Scale(), nn.Flatten(), nn.Linear(64, 2))
    made(torch.randn(8, 1, 6, 6))  # statistics that are not those of a new layer
    return made.eval()


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def changed(before: dict[str, torch.Tensor], model: nn.Module) -> set[str]:
    """Names of the layers that differ."""
    now = model.state_dict()
    return {name.rpartition(".")[0] for name, value in before.items() if not torch.equal(value, now[name])}


def test_cascading_draws_all_down_to_a_layer_and_independent_that_one_alone(model: nn.Sequential) -> None:
    before, order = state(model), ["4", "2", "1", "0"]
    assert [name for name, _ in layers(model)] == order
    for k, (name, drawn) in enumerate(randomisations(model, "cascading", seed=1)):
        assert drawn is model
        assert name == order[k]
        assert changed(before, model) == set(order[: k + 1])
    assert changed(before, model) == set()
    for k, (name, _) in enumerate(randomisations(model, "independent", seed=1)):
        assert changed(before, model) == {order[k]} == {name}
    assert changed(before, model) == set()


def test_a_layers_draw_depends_on_the_seed_alone(model: nn.Sequential) -> None:
    first = [state(m) for _, m in randomisations(model, "cascading", seed=3)]
    again = [state(m) for _, m in randomisations(model, "cascading", seed=3)]
    other = [state(m) for _, m in randomisations(model, "cascading", seed=4)]
    alone = [state(m) for _, m in randomisations(model, "independent", seed=3)]
    for a, b in zip(first, again, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(first[0]["4.weight"], other[0]["4.weight"])
    assert torch.equal(alone[3]["0.weight"], first[3]["0.weight"])


@pytest.mark.parametrize("mode", ["cascading", "independent"])
def test_at_some_layers_the_weights_are_as_if_all_were_asked_for(model: nn.Sequential, mode: Mode) -> None:
    before = state(model)
    every = [(name, state(m)) for name, m in randomisations(model, mode, seed=3)]
    some = [(name, state(m)) for name, m in randomisations(model, mode, seed=3, places={0, 2})]
    assert [name for name, _ in some] == [every[0][0], every[2][0]]
    for (_, own), (_, expected) in zip(some, every[::2], strict=True):
        assert all(torch.equal(own[name], expected[name]) for name in own)
    assert changed(before, model) == set()


def test_weights_are_back_and_torchs_random_state_untouched_however_the_loop_ends(
    model: nn.Sequential,
) -> None:
    before = state(model)
    torch.manual_seed(9)
    wanted = torch.rand(3)
    torch.manual_seed(9)
    for _ in randomisations(model, "cascading", seed=0):
        break
    assert changed(before, model) == set()

    def fails() -> None:
        for _ in randomisations(model, "independent", seed=0):
            raise RuntimeError("in the loop")

    with pytest.raises(RuntimeError, match="in the loop"):
        fails()
    assert changed(before, model) == set()
    assert torch.equal(torch.rand(3), wanted)


def test_parameters_that_cannot_be_reset_keep_their_size(model: nn.Sequential) -> None:
    scale = model[2]
    assert isinstance(scale, Scale)
    for name, _ in randomisations(model, "independent", seed=0):
        if name == "2":
            assert 0 < float((scale.factor.detach() - 10).abs().mean()) < 12


def test_a_constant_parameter_that_cannot_be_reset_is_drawn_anew() -> None:
    scale = Scale()
    net = nn.Sequential(nn.Linear(4, 5), scale)
    nn.init.constant_(scale.factor, 0.1)
    drawn = [scale.factor.detach().clone() for _ in randomisations(net, "cascading", seed=0)]
    assert (drawn[0] != 0.1).all()
    assert (scale.factor == 0.1).all()


def test_statistics_of_a_batch_norm_without_weights_are_forgotten_and_come_back() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, affine=False), nn.Flatten(), nn.Linear(32, 2))
    net(3 * torch.randn(8, 1, 6, 6) + 2)
    before = state(net.eval())
    names = []
    for name, _ in randomisations(net, "cascading", seed=0):
        names.append(name)
        last = state(net)
    assert names == ["3", "1", "0"]
    assert last["1.running_mean"].tolist() == [0, 0]
    assert changed(before, net) == set()


class Aside(nn.Module):
    """A buffer that no state dict holds, and a state that is no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.register_buffer("aside", torch.arange(3.0), persistent=False)

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight)
        self.aside = torch.randn(3)

    def get_extra_state(self) -> dict[str, int]:
        return {"version": 1}

    def set_extra_state(self, state: dict[str, int]) -> None:
        assert state == {"version": 1}


def test_buffers_outside_of_the_state_dict_come_back_too() -> None:
    aside = Aside()
    net = nn.Sequential(aside)
    for _ in randomisations(net, "independent", seed=0):
        assert aside.aside.tolist() != [0, 1, 2]
    assert aside.aside.tolist() == [0, 1, 2]
    assert aside.weight.tolist() == [1, 1, 1]


def test_of_a_real_network_no_weight_stays_and_all_come_back() -> None:
    torch.manual_seed(0)
    config = ModelConfig(encoder="tu-test_efficientnet", weights="none", decoder_channels=(8, 8, 8, 8, 8))
    net = models.create(config, 3, 32).eval()
    images = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        before, logits = state(net), net(images).logits
        for _, drawn in randomisations(net, "cascading", seed=0):
            last = drawn
            weights = {name for name, value in net.named_parameters() if torch.equal(value, before[name])}
        assert last is net
        assert not {name for name in weights if before[name].dim() > 1}
        assert torch.equal(net(images).logits, logits)


def test_ssim_is_scikit_images() -> None:
    draw = np.random.default_rng(0)
    a = draw.random((3, 24, 31))
    b = np.clip(a + 0.2 * draw.standard_normal(a.shape), 0, 1)
    b[2] = draw.random(a[2].shape)
    found = ssim(torch.from_numpy(a)[:, None], torch.from_numpy(b)[:, None])
    similarity: Callable[..., float] = structural_similarity  # which has no annotations
    for k in range(3):
        settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
        expected = similarity(a[k], b[k], **settings)
        assert found[k].item() == pytest.approx(expected, abs=1e-9)
    one = torch.from_numpy(a)[:, None]
    torch.testing.assert_close(ssim(one, one), torch.ones(3, dtype=torch.float64))
    with pytest.raises(ValueError, match="11 pixels"):
        ssim(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8))


def test_rank_correlation_is_scipys_with_ties() -> None:
    draw = np.random.default_rng(1)
    a, b = draw.integers(0, 6, (2, 4, 7, 8)).astype(float)
    b[1], b[3] = -a[1], a[3] ** 3
    found = rank_correlation(torch.from_numpy(a)[:, None], torch.from_numpy(b)[:, None])
    for k in range(4):
        assert found[k].item() == pytest.approx(spearmanr(a[k].ravel(), b[k].ravel()).statistic, abs=1e-12)
    assert found[1].item() == pytest.approx(-1)
    assert found[3].item() == pytest.approx(1)


def test_rank_correlation_of_bfloat16_is_that_of_its_values() -> None:
    a, b = torch.rand(2, 3, 1, 6, 6, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert torch.equal(rank_correlation(a, b), rank_correlation(a.double(), b.double()))


def test_rank_correlation_of_a_constant_map_is_undefined() -> None:
    a = torch.rand(2, 1, 5, 5)
    b = torch.stack([torch.full((1, 5, 5), 0.7), torch.rand(1, 5, 5)])
    assert torch.isnan(rank_correlation(a, b)).tolist() == [True, False]
