"""Base class of baseline maps, and their registry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from radgaze.store.placement import Fit
from radgaze.store.store import Store

Floats = NDArray[np.float64]
Kind = TypeVar("Kind", bound="type[BaselineMap]")


@dataclass(frozen=True)
class BaselineInputs:
    """Data from which a baseline map may be made.

    Attributes:
        store: The store.
        fit: Placement of its images in the model's input, "stretch" or "pad".
        size: Side S of the model's input, in pixels.
        mean_gaze: Mean gaze map of the training cases, of shape (S, S); None where no training case has gaze.
        seed: Seed of random maps.
    """

    store: Store
    fit: Fit
    size: int
    mean_gaze: Floats | None = None
    seed: int = 0


class BaselineMap(ABC):
    """A map that is made without the model: a lower reference for the maps of models.

    Attributes:
        name: Name in tables and files.
        title: Name in a sentence and in a figure's legend.
        label: Name of its rows in tables.
        blurred: Whether it is blurred by the Gaussian of each case's gaze map before it is scored.
        evaluated: Whether `evaluate` scores it; an audit scores every baseline map.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    label: ClassVar[str]
    blurred: ClassVar[bool]
    evaluated: ClassVar[bool]

    @classmethod
    def unsupported(cls, inputs: BaselineInputs) -> str | None:
        """Return why a run has no such map; None where it has one."""
        return None

    def __init__(self, inputs: BaselineInputs) -> None:
        self.inputs = inputs

    @abstractmethod
    def __call__(self, case_ids: Sequence[str]) -> Floats:
        """Return the maps of cases, of shape (B, S, S)."""

    def counts(self, case_ids: Sequence[str]) -> dict[str, int]:
        """Return numbers that `summary` and `remark` state, by their names in result files.

        Args:
            case_ids: Ids of the evaluated cases.
        """
        return {}

    @classmethod
    def summary(cls, counts: Mapping[str, int]) -> str:
        """Describe the map for an audit's page.

        Args:
            counts: The `counts` of all baseline maps.
        """
        return f"a {cls.title}"

    @classmethod
    def remark(cls, counts: Mapping[str, int]) -> str:
        """Return a remark on its cases for the page of a run; may be empty.

        Args:
            counts: The `counts` of all baseline maps.
        """
        return ""


REGISTRY: dict[str, type[BaselineMap]] = {}
"""The baseline maps by name, in the order in which they are shown."""


def register(
    name: str, *, title: str, label: str | None = None, blurred: bool = True, evaluated: bool = True
) -> Callable[[Kind], Kind]:
    """Register a class as a baseline map; see `BaselineMap` for the arguments.

    By default the label is the title, marked as a floor.
    """

    def decorate(cls: Kind) -> Kind:
        cls.name, cls.title, cls.label = name, title, label or f"{title} (floor)"
        cls.blurred, cls.evaluated = blurred, evaluated
        REGISTRY[name] = cls
        return cls

    return decorate


def evaluated() -> dict[str, type[BaselineMap]]:
    """Return the baseline maps that `evaluate` scores."""
    return {name: kind for name, kind in REGISTRY.items() if kind.evaluated}


def create(
    inputs: BaselineInputs, kinds: Mapping[str, type[BaselineMap]] = REGISTRY
) -> dict[str, BaselineMap]:
    """Create the baseline maps that a run supports, by name.

    Args:
        inputs: Data that they are made from.
        kinds: Classes of the maps, by name.
    """
    return {name: kind(inputs) for name, kind in kinds.items() if kind.unsupported(inputs) is None}
