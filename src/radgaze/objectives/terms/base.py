"""The base class of terms of the loss, and their registry."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from typing import ClassVar, TypeVar

from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from radgaze.objectives.config import PARTS, Map, ObjectiveConfig, TermConfig
from radgaze.objectives.step import Step
from radgaze.options import FieldError, Options, check_choice

REGISTRY: dict[str, type[Term]] = {}

Kind = TypeVar("Kind", bound="type[Term]")


@dataclass(frozen=True)
class Term(Options):
    """A term of the loss; its fields are the options of its kind."""

    kind: ClassVar[str] = ""
    runs_again: ClassVar[bool] = False
    """Whether it runs the model a second time."""

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the maps that it uses: of the triangle, or of further heatmaps.

        Where maps that not every case has are among them (`config.GIVEN`), the loss has the mean over the
        cases that have them all.
        """
        return ()

    @property
    def summary(self) -> str:
        """Description of a run with this term, as the end of a sentence."""
        raise NotImplementedError

    def values(self, step: Step) -> Tensor:
        """Compute the term of each case, (B,); the loss has their mean, see `maps`.

        Raises:
            MissingError: A map or an output that it needs is missing.
        """
        raise NotImplementedError


def register(kind: str) -> Callable[[Kind], Kind]:
    """Register a class of terms under the name of its kind."""

    def decorate(cls: Kind) -> Kind:
        cls.kind = kind
        REGISTRY[kind] = cls
        return cls

    return decorate


def create(name: str, config: TermConfig, maps: Collection[str]) -> Term:
    """Create the term that a configuration describes.

    Args:
        name: Name of the term's section, for messages.
        config: Settings of the term.
        maps: Names of the available maps.

    Raises:
        FieldError: There is no such kind, option or map, or an option has a value that is not allowed.
    """
    check_choice(f"{name}.kind", config.kind, REGISTRY)
    cls = REGISTRY[config.kind]
    names = [each.name for each in fields(cls)]
    for option in config.options:
        if option not in names:
            raise FieldError(f"{name}.options", f"has no {option!r}; {config.kind} has {', '.join(names)}")
    try:
        term = TypeAdapter(cls).validate_python(dict(config.options))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join((f"{name}.options", *map(str, first["loc"])))
        raise FieldError(place, f"cannot be used: {first['msg']}") from None
    except FieldError as error:
        raise error.inside(f"{name}.options") from None
    if {Map.GAZE, Map.BOXES} <= set(term.maps):
        raise FieldError(f"{name}.options", "names both gaze and boxes; a term can have one of them")
    for used in term.maps:
        if used not in maps:
            raise FieldError(f"{name}.options", f"names the map {used!r}; there are {', '.join(maps)}")
    return term


def further(config: ObjectiveConfig) -> dict[str, Term]:
    """Create the further terms of an objective that have weight, by name.

    Raises:
        FieldError: A term has no such kind, option or map.
    """
    maps = (*Map, *config.heatmaps)
    return {name: create(f"terms.{name}", term, maps) for name, term in config.terms.items() if term.weight}


def compares(config: ObjectiveConfig, name: str) -> bool:
    """Whether an edge or a further term with weight uses a map: of the triangle, or a further heatmap.

    Raises:
        FieldError: A term has no such kind, option or map.
    """
    return any(name in edge.ends for edge in config.edges) or any(
        name in term.maps for term in further(config).values()
    )


def needs_boxes(term: Term) -> bool:
    """Whether a term takes only the cases with boxes or regions into account."""
    return Map.BOXES in term.maps


def needs_parts(term: Term) -> bool:
    """Whether a term takes only the cases with some part of the image into account."""
    return any(part in term.maps for part in PARTS)
