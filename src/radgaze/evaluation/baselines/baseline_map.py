"""What a baseline map is, and the registered ones in the order in which they are shown."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from radgaze.store.placement import Fit
from radgaze.store.store import Store

Floats = NDArray[np.float64]
Kind = TypeVar("Kind", bound="type[BaselineMap]")


@dataclass(frozen=True)
class Known:
    """What a baseline map may be made of.

    Attributes:
        store: The store.
        fit: How its images fill what the model sees.
        size: Side of that, S.
        mean_gaze: (S, S) the mean gaze map of the training cases, None where none of them has gaze.
        seed: Seed of maps that are random.
    """

    store: Store
    fit: Fit
    size: int
    mean_gaze: Floats | None = None
    seed: int = 0


class BaselineMap(ABC):
    """A map that knows nothing of what the model does with a case: a floor for the maps of models.

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
    def unsupported(cls, known: Known) -> str | None:
        """Why there is no such map for a run; None where there is one."""
        return None

    def __init__(self, known: Known) -> None:
        self.known = known

    @abstractmethod
    def __call__(self, case_ids: Sequence[str]) -> Floats:
        """The maps (B, S, S) of cases."""

    def counts(self, case_ids: Sequence[str]) -> dict[str, int]:
        """Numbers of cases that metrics.json and audit.json hold under these names; see `summary`."""
        return {}

    @classmethod
    def summary(cls, counts: Mapping[str, Any]) -> str:
        """What it is, as an audit's page says it, given the file's part with `counts`."""
        return f"a {cls.title}"

    @classmethod
    def remark(cls, counts: Mapping[str, Any]) -> str:
        """What a run's page adds on its cases, given the file's part with `counts`; may be empty."""
        return ""


REGISTRY: dict[str, type[BaselineMap]] = {}
"""The baseline maps, in the order in which they are shown."""


def register(
    name: str, *, title: str, label: str | None = None, blurred: bool = True, evaluated: bool = True
) -> Callable[[Kind], Kind]:
    """Register a class as a baseline map; see `BaselineMap` for the arguments.

    The label is by default the title, marked as that of a floor.
    """

    def decorate(cls: Kind) -> Kind:
        cls.name, cls.title, cls.label = name, title, label or f"{title} (floor)"
        cls.blurred, cls.evaluated = blurred, evaluated
        REGISTRY[name] = cls
        return cls

    return decorate


def evaluated() -> dict[str, type[BaselineMap]]:
    """Those that `evaluate` scores."""
    return {name: kind for name, kind in REGISTRY.items() if kind.evaluated}


def made(known: Known, *, evaluated_alone: bool = False) -> dict[str, BaselineMap]:
    """Each baseline map that there is for a run, by name.

    Args:
        known: What they may be made of.
        evaluated_alone: Whether to leave out those that `evaluate` does not score.
    """
    kinds = evaluated() if evaluated_alone else REGISTRY
    return {name: kind(known) for name, kind in kinds.items() if kind.unsupported(known) is None}
