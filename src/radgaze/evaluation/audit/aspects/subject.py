"""What an aspect measures: one method's maps of all cases, or a baseline map's, and the model beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from radgaze.evaluation.audit.sampling import Lot, Subjects
from radgaze.evaluation.maps import smoothed

Floats = NDArray[np.float64]
Figures = dict[str, Floats]
"""(B,) per metric, NaN where it is undefined."""
Explain = Callable[..., Tensor]
"""A generator: images (N, 1, S, S), classes (N,) and `also=` to maps (N, 1, S, S)."""


@dataclass(frozen=True)
class Effort:
    """How thoroughly a method is probed.

    Attributes:
        steps: Points of the deletion and insertion curves, without the first.
        subsets: Sets of pixels of sensitivity-n.
        share: Of all pixels that are in one of these.
        stages: Layers at which the weights are drawn anew, of each kind of randomisation.
        noise: Standard deviation of the noise, in units of the image's range.
        draws: Of the noise.
        shift: How far the image is shifted, as a share of its side.
        seed: Of all that is random.
    """

    steps: int = 8
    subsets: int = 8
    share: float = 0.1
    stages: int = 4
    noise: float = 0.02
    draws: int = 2
    shift: float = 0.02
    seed: int = 0


@dataclass(frozen=True)
class Method:
    """What only a method has, and no baseline map.

    Attributes:
        make: The method, for a model.
        explain: The method, for the trained model.
        map_seconds: Time of one map.
        pass_seconds: Time of the class scores of one image alone.
    """

    make: Callable[[nn.Module], Explain]
    explain: Explain
    map_seconds: float
    pass_seconds: float


@dataclass(frozen=True)
class Subject:
    """What is measured: a method, or a baseline map.

    Attributes:
        cases: All cases with their gaze, boxes and images, in lots; some are probed.
        maps: (1, S, S) of each case, of the class that the model predicts.
        model: The trained model; whoever changes it restores it.
        classification: How its logits become probabilities, see `objectives.triangle.probabilities`.
        effort: How thoroughly the probed cases are looked at.
        blurs: Whether the maps are blurred before they are compared with gaze or boxes.
        method: What only a method has; None of a baseline map.
    """

    cases: Subjects
    maps: Mapping[str, Tensor]
    model: nn.Module
    classification: str
    effort: Effort
    blurs: bool = True
    method: Method | None = None

    @property
    def lots(self) -> tuple[Lot, ...]:
        """All cases, some side by side."""
        return self.cases.lots

    @property
    def probed(self) -> tuple[Lot, ...]:
        """The cases on which the method and the model may be run again and again."""
        return self.cases.probed

    def maps_of(self, lot: Lot) -> Tensor:
        """The maps (B, 1, S, S) of a lot's cases, as they are."""
        return torch.stack([self.maps[case_id] for case_id in lot.case_ids])

    def smooth(self, lot: Lot, maps: Tensor) -> Floats:
        """Maps (B, 1, S, S) blurred as far as the cases' gaze maps, (B, S, S)."""
        return smooth(lot, maps) if self.blurs else maps[:, 0].double().cpu().numpy()

    def of_truth(self, lot: Lot) -> Tensor:
        """Maps of the true class: those of the predicted one, and others for boxed cases of another class."""
        maps = self.maps_of(lot)
        other = torch.from_numpy(lot.boxed).to(lot.truth.device) & (lot.truth != lot.predicted)
        if self.method is None or not other.any():
            return maps
        also = tuple(a[other] for a in lot.also)
        maps[other] = self.method.explain(lot.images[other], lot.truth[other], also=also)
        return maps

    @cached_property
    def required(self) -> Method:
        """What only a method has; asked for by an aspect that is not measured of baseline maps."""
        if self.method is None:
            raise ValueError("this is measured of methods alone, see `Aspect.of_baselines`")
        return self.method


def explained(explain: Explain, lot: Lot, images: Tensor | None = None) -> Tensor:
    """Maps of a lot's images, or of others: its cases in order, once or several times."""
    images = lot.images if images is None else images
    turns = len(images) // len(lot)
    return explain(images, repeated(lot.predicted, turns), also=tuple(repeated(a, turns) for a in lot.also))


def smooth(lot: Lot, maps: Tensor) -> Floats:
    """Maps (B, 1, S, S) blurred as far as the cases' gaze maps, (B, S, S)."""
    return smoothed(maps[:, 0].float().cpu().numpy(), lot.sigma.cpu().numpy()).astype(np.float64)


def repeated(tensor: Tensor, turns: int) -> Tensor:
    """A tensor several times along its first axis."""
    return tensor.repeat(turns, *[1] * (tensor.dim() - 1))


def floats(figure: Tensor) -> Floats:
    """A figure (B,) as NumPy's."""
    return figure.detach().double().cpu().numpy()


def plain(values: Any) -> Any:
    """An array as nested lists, NaN as None."""
    found = np.asarray(values, dtype=object)
    found[~np.isfinite(np.asarray(values, dtype=np.float64))] = None
    return found.tolist()
