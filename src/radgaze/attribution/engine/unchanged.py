"""Tensors met in a forward pass, which a later step may use only while nothing has overwritten them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from torch import Tensor

from radgaze.attribution.engine.layers import Geometry

Kept = TypeVar("Kept", bound=Tensor | None)


@dataclass(frozen=True, eq=False)
class Unchanged(Generic[Kept]):
    """A tensor met before, or None, and its version then."""

    tensor: Kept
    _version: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_version", _version_of(self.tensor))

    def still(self, other: object) -> bool:
        """Whether the other is this same tensor, and nothing has overwritten it since."""
        return other is self.tensor and _version_of(other) == self._version


def _version_of(tensor: object) -> int:
    return tensor._version if isinstance(tensor, Tensor) and not tensor.is_inference() else 0


@dataclass(frozen=True, eq=False)
class Convolved:
    """The last convolution: its result y, what it was computed from, and how, see `Conv`."""

    y: Unchanged[Tensor]
    x: Unchanged[Tensor]
    weight: Unchanged[Tensor]
    bias: Unchanged[Tensor | None]
    geometry: Geometry
    first: bool

    def gave(self, x: Tensor) -> bool:
        """Whether x is its result, and neither that nor what it was made from has been overwritten since."""
        sources = (self.x, self.weight, self.bias)
        return self.y.still(x) and all(source.still(source.tensor) for source in sources)
