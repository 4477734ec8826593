"""From a gradient to a map: the named reductions, and the scales, against NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from radgaze.attribution.readout import READOUTS, Normalise, enlarge, normalise

REDUCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "absolute": lambda g: np.abs(g).max(1),
    "positive": lambda g: np.maximum(g, 0).max(1),
    "negative": lambda g: np.maximum(-g, 0).max(1),
    "sum": lambda g: g.sum(1),
    "norm": lambda g: np.sqrt((g**2).sum(1)),
}
SCALES: dict[Normalise, Callable[[np.ndarray], np.ndarray]] = {
    "max": lambda h: np.maximum(h, 0) / h.max(),
    "minmax": lambda h: (h - h.min()) / (h.max() - h.min()),
    "quantile": lambda h: np.clip(h / np.quantile(h, 0.99), 0, 1),
    "none": lambda h: h,
}


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("how", REDUCTIONS)
def test_reductions_over_channels_equal_numpys(how: str, channels: int) -> None:
    g = drawn(2, channels, 5, 4)
    found = READOUTS[how](g)
    assert found.shape == (2, 1, 5, 4)
    np.testing.assert_allclose(found[:, 0].numpy(), REDUCTIONS[how](g.numpy()))


def test_every_reduction_there_is_is_tested() -> None:
    assert set(READOUTS) == set(REDUCTIONS)


@pytest.mark.parametrize("how", REDUCTIONS)
def test_reductions_have_the_gradient_of_finite_differences(how: str) -> None:
    assert torch.autograd.gradcheck(READOUTS[how], drawn(2, 3, 4, 3).requires_grad_())


@pytest.mark.parametrize("how", REDUCTIONS)
def test_reductions_of_zeros_have_a_finite_gradient(how: str) -> None:
    g = torch.zeros(1, 3, 2, 2, requires_grad=True)
    torch.autograd.backward(READOUTS[how](g).sum())
    assert g.grad is not None
    assert g.grad.isfinite().all()


@pytest.mark.parametrize("how", SCALES)
def test_scales_equal_numpys_case_by_case(how: Normalise) -> None:
    heat = drawn(3, 1, 9, 8) * torch.tensor([1e-6, 1, 1e6]).view(-1, 1, 1, 1)
    expected = np.stack([SCALES[how](each) for each in heat.numpy()])
    np.testing.assert_allclose(normalise(heat, how).numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("how", SCALES)
@pytest.mark.parametrize("value", [0.0, 2.0, -2.0])
def test_constant_maps_stay_finite_and_an_empty_one_empty(how: Normalise, value: float) -> None:
    heat = torch.full((2, 1, 4, 4), value, requires_grad=True)
    for through in (False, True):
        found = normalise(heat, how, through_scale=through)
        (gradient,) = torch.autograd.grad(found.sum(), heat)
        assert found.isfinite().all()
        assert gradient.isfinite().all()
        if value == 0:
            assert found.eq(0).all()
        if how != "none":
            assert found.min() >= 0
            assert found.max() <= 1


@pytest.mark.parametrize("how", SCALES)
def test_gradient_through_the_scale_is_that_of_finite_differences(how: Normalise) -> None:
    heat = drawn(2, 1, 6, 5).requires_grad_()
    if how == "quantile":  # whose quantile is found in float32: too coarse for small differences
        assert torch.autograd.gradcheck(
            lambda h: normalise(h, how, through_scale=True), heat, eps=1e-2, atol=2e-2, rtol=2e-2
        )
    else:
        assert torch.autograd.gradcheck(lambda h: normalise(h, how, through_scale=True), heat)


@pytest.mark.parametrize("how", ["max", "minmax", "quantile"])
def test_scale_is_a_constant_unless_it_is_asked_through(how: Normalise) -> None:
    heat = drawn(2, 1, 6, 5).requires_grad_()
    weights = drawn(2, 1, 6, 5)
    (held,) = torch.autograd.grad((normalise(heat, how) * weights).sum(), heat)
    (through,) = torch.autograd.grad((normalise(heat, how, through_scale=True) * weights).sum(), heat)
    values = heat.detach()
    flat = values.flatten(1)
    low = flat.amin(1) if how == "minmax" else torch.zeros(2, dtype=torch.float64)
    high = torch.quantile(flat.float(), 0.99, dim=1).double() if how == "quantile" else flat.amax(1)
    inside = (values >= 0) | (how == "minmax")
    if how == "quantile":
        inside &= values <= high.view(-1, 1, 1, 1)
    torch.testing.assert_close(held, weights * inside / (high - low).view(-1, 1, 1, 1))
    assert not torch.allclose(held, through)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scale_keeps_the_type(dtype: torch.dtype) -> None:
    for how in SCALES:
        assert normalise(drawn(2, 1, 4, 4).to(dtype), how).dtype == dtype


def test_map_is_enlarged_bilinearly_with_its_corners_at_pixel_edges() -> None:
    """A map of two columns over an image of eight: values at 0.5 and 1.5 of two."""
    heat = torch.tensor([[[[0.0, 1.0]]]])
    row = enlarge(heat, torch.Size((1, 8)))[0, 0, 0]
    places = (np.arange(8) + 0.5) / 4 - 0.5
    np.testing.assert_allclose(row.numpy(), np.interp(places, [0, 1], [0.0, 1.0]))
    assert enlarge(heat, torch.Size((1, 2))) is heat
