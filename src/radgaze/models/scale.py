"""The grey values that an encoder expects: channels, range, mean and deviation. Does not import torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal


@dataclass(frozen=True)
class Scale:
    """The input of an encoder: x in [0, 1] becomes (low + (high − low)·x − mean) / std in each channel.

    Attributes:
        mean: Mean of each channel.
        std: Deviation of each channel.
        low: Value of black before mean and deviation.
        high: Value of white before mean and deviation.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or len(self.mean) not in (1, 3):
            raise ValueError("mean and deviation are of 1 channel or of 3")
        if not all(each > 0 for each in self.std) or not self.low < self.high:
            raise ValueError("deviations are above 0, and a range goes from a lower number to a higher one")

    @property
    def channels(self) -> int:
        """Number of channels."""
        return len(self.mean)

    def with_channels(self, channels: int) -> Scale:
        """Return the scale for 1 or 3 channels; one channel has the averages of mean and deviation."""
        if channels == self.channels:
            return self
        if channels == 1:
            return replace(self, mean=(_mean(self.mean),), std=(_mean(self.std),))
        return replace(self, mean=self.mean * channels, std=self.std * channels)

    @property
    def words(self) -> str:
        """Description, such as "1 channel, greys from −1024 to 1024 (torchxrayvision)"."""
        channels = f"{self.channels} channel{'s' if self.channels > 1 else ''}"
        name = name_of(self)
        if name == "imagenet":
            return f"{channels}, ImageNet's mean and deviation"
        greys = f"greys from {_number(self.low)} to {_number(self.high)}"
        if name is not None:
            return f"{channels}, {greys}" + (f" ({name})" if name != "none" else "")
        mean, std = (_once(each) for each in (self.mean, self.std))
        return f"{channels}, {greys}, less the mean {mean}, over the deviation {std}"


IMAGENET = Scale((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
Name = Literal["imagenet", "torchxrayvision", "none"]
NAMED: Mapping[Name, Scale] = {
    "imagenet": IMAGENET,
    "torchxrayvision": Scale((0.0,), (1.0,), -1024.0, 1024.0),
    "none": Scale((0.0,) * 3, (1.0,) * 3),
}
"""Scales by the name that `model.normalisation` has for them."""


def name_of(scale: Scale) -> Name | None:
    """Return the name in `NAMED` of a scale, whatever its number of channels; None where it has none."""
    return next((name for name, each in NAMED.items() if each.with_channels(scale.channels) == scale), None)


def _mean(values: Sequence[float]) -> float:
    return round(fmean(values), 6)


def _once(values: Sequence[float]) -> str:
    shown = [_number(each) for each in values]
    return shown[0] if len(set(shown)) == 1 else ", ".join(shown)


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "−") if abs(value) < 1000 else f"{value:.0f}".replace("-", "−")
