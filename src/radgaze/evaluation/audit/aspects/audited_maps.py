"""Input of the aspects: maps of one method or baseline map, with their cases and the model."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from radgaze import attribution
from radgaze.attribution import Generator
from radgaze.evaluation.audit.options import AuditOptions
from radgaze.evaluation.audit.sampling import AuditCases, CaseBatch
from radgaze.evaluation.maps import smoothed

Floats = NDArray[np.float64]
Figures = dict[str, Floats]
"""Figures of shape (B,) by metric, NaN where undefined."""
Explain = Callable[..., Tensor]
"""Function of images (N, 1, S, S), classes (N,) and `also=`, further inputs, to maps (N, 1, S, S)."""


Value = TypeVar("Value")


class Once:
    """Values that several maps have in common, each of which is computed for the first and kept."""

    def __init__(self) -> None:
        self._values: dict[Hashable, object] = {}

    def __call__(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value of a key; `make` computes it the first time."""
        if key not in self._values:
            self._values[key] = make()
        value: Value = self._values[key]  # type: ignore[assignment]  # of this key
        return value


@dataclass(frozen=True)
class MethodGroup:
    """Methods whose maps are made of the same forward passes (`attribution.shared`).

    Attributes:
        make: Function that creates the methods for a model, by their names.
        maps: Maps of all cases, as `AuditedMaps.maps`, by the method's name.
        once: Values that are computed for all these methods together.
    """

    make: Callable[[nn.Module], dict[str, Generator]]
    maps: Mapping[str, Mapping[str, Tensor]]
    once: Once = field(default_factory=Once)

    def maps_of(self, batch: CaseBatch) -> dict[str, Tensor]:
        """Return the maps of a batch, of shape (B, 1, S, S), by the method's name."""
        return {
            name: torch.stack([of_method[case_id] for case_id in batch.case_ids])
            for name, of_method in self.maps.items()
        }


@dataclass(frozen=True)
class AuditedMethod:
    """A method with its cost.

    Attributes:
        name: Name of the method.
        explain: The method for the trained model.
        group: The methods, this one among them, whose maps are made together.
        generators: All methods of the group for the trained model, by name.
        map_seconds: Time for one map, in seconds.
        pass_seconds: Time for only the class scores of one image, in seconds.
    """

    name: str
    explain: Explain
    group: MethodGroup
    generators: Mapping[str, Generator]
    map_seconds: float
    pass_seconds: float

    def make(self, model: nn.Module) -> Explain:
        """Create the method for another model."""
        return self.group.make(model)[self.name]


@dataclass(frozen=True)
class AuditedMaps:
    """Maps of all cases, of a method or a baseline map.

    Attributes:
        cases: The cases with their gaze, boxes and images.
        maps: Map of the predicted class of each case, of shape (1, S, S), by case id.
        model: The trained model. An aspect that changes it restores it.
        classification: Kind of the class scores, see `objectives.triangle.probabilities`.
        options: Options of the audit.
        blurs: Whether the maps are blurred before they are compared with gaze or boxes.
        method: The method; None for a baseline map.
        once: Values that do not depend on the map, for all methods and baseline maps.
    """

    cases: AuditCases
    maps: Mapping[str, Tensor]
    model: nn.Module
    classification: str
    options: AuditOptions
    blurs: bool = True
    method: AuditedMethod | None = None
    once: Once = field(default_factory=Once)

    @property
    def batches(self) -> tuple[CaseBatch, ...]:
        """All cases, in batches."""
        return self.cases.batches

    @property
    def probed(self) -> tuple[CaseBatch, ...]:
        """The cases on which the method and the model may be run many times, in batches."""
        return self.cases.probed

    def maps_of(self, batch: CaseBatch) -> Tensor:
        """Return the maps of a batch, of shape (B, 1, S, S), without blurring."""
        return torch.stack([self.maps[case_id] for case_id in batch.case_ids])

    def smooth(self, batch: CaseBatch, maps: Tensor) -> Floats:
        """Return maps of shape (B, S, S), blurred by the Gaussian of each case's gaze map if `blurs`."""
        return smooth(batch, maps) if self.blurs else maps[:, 0].cpu().double().numpy()

    def of_truth(self, batch: CaseBatch) -> Tensor:
        """Return maps of the true class for cases with boxes and of the predicted class for others.

        Args:
            batch: The cases.

        Returns:
            Maps of shape (B, 1, S, S). A baseline map does not depend on the class.
        """
        maps = self.maps_of(batch)
        other = torch.from_numpy(batch.boxed).to(batch.truth.device) & (batch.truth != batch.predicted)
        if self.method is None or not other.any():
            return maps
        also = tuple(values[other] for values in batch.also)
        maps[other] = self.method.explain(batch.images[other], batch.truth[other], also=also)
        return maps

    @property
    def required(self) -> AuditedMethod:
        """The method, for an aspect that is not measured on baseline maps.

        Raises:
            ValueError: The maps are those of a baseline map.
        """
        if self.method is None:
            raise ValueError("this is measured on methods only, see `Aspect.of_baselines`")
        return self.method


def explained(explain: Explain, batch: CaseBatch, images: Tensor | None = None) -> Tensor:
    """Compute maps of the predicted class, of shape (N, 1, S, S).

    Args:
        explain: The method.
        batch: The cases.
        images: Changed images (N, 1, S, S) of the cases, all cases in order, once or several times; None for
            the images of the batch.
    """
    images, predicted, also = _inputs(batch, images)
    return explain(images, predicted, also=also)


def explained_together(
    generators: Mapping[str, Generator], batch: CaseBatch, images: Tensor | None = None
) -> dict[str, Tensor]:
    """Compute the maps of several methods, by their names; see `explained`."""
    images, predicted, also = _inputs(batch, images)
    return attribution.together(generators, images, predicted, also=also)


def _inputs(batch: CaseBatch, images: Tensor | None) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    images = batch.images if images is None else images
    turns = len(images) // len(batch)
    return images, repeated(batch.predicted, turns), tuple(repeated(each, turns) for each in batch.also)


def smooth(batch: CaseBatch, maps: Tensor) -> Floats:
    """Return maps of shape (B, S, S), blurred by the Gaussian of each case's gaze map."""
    return smoothed(maps[:, 0].float().cpu().numpy(), batch.sigma.cpu().numpy()).astype(np.float64)


def repeated(tensor: Tensor, turns: int) -> Tensor:
    """Repeat a tensor along its first axis, `turns` times."""
    return tensor.repeat(turns, *[1] * (tensor.dim() - 1))


def floats(figure: Tensor) -> Floats:
    """Return a figure of shape (B,) as an array."""
    return figure.detach().cpu().double().numpy()


def as_list(values: Floats) -> list[float | None]:
    """Return an array of shape (N,) as a list, with None for NaN."""
    return [float(value) if np.isfinite(value) else None for value in values]
