"""What an aspect of the audit is, and the registered ones in the order in which they are shown."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from radgaze.evaluation.audit.aspects.subject import Figures, Subject
from radgaze.evaluation.metrics.metric import Metric
from radgaze.words import listed

VERDICTS = {
    "better": "better than every floor",
    "even": "no different from the best floor",
    "worse": "worse than a floor",
    "few": "no verdict",
    None: "–",
}


@dataclass(frozen=True)
class Measured:
    """What an aspect found of a method or a baseline map.

    Attributes:
        figures: Ids of cases, and their figures (B,) by metric, lot by lot.
        alone: Figures that belong to no single case, by metric.
        detail: What else is kept, as JSON holds it, see `Aspect.entry`.
    """

    figures: Sequence[tuple[Sequence[str], Figures]] = ()
    alone: Mapping[str, float] = field(default_factory=dict)
    detail: Any = None


@dataclass(frozen=True)
class Panel:
    """How an aspect's headline is drawn in the overview.

    Attributes:
        title: Of the panel, where `{metric}` stands for the headline's title.
        times: Whether the headline is a factor, drawn on a logarithmic axis.
        shaded: From where on (a key of audit.json), to where, and why the panel is shaded in red.
    """

    title: str
    times: bool = False
    shaded: tuple[str, float, str] | None = None


@dataclass(frozen=True)
class Curve:
    """A line of an aspect's own figure.

    Attributes:
        label: In the legend.
        x, y: Its points, y None where undefined.
        colour: Place in the palette.
        marker, line, size: Mark, style of the line between marks ("none" for none), and size of a mark.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float | None]
    colour: int
    marker: str
    line: str
    size: float


class Course(ABC):
    """A figure of an aspect's own, NAME.png: a panel for each method.

    Attributes:
        alternative: What the picture shows, for those who cannot see it.
        caption: What stands below it.
        x_title, y_title: Of the axes.
        y_limits: Of the axes.
        threshold: Key of audit.json whose value is drawn as a dotted line, None for no line.
        points_title: What the ticks are.
    """

    alternative: ClassVar[str]
    caption: ClassVar[str]
    x_title: ClassVar[str]
    y_title: ClassVar[str]
    y_limits: ClassVar[tuple[float, float]]
    threshold: ClassVar[str | None] = None
    points_title: ClassVar[str]

    @abstractmethod
    def curves(self, method: Mapping[str, Any]) -> list[Curve]:
        """The lines of a method, given its part of audit.json."""

    @abstractmethod
    def points(self, method: Mapping[str, Any]) -> list[str]:
        """What each tick from 1 on stands for."""


class Aspect(ABC):
    """An aspect of the audit: a question about maps, and the metrics that answer it.

    Attributes:
        name: Name in files and tables.
        question: What it asks of a map.
        metrics: What it measures, by name.
        headline: The metric that stands for it, in verdicts and in the overview.
        panel: How the overview draws that.
        of_baselines: Whether baseline maps are measured too; methods then get a verdict against them.
        probed: Whether it is measured on the probed cases alone.
        blurs: Whether it looks at maps that are blurred as far as the gaze map.
        done: What a method does that is good at it, as in "points into the boxes"; where it has a verdict
            against the baseline maps.
        column: Heading of its verdicts in the table of verdicts; None where it has none.
        judged: Whether its own table holds its verdicts too.
        per_case: Whether its figures are means over cases.
        settings: Constants that audit.json holds among the settings.
        thresholds: Constants that audit.json holds beside them.
        limits: What its numbers do not say.
        course: A figure of its own.
    """

    name: ClassVar[str]
    question: ClassVar[str]
    metrics: ClassVar[Mapping[str, Metric]]
    headline: ClassVar[str]
    panel: ClassVar[Panel]
    of_baselines: ClassVar[bool] = False
    probed: ClassVar[bool] = False
    blurs: ClassVar[bool] = False
    done: ClassVar[str] = ""
    column: ClassVar[str | None] = None
    judged: ClassVar[bool] = False
    per_case: ClassVar[bool] = True
    settings: ClassVar[Mapping[str, float]] = {}
    thresholds: ClassVar[Mapping[str, float]] = {}
    limits: ClassVar[tuple[str, ...]] = ()
    course: ClassVar[Course | None] = None

    @property
    def title(self) -> str:
        """Its name as a heading."""
        return self.name.capitalize()

    def unsupported(self, subject: Subject) -> str | None:
        """Why it cannot be measured; None where it can."""
        if subject.method is None and not self.of_baselines:
            return "it is measured of methods alone"
        return None

    @abstractmethod
    def measure(self, subject: Subject) -> Measured:
        """The figures of a method, or of a baseline map where `of_baselines`."""

    def entry(self, figures: Mapping[str, Any], detail: Any) -> dict[str, Any]:
        """What a method's part of audit.json holds besides, given its figures and `Measured.detail`."""
        return {}

    def verdict(self, method: Mapping[str, Any]) -> str:
        """What is said of a method in `column`, given its part of audit.json."""
        of = method["against_floors"].get(self.name)
        return "–" if of is None else of.get("lacking") or VERDICTS[of["verdict"]]

    def criterion(self, summary: Mapping[str, Any]) -> str:
        """How `verdict` is reached, where that is not against the baseline maps."""
        return ""

    def findings(self, methods: Mapping[str, Any]) -> list[str]:
        """What the verdicts on all methods amount to, in sentences."""
        against = {
            name: found["against_floors"][self.name]
            for name, found in methods.items()
            if self.name in found["against_floors"]
        }
        if not against:
            return []
        words, verdicts = f"{self.done} better than every floor", [of["verdict"] for of in against.values()]
        if set(verdicts) == {"few"}:
            why = min((of["lacking"] for of in against.values() if of.get("lacking")), default="")
            return [f"Whether a method {words} cannot be said: {why or 'too little evidence'}."]
        good = [name for name, of in against.items() if of["verdict"] == "better"]
        title = self.metrics[self.headline].title
        if not good:
            return [f"No method {words} ({title})."]
        if len(good) == 1:
            return [f"{good[0]} {words} ({title})."]
        many = "All" if len(good) == len(against) else len(good)
        verb, _, rest = words.partition(" ")  # points into, point into
        return [
            f"{many} of {len(against)} methods, {listed(good)}, {verb.removesuffix('s')} {rest} ({title})."
        ]

    def how(self, settings: Mapping[str, Any]) -> str:
        """How its numbers came about, setting by setting; empty where nothing is to be said."""
        return ""


ASPECTS: dict[str, Aspect] = {}
"""The aspects, in the order in which they are shown."""

Kind = TypeVar("Kind", bound=type[Aspect])


def register(kind: Kind) -> Kind:
    """Register a class as an aspect under its name."""
    ASPECTS[kind.name] = kind()
    return kind
