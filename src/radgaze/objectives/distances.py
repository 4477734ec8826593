"""Distances between two maps, one number per case: each a formula, 0 (or smallest) where the maps agree.

`p` is the predicted map, `q` its target; both are (B, 1, H, W) in [0, 1].
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import overload

import torch
import torch.nn.functional as F
from torch import Tensor

from radgaze.options import FieldError, check_choice

Formula = Callable[..., Tensor]

_TINY = 1e-6


@dataclass(frozen=True)
class Distance:
    """A registered distance.

    Attributes:
        name: Name, that of its function.
        formula: Function of `p` and `q`, and perhaps of options by name. With an option `within`, a map
            (B, 1, H, W) in [0, 1], it can weight places.
        raw: Whether it takes the heatmap as it was made, which is signed if its read-out is: neither smoothed
            nor scaled (see `matching.match`).
    """

    name: str
    formula: Formula
    raw: bool = False

    def __call__(self, p: Tensor, q: Tensor, /, **options: object) -> Tensor:
        """The distance of each case, (B,)."""
        return self.formula(p, q, **options)

    @property
    def options(self) -> tuple[str, ...]:
        """Names of its options."""
        return tuple(inspect.signature(self.formula).parameters)[2:]


REGISTRY: dict[str, Distance] = {}


@overload
def register(formula: Formula) -> Formula: ...
@overload
def register(*, raw: bool = False) -> Callable[[Formula], Formula]: ...
def register(formula: Formula | None = None, *, raw: bool = False) -> Formula | Callable[[Formula], Formula]:
    """Make a distance available by its function's name, `@register` or `@register(raw=True)`.

    Args:
        formula: The function, see `Distance`.
        raw: Whether it takes the heatmap as it was made.
    """

    def decorate(formula: Formula) -> Formula:
        REGISTRY[formula.__name__] = Distance(formula.__name__, formula, raw)
        return formula

    return decorate if formula is None else decorate(formula)


@register
def bce(p: Tensor, q: Tensor) -> Tensor:
    """Mean over pixels of −q·log p − (1 − q)·log(1 − p); NaN where either is."""
    # torch refuses NaN: with an exception, and on a GPU with an assertion that ends the process.
    broken = torch.isnan(p) | torch.isnan(q)
    p, q = p.masked_fill(broken, 0.5), q.masked_fill(broken, 0.5)
    # With a saturated p the gradient in q, where that is learned as well, would be log(1 − p) − log p = ∓∞.
    least = torch.finfo(p.dtype).eps
    pixels = F.binary_cross_entropy(p.clamp(least, 1 - least), q, reduction="none")
    return pixels.masked_fill(broken, torch.nan).flatten(1).mean(1)


@register
def mse(p: Tensor, q: Tensor) -> Tensor:
    """Mean over pixels of (p − q)²."""
    return (p - q).square().flatten(1).mean(1)


@register
def kl(p: Tensor, q: Tensor) -> Tensor:
    """Σ Q·log(Q/P), P and Q the maps divided by their sums; blind to a map's scale (Bylinskii et al., KL)."""
    P, Q = _share(p), _share(q)
    return (Q * (torch.log(Q + _TINY**2) - torch.log(P + _TINY**2))).sum(1)


@register
def one_minus_cc(p: Tensor, q: Tensor) -> Tensor:
    """1 − Pearson's correlation over pixels; 1 where either map is constant."""
    a, b = p.flatten(1), q.flatten(1)
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    return 1 - (a * b).sum(1) / ((a.square().sum(1) + _TINY**2) * (b.square().sum(1) + _TINY**2)).sqrt()


@register
def dice(p: Tensor, q: Tensor) -> Tensor:
    """Soft Dice, 1 − 2·Σpq / (Σp² + Σq²); 0 where both maps are empty."""
    a, b = p.flatten(1), q.flatten(1)
    return 1 - (2 * (a * b).sum(1) + _TINY) / (a.square().sum(1) + b.square().sum(1) + _TINY)


def find(name: str) -> Distance:
    """Find a distance by its name.

    Raises:
        ValueError: There is no such distance.
    """
    if name not in REGISTRY:
        raise ValueError(f"there is no map distance {name!r}; there are {', '.join(REGISTRY)}")
    return REGISTRY[name]


def check(name: str, options: Mapping[str, object], *, within: bool = False) -> None:
    """Check that a distance has some options, and whether it weights places by a third map.

    Raises:
        FieldError: It does not.
    """
    check_choice("distance", name, REGISTRY)
    has = REGISTRY[name].options
    for option in options:
        if option not in has or option == "within":
            own = ", ".join(each for each in has if each != "within") or "none"
            raise FieldError("parameters", f"has no {option!r}; the options of {name} are {own}")
    if within and "within" not in has:
        raise FieldError("within", f"cannot be used: the distance {name} weights no places")


def _share(m: Tensor) -> Tensor:
    flat = m.flatten(1).clamp(min=0) + _TINY
    return flat / flat.sum(1, keepdim=True)
