"""Base class of the sections of a run's page, and their registry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, TypeVar

import polars as pl
from markupsafe import Markup
from matplotlib.figure import Figure

from radgaze.evaluation.results import EvaluationResults
from radgaze.reporting.description import StoreFacts, store_facts
from radgaze.reporting.gallery import Draw, draw_cases
from radgaze.reporting.options import ReportOptions
from radgaze.reporting.page import Picture, figure_picture, fill
from radgaze.reporting.style import save

if TYPE_CHECKING:
    from radgaze.runs.run import Run

Kind = TypeVar("Kind", bound="type[Section]")
MACROS = '{% from "macros.html" import measured, bar, picture, case_row, legend with context %}'


@dataclass(frozen=True)
class EvaluatedRun:
    """A run with the data that its page shows.

    Attributes:
        run: The run.
        results: The content of its metrics.json.
        options: Options of the report.
        draw: Function that makes the maps of cases.
    """

    run: Run
    results: EvaluationResults
    options: ReportOptions = field(default_factory=ReportOptions)
    draw: Draw = draw_cases

    @cached_property
    def predictions(self) -> pl.DataFrame:
        """The predictions: `case_id`, `patient`, `split`, `probability_<class>` and `label_<class>`."""
        return self.run.predictions()

    @cached_property
    def test(self) -> pl.DataFrame:
        """The predictions of the test cases."""
        return self.predictions.filter(pl.col("split") == "test")

    @cached_property
    def store(self) -> StoreFacts:
        """The facts about the run's store."""
        return store_facts(self.run)

    def picture(self, figure: Figure, name: str, alt: str, caption: str = "") -> Picture:
        """Write a figure as RUN/figures/<name>.png, and return it as a picture of the page."""
        return figure_picture(save(figure, self.run.path / "figures" / f"{name}.png"), alt, caption)


class Section(ABC):
    """A section of a run's page.

    Attributes:
        name: Anchor in the page, and name of the template's file, `templates/sections/<name>.html`.
        title: Heading.
        order: Position in the page; sections are in ascending order.
        html: Text of the template, for a section without such a file; it may call the macros of
            `macros.html`.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    order: ClassVar[int]
    html: ClassVar[str | None] = None

    def unsupported(self, evaluated: EvaluatedRun) -> str | None:
        """Return the reason why the section has no content.

        Returns:
            A sentence that is shown in place of the content, or an empty text to leave out the section with
            its heading; None where the section has content.
        """
        return None

    @abstractmethod
    def content(self, evaluated: EvaluatedRun) -> object:
        """Return the data that the template shows, as a dataclass; its name in the template is `content`."""

    def rendered(self, evaluated: EvaluatedRun) -> Markup | None:
        """Fill the template; None where the section is left out."""
        reason = self.unsupported(evaluated)
        if reason is not None:
            return Markup("<p>{}</p>\n").format(reason) if reason else None
        html = None if self.html is None else f"{MACROS}\n{self.html}"
        return fill(f"sections/{self.name}.html", html, content=self.content(evaluated))


_REGISTRY: dict[str, Section] = {}


def register(name: str, *, title: str, order: int) -> Callable[[Kind], Kind]:
    """Register a class as a section; see `Section` for the arguments."""

    def decorate(cls: Kind) -> Kind:
        cls.name, cls.title, cls.order = name, title, order
        _REGISTRY[name] = cls()
        return cls

    return decorate


def sections() -> list[Section]:
    """Return the sections in the order of the page."""
    return sorted(_REGISTRY.values(), key=lambda section: section.order)
