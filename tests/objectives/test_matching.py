"""The heatmap at the scale of gaze, against SciPy's filter, NumPy's means, and matrices written out."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from radgaze.gaze import static_maps
from radgaze.objectives.config import HeatmapConfig
from radgaze.objectives.distances import bce
from radgaze.objectives.matching import blur, match, pyramid

Method = Literal["none", "blur", "pool"]
Scaling = Literal["max", "minmax", "quantile"]

SIGMA = torch.tensor([[1.5, 2.5], [4.0, 0.8], [2.0, 2.0]])


def speckle(rows: int, columns: int, cases: int = 3, seed: int = 0) -> Tensor:
    """Few bright pixels on a dark ground, as a gradient map has."""
    return torch.rand(cases, 1, rows, columns, generator=torch.Generator().manual_seed(seed)) ** 6


def raw(
    match: Method = "none", normalise: Scaling = "max", margin: float = 0.0, cells: int = 14
) -> HeatmapConfig:
    return HeatmapConfig(match=match, normalise=normalise, margin=margin, cells=cells)


def per_case(maps: Tensor) -> NDArray[np.float64]:
    return maps.double().flatten(1).numpy()


@pytest.mark.parametrize(
    ("size", "sigma"),
    [
        ((30, 40), [(1.0, 3.0), (5.0, 0.7), (2.5, 2.5)]),
        ((16, 9), [(0.0, 1.0), (0.05, 0.3), (3.0, 0.0)]),
        ((9, 5), [(6.0, 30.0), (30.0, 2.0), (9.0, 5.0)]),
        ((6, 8), [(200.0, 15.0), (13.0, 40.0), (0.5, 1e3)]),
    ],
    ids=["small", "none", "wider than the map", "far wider than the map"],
)
def test_blur_equals_scipys_gaussian_filter_with_each_cases_own_sigma(
    size: tuple[int, int], sigma: list[tuple[float, float]]
) -> None:
    heat = speckle(*size)
    expected = [
        ndimage.gaussian_filter(h, s, mode="reflect")
        for h, s in zip(heat[:, 0].double().numpy(), sigma, strict=True)
    ]
    np.testing.assert_allclose(blur(heat, torch.tensor(sigma))[:, 0].numpy(), expected, rtol=1e-5, atol=1e-6)


def test_blur_is_the_gaussian_that_gaze_maps_are_made_with() -> None:
    at = torch.tensor([[[3.5, 20.5], [30.5, 0.5]], [[0.5, 0.5], [17.5, 9.5]]])
    weights = torch.tensor([[0.2, 0.5], [0.7, 0.1]])
    sigma = torch.tensor([[2.0, 5.0], [8.0, 1.0]])
    raster = torch.zeros(2, 1, 24, 32)
    for case in range(2):
        for (x, y), weight in zip(at[case], weights[case], strict=True):
            raster[case, 0, int(y), int(x)] += weight
    torch.testing.assert_close(
        blur(raster, sigma), static_maps(at, weights, (24, 32), sigma, normalise="none"), atol=1e-6, rtol=1e-4
    )


def test_blur_keeps_the_mass_of_a_map_and_a_flat_map_as_it_is() -> None:
    heat = speckle(13, 21)
    torch.testing.assert_close(blur(heat, SIGMA * 4).sum((1, 2, 3)), heat.sum((1, 2, 3)))
    flat = torch.full_like(heat, 0.3)
    torch.testing.assert_close(blur(flat, SIGMA * 4), flat)


def test_blurred_map_is_scaled_to_one_and_the_gaze_map_left_alone() -> None:
    heat, gaze = speckle(20, 24), speckle(20, 24, seed=1)
    found, kept = match(heat, gaze, SIGMA, raw(match="blur"))
    smooth = [
        ndimage.gaussian_filter(h, s) for h, s in zip(heat[:, 0].double().numpy(), SIGMA.numpy(), strict=True)
    ]
    np.testing.assert_allclose(found[:, 0].numpy(), [s / s.max() for s in smooth], rtol=1e-4, atol=1e-6)
    assert kept is gaze


def test_pooled_maps_are_the_means_of_their_cells_scaled_to_one() -> None:
    maps = speckle(12, 20), speckle(12, 20, seed=1)
    for pooled, m in zip(match(*maps, SIGMA, raw(match="pool", cells=4)), maps, strict=True):
        means = m.double().numpy().reshape(3, 4, 3, 4, 5).mean((2, 4))
        np.testing.assert_allclose(pooled[:, 0].numpy(), means / means.max((1, 2), keepdims=True), rtol=1e-5)


def test_scales_are_those_of_numpy() -> None:
    heat, gaze = speckle(20, 24), speckle(20, 24, seed=1)
    h = per_case(heat)
    low, high, top = (f[:, None] for f in (h.min(1), h.max(1), np.quantile(h, 0.99, axis=1)))
    expected: dict[Scaling, NDArray[np.float64]] = {
        "max": h / high,
        "minmax": (h - low) / (high - low),
        "quantile": np.minimum(h / top, 1),
    }
    for how, scaled in expected.items():
        found, kept = match(heat, gaze, SIGMA, raw(normalise=how))
        np.testing.assert_allclose(per_case(found), scaled, rtol=1e-4, atol=1e-6)
        assert kept is gaze


@pytest.mark.parametrize("how", ["max", "minmax", "quantile"])
def test_margin_keeps_cross_entropy_off_its_walls(how: Scaling) -> None:
    """Whatever it shows, a heatmap is 1 somewhere; without a margin that pixel alone would be heard."""
    heat, gaze = speckle(20, 24).requires_grad_(), speckle(20, 24, seed=1)
    plain, _ = match(heat, gaze, SIGMA, raw(normalise=how))
    found, _ = match(heat, gaze, SIGMA, raw(normalise=how, margin=0.1))
    torch.testing.assert_close(found, 0.1 + 0.8 * plain)
    assert (found.min().item(), found.max().item()) == pytest.approx((0.1, 0.9), abs=0.01)
    (slope,) = torch.autograd.grad(bce(found, gaze).sum() * 20 * 24, found)
    assert slope.abs().max() <= 1 / 0.1 + 1e-3


@pytest.mark.parametrize("how", ["none", "blur", "pool"])
@pytest.mark.parametrize("normalise", ["max", "minmax", "quantile"])
def test_height_of_a_map_does_not_matter_nor_its_neighbours(how: Method, normalise: Scaling) -> None:
    heat, gaze = speckle(20, 24), speckle(20, 24, seed=1)
    config = raw(match=how, normalise=normalise, cells=4)
    found, _ = match(heat, gaze, SIGMA, config)
    scaled, _ = match(heat * torch.tensor([1e-5, 1.0, 300.0]).view(3, 1, 1, 1), gaze, SIGMA, config)
    alone = [match(heat[i : i + 1], gaze[i : i + 1], SIGMA[i : i + 1], config)[0] for i in range(3)]
    torch.testing.assert_close(scaled, found, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(torch.cat(alone), found)


@pytest.mark.parametrize("how", ["none", "blur", "pool"])
@pytest.mark.parametrize("normalise", ["max", "minmax", "quantile"])
def test_a_map_of_zeros_stays_one_without_a_gradient_or_nan(how: Method, normalise: Scaling) -> None:
    heat = speckle(20, 24)
    heat[1] = 0
    heat.requires_grad_()
    found, _ = match(heat, speckle(20, 24, seed=1), SIGMA, raw(match=how, normalise=normalise, cells=4))
    rows, columns = found.shape[-2:]
    (gradient,) = torch.autograd.grad((found * speckle(rows, columns, seed=2)).sum(), heat)
    assert not found[1].any()
    assert not gradient[1].any()
    assert found.isfinite().all()
    assert gradient.isfinite().all()
    assert all(gradient[i].any() for i in (0, 2))


@pytest.mark.parametrize("margin", [0.0, 0.02])
@pytest.mark.parametrize("normalise", ["max", "minmax"])
@pytest.mark.parametrize("how", ["none", "blur"])
def test_gradient_is_blurs_adjoint_of_what_changes_the_shape_over_a_constant(
    how: Method, normalise: Scaling, margin: float
) -> None:
    """With y = A h: ∂⟨w, match(h)⟩/∂h = (1 − 2ε)/c · Aᵀ(1 − ŷŷᵀ)w / ‖y‖, and nothing through the scale c."""
    rows, columns = 8, 6
    heat, cotangent = speckle(rows, columns).requires_grad_(), speckle(rows, columns, seed=2)
    config = raw(match=how, normalise=normalise, margin=margin)
    found, _ = match(heat, speckle(rows, columns, seed=1), SIGMA, config)
    (gradient,) = torch.autograd.grad((found * cotangent).sum(), heat)
    for case in range(3):
        impulses = np.eye(rows * columns).reshape(-1, rows, columns)
        sigma = SIGMA[case].numpy() if how == "blur" else (0, 0)
        A = np.stack([ndimage.gaussian_filter(i, sigma).ravel() for i in impulses], 1)
        y = A @ per_case(heat.detach())[case]
        unit = y / np.linalg.norm(y)
        c = unit.max() - (unit.min() if normalise == "minmax" else 0)
        w = per_case(cotangent)[case]
        expected = (1 - 2 * margin) / c * A.T @ (w - unit * (unit @ w)) / np.linalg.norm(y)
        np.testing.assert_allclose(
            per_case(gradient)[case], expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max()
        )


@pytest.mark.parametrize("how", ["none", "blur", "pool"])
@pytest.mark.parametrize("normalise", ["max", "minmax", "quantile"])
def test_no_loss_asks_the_whole_map_to_shrink_or_to_swell(how: Method, normalise: Scaling) -> None:
    """It could not lower the loss, since the scale takes it out again; yet maps died of it."""
    heat = speckle(20, 24).requires_grad_()
    found, gaze = match(heat, speckle(20, 24, seed=1), SIGMA, raw(match=how, normalise=normalise, cells=4))
    (gradient,) = torch.autograd.grad((found - gaze).square().sum(), heat)
    along = (gradient * heat).flatten(1).sum(1)
    assert torch.all(along.abs() < 1e-4 * gradient.flatten(1).norm(dim=1) * heat.flatten(1).norm(dim=1))


def test_pyramid_coarsens_both_maps_by_means_of_blocks_and_leaves_them_at_scale_one() -> None:
    p, q = speckle(12, 20), speckle(12, 20, seed=1)
    same = pyramid(p, q, 1)
    assert same[0] is p
    assert same[1] is q
    for coarse, m in zip(pyramid(p, q, 4), (p, q), strict=True):
        means = m.double().numpy().reshape(3, 1, 3, 4, 5, 4).mean((3, 5))
        np.testing.assert_allclose(coarse.numpy(), means, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_maps_in_half_precision_are_blurred_in_full(dtype: torch.dtype) -> None:
    heat = speckle(20, 24).to(dtype)
    assert torch.equal(blur(heat, SIGMA), blur(heat.float(), SIGMA))
