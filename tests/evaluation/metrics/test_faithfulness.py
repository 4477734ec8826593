"""Deletion, insertion, sensitivity-n and infidelity: against loops, closed forms and invariants."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from radgaze.evaluation.metrics import faithfulness
from radgaze.evaluation.metrics.faithfulness import (
    Curve,
    blurred,
    correlation,
    deletion,
    infidelity,
    insertion,
    sensitivity_n,
)

B, H, W = 3, 6, 5


@pytest.fixture
def images() -> Tensor:
    return torch.rand(B, 1, H, W, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.fixture
def maps() -> Tensor:
    return torch.rand(B, 1, H, W, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


@pytest.fixture
def weights() -> Tensor:
    return torch.randn(H, W, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def curved(images: Tensor) -> Tensor:
    """A score that is no sum over pixels."""
    return torch.tanh(images[:, 0, ::2].sum((1, 2)) - 2 * images[:, 0, 1::2].prod(2).sum(1))


@pytest.mark.parametrize("is_known", [False, True], ids=["", "ends known"])
@pytest.mark.parametrize("steps", [1, 4, 7])
@pytest.mark.parametrize("curve", [deletion, insertion])
def test_a_curve_is_that_of_changing_pixels_one_by_one(
    curve: Callable[..., Curve], steps: int, is_known: bool, images: Tensor, maps: Tensor
) -> None:
    baseline = blurred(images.float(), 1.5).double()
    start, end = (images, baseline) if curve is deletion else (baseline, images)
    scored: list[Tensor] = []

    def score(changed: Tensor) -> Tensor:
        scored.append(changed)
        return curved(changed)

    ends = (curved(start), curved(end)) if is_known else None
    found = curve(score, images, maps, baseline, steps=steps, ends=ends)
    assert sum(map(len, scored)) == B * (steps - 1 if is_known else steps + 1)
    for b in range(B):
        pixels = sorted(range(H * W), key=lambda p: (-maps[b].flatten()[p].item(), p))
        values = []
        for k in range(steps + 1):
            changed = start[b].clone()
            for p in pixels[: round(k / steps * H * W)]:
                changed[0, p // W, p % W] = end[b, 0, p // W, p % W]
            values.append(curved(changed[None]).item())
        np.testing.assert_allclose(found.values[b], values, rtol=1e-6)
        assert found.area[b].item() == pytest.approx(np.trapezoid(values, np.linspace(0, 1, steps + 1)))


def test_a_curve_does_not_depend_on_the_images_beside_it_nor_on_how_many_are_scored_at_once(
    images: Tensor, maps: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    baseline = torch.zeros_like(images)
    together = deletion(curved, images, maps, baseline, steps=5)
    monkeypatch.setattr(faithfulness, "AT_ONCE", 1)
    for b in range(B):
        alone = deletion(curved, images[b : b + 1], maps[b : b + 1], baseline[b : b + 1], steps=5)
        torch.testing.assert_close(alone.values[0], together.values[b])


def test_the_map_that_knows_what_the_score_is_made_of_has_the_best_curves(
    images: Tensor, weights: Tensor
) -> None:
    score = lambda x: (x[:, 0] * weights).sum((1, 2))  # noqa: E731
    nothing = torch.zeros_like(images)
    truth, other = images * weights, (images * weights).flip(-1)
    for better, worse in ((truth, other), (truth, -truth)):
        first, second = (deletion(score, images, m, nothing, steps=H * W).area for m in (better, worse))
        assert (first < second).all()
        first, second = (insertion(score, images, m, nothing, steps=H * W).area for m in (better, worse))
        assert (first > second).all()


def test_only_the_order_of_a_map_counts_and_of_equal_pixels_the_upper_left_goes_first(
    images: Tensor, maps: Tensor
) -> None:
    nothing = torch.zeros_like(images)

    def of(m: Tensor) -> Tensor:
        return deletion(curved, images, m, nothing, steps=6).values

    assert torch.equal(of(maps), of(3 * maps**3 + 1))
    two = (maps > 0.5).double()
    falling = two - torch.arange(H * W, dtype=torch.float64).view(1, 1, H, W) / 1000
    assert torch.equal(of(two), of(falling))


def test_a_map_without_contrast_scores_what_chance_does_and_one_that_is_not_finite_is_undefined(
    images: Tensor, maps: Tensor
) -> None:
    score, nothing = (lambda x: x[:, 0].mean((1, 2))), torch.zeros_like(images)
    flat = deletion(score, images, torch.full_like(maps, 0.3), nothing, steps=H * W).area
    draws = [
        deletion(
            score,
            images,
            torch.rand(B, 1, H, W, generator=torch.Generator().manual_seed(k)),
            nothing,
            steps=30,
        )
        for k in range(200)
    ]
    by_chance = torch.stack([draw.area for draw in draws])
    assert ((flat - by_chance.mean(0)).abs() < 4 * by_chance.std(0)).all()
    broken = maps.clone()
    broken[1, 0, 0, 0] = torch.nan
    assert torch.isnan(deletion(score, images, broken, nothing, steps=3).area).tolist() == [
        False,
        True,
        False,
    ]


def test_sensitivity_n_of_a_linear_score_is_one_for_input_times_gradient(
    images: Tensor, weights: Tensor
) -> None:
    score = lambda x: (x[:, 0] * weights).sum((1, 2))  # noqa: E731
    found = sensitivity_n(score, images, images * weights, n=7, samples=20, seed=0)
    torch.testing.assert_close(found, torch.ones(B, dtype=torch.float64))
    opposed = sensitivity_n(score, images, -images * weights, n=7, samples=20, seed=0)
    torch.testing.assert_close(opposed, -torch.ones(B, dtype=torch.float64))


def test_sensitivity_n_is_the_correlation_over_sets_drawn_one_by_one(images: Tensor, maps: Tensor) -> None:
    baseline, n, samples = torch.full_like(images, 0.25), 9, 12
    found = sensitivity_n(curved, images, maps, n=n, samples=samples, seed=4, baseline=baseline)
    draw = torch.Generator().manual_seed(4)
    sets = [torch.randperm(H * W, generator=draw)[:n].tolist() for _ in range(samples)]
    for b in range(B):
        sums, losses = [], []
        for chosen in sets:
            changed = images[b].clone().flatten()
            changed[chosen] = 0.25
            sums.append(maps[b].flatten()[chosen].sum().item())
            losses.append((curved(images[b : b + 1]) - curved(changed.view(1, 1, H, W))).item())
        assert found[b].item() == pytest.approx(np.corrcoef(sums, losses)[0, 1])


def test_sensitivity_n_of_a_constant_map_is_chance_and_of_a_constant_score_undefined(
    images: Tensor, maps: Tensor
) -> None:
    flat = sensitivity_n(curved, images, torch.ones_like(maps), n=5, samples=8, seed=0)
    assert flat.tolist() == [0.0] * B
    assert torch.isnan(
        sensitivity_n(lambda x: torch.ones(len(x)), images, maps, n=5, samples=8, seed=0)
    ).all()
    with pytest.raises(ValueError, match="got 30"):
        sensitivity_n(curved, images, maps, n=H * W, samples=2, seed=0)


def test_infidelity_of_a_linear_score_is_zero_for_its_gradient_of_any_scale(
    images: Tensor, weights: Tensor
) -> None:
    score = lambda x: (x[:, 0] * weights).sum((1, 2))  # noqa: E731
    for scale in (1.0, 0.01, -7.0):
        found = infidelity(score, images, scale * weights.expand(B, 1, H, W), samples=30, seed=0)
        torch.testing.assert_close(found, torch.zeros(B, dtype=torch.float64), atol=1e-20, rtol=0)
    assert (infidelity(score, images, images, samples=30, seed=0) > 1e-3).all()


def test_infidelity_is_the_mean_square_after_the_best_scale(images: Tensor, maps: Tensor) -> None:
    samples, noise = 25, 0.3
    found = infidelity(curved, images, maps, samples=samples, seed=5, noise=noise)
    shaken = noise * torch.randn(samples, 1, H, W, generator=torch.Generator().manual_seed(5)).double()
    for b in range(B):
        sums = [(maps[b] * i).sum().item() for i in shaken]
        moved = [(curved(images[b : b + 1]) - curved(images[b : b + 1] - i[None])).item() for i in shaken]
        (beta,), *_ = np.linalg.lstsq(np.array(sums)[:, None], np.array(moved), rcond=None)
        assert found[b].item() == pytest.approx(np.mean((beta * np.array(sums) - moved) ** 2), rel=1e-6)
    empty = infidelity(curved, images, torch.zeros_like(maps), samples=samples, seed=5, noise=noise)
    assert (empty >= found).all()


def test_correlation_is_numpys() -> None:
    a, b = torch.randn(2, 4, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for row, found in enumerate(correlation(a, b)):
        assert found.item() == pytest.approx(np.corrcoef(a[row], b[row])[0, 1])


@pytest.mark.parametrize("length", [3, 9, 11, 24])
def test_correlation_with_a_constant_row_is_undefined_although_its_mean_is_rounded(length: int) -> None:
    other = torch.rand(4, length, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for constant in (0.1, 0.3, 0.7, 123.456):
        row = torch.full((4, length), constant, dtype=torch.float64)
        assert torch.isnan(correlation(row, other)).all()
        assert torch.isnan(correlation(other, row)).all()
    slight = 1e6 + 1e-3 * other  # a pattern, however slight
    torch.testing.assert_close(correlation(slight, other), torch.ones(4, dtype=torch.float64))


def test_deletion_is_quantus_pixel_flipping() -> None:
    quantus = pytest.importorskip("quantus")
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.SiLU(), nn.Flatten(), nn.Linear(4 * 36, 3)).eval()
    images, maps, of = torch.rand(2, 1, 8, 8), torch.rand(2, 1, 8, 8), torch.tensor([1, 2])

    @torch.no_grad()
    def score(x: Tensor) -> Tensor:
        p: Tensor = network(x).softmax(1).gather(1, of.repeat(len(x) // 2)[:, None])[:, 0]
        return p

    flipping = quantus.PixelFlipping(
        features_in_step=8, perturb_baseline="black", normalise=False, abs=False, disable_warnings=True
    )
    arrays = {"x_batch": images.numpy(), "y_batch": of.numpy(), "a_batch": maps.numpy()}
    expected = flipping(model=network, softmax=True, device="cpu", **arrays)
    darkest = images.amin((1, 2, 3), keepdim=True).expand_as(images)  # its "black"
    found = deletion(score, images, maps, darkest, steps=8)
    np.testing.assert_allclose(found.values[:, 1:], expected, rtol=1e-5)
