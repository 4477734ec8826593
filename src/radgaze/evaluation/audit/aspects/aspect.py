"""Base class of the aspects of an audit, and their registry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from radgaze.evaluation.audit.aspects.audited_maps import AuditedMaps, Figures, Floats
from radgaze.evaluation.audit.results import AuditEstimate, AuditResults, AuditSettings, MethodResults
from radgaze.evaluation.metrics.metric import Metric
from radgaze.evaluation.statistics.resampling import Estimate, PatientBootstrap
from radgaze.words import listed

VERDICTS = {
    "better": "better than every floor",
    "even": "not distinguishable from a floor",
    "worse": "worse than a floor",
    "few": "no verdict",
    None: "–",
}


def keyed(metric: str, subject: str) -> str:
    """Name a figure of one subject of an aspect, such as a confounder; "" for an aspect without subjects."""
    return f"{metric}:{subject}" if subject else metric


def metric_and_subject(name: str) -> tuple[str, str]:
    """Split the name of a figure, see `keyed`, into metric and subject."""
    metric, _, subject = name.partition(":")
    return metric, subject


@dataclass(frozen=True)
class Measurement:
    """Values that an aspect measures on a method or a baseline map.

    Attributes:
        figures: For each batch the case ids, and figures of shape (B,) by metric, or by `keyed` where the
            aspect has several subjects.
        overall: Figures that belong to no single case, by metric.
        detail: Further values for `Aspect.summarise`: a record (`radgaze.records`) or plain values.
    """

    figures: Sequence[tuple[Sequence[str], Figures]] = ()
    overall: Mapping[str, float] = field(default_factory=dict)
    detail: object = None


@dataclass(frozen=True)
class AcrossCases:
    """A figure of all cases together that is no mean over them.

    Attributes:
        estimate: The figure; None where it is undefined.
        cases: Whether a case counts, of shape (n,).
        undefined: Reason why the figure is undefined; empty where it is not.
    """

    estimate: Estimate | None
    cases: NDArray[np.bool_]
    undefined: str = ""


@dataclass(frozen=True)
class Shading:
    """A range of a panel that is shaded in red.

    Attributes:
        threshold: Name of the threshold (`Aspect.thresholds`) at which it starts.
        end: Value at which it ends.
        words: Label of the range.
    """

    threshold: str
    end: float
    words: str


@dataclass(frozen=True)
class Panel:
    """Panel of the overview figure for an aspect's headline metric.

    Attributes:
        title: Title, in which `{metric}` stands for the title of the headline metric.
        is_factor: Whether the metric is a factor, which is shown on a logarithmic axis.
        shading: A shaded range; None for none.
    """

    title: str
    is_factor: bool = False
    shading: Shading | None = None


@dataclass(frozen=True)
class Curve:
    """A curve of an `AspectFigure`.

    Attributes:
        label: Label in the legend.
        x: Abscissae.
        y: Ordinates, None where undefined.
        colour: Index in the palette.
        marker: Marker of a point.
        line: Style of the line between points, "none" for no line.
        size: Size of a marker.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float | None]
    colour: int
    marker: str
    line: str
    size: float


class AspectFigure(ABC):
    """An additional figure of an aspect, stored as NAME.png, with a panel for each method.

    Attributes:
        alternative: Text in place of the picture.
        caption: Caption.
        x_title: Title of the x axis.
        y_title: Title of the y axis.
        y_limits: Limits of the y axis.
        threshold: Name of the threshold (`Aspect.thresholds`) that is drawn as a dotted line, or None.
        ticks_title: Title of the list of ticks.
    """

    alternative: ClassVar[str]
    caption: ClassVar[str]
    x_title: ClassVar[str]
    y_title: ClassVar[str]
    y_limits: ClassVar[tuple[float, float]]
    threshold: ClassVar[str | None] = None
    ticks_title: ClassVar[str]

    @abstractmethod
    def curves(self, method: MethodResults) -> list[Curve]:
        """Return the curves of a method."""

    @abstractmethod
    def ticks(self, method: MethodResults) -> list[str]:
        """Return the description of each tick, from tick 1 on."""


class Aspect(ABC):
    """An aspect of the audit: a question about maps, and the metrics that answer it.

    Attributes:
        name: Name in files and tables.
        question: The question.
        metrics: The metrics, by name.
        headline: Name of the headline metric, which verdicts and the overview figure use.
        panel: Panel of the headline metric in the overview figure.
        of_baselines: Whether it is measured on baseline maps too; methods then get a verdict against them.
        probed: Whether it is measured on the probed cases only.
        blurs: Whether maps are blurred by the Gaussian of the gaze map before they are compared.
        done: Predicate of a good method, as in "points into the boxes", for sentences on verdicts against the
            baseline maps.
        column: Heading of the verdicts in the table of verdicts; None where it has none.
        judged: Whether the table of the aspect also holds the verdicts.
        per_case: Whether the figures are means over cases.
        settings: Constants that audit.json holds among the settings.
        thresholds: Constants that audit.json holds at its top level.
        limits: Sentences on the limits of what the numbers show.
        figure: An additional figure of the aspect; None for none.
        details: Frozen dataclass that `summarise` returns; None where it returns nothing.
        columns: Fields of `details` that audit.csv holds, with their types.
        digits: Decimals of the figures in tables.
        same_for_all: Metrics that do not depend on the map; they stand beside the table, not in it.
        flag: Predicate of a method that `flags` marks, as in "does not change with the weights".
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
    figure: ClassVar[AspectFigure | None] = None
    details: ClassVar[type | None] = None
    columns: ClassVar[Mapping[str, type[pl.DataType]]] = {}
    flag: ClassVar[str] = ""
    digits: ClassVar[int] = 2
    same_for_all: ClassVar[tuple[str, ...]] = ()

    @property
    def title(self) -> str:
        """The name as a heading."""
        return self.name.capitalize()

    def unsupported(self, audited: AuditedMaps) -> str | None:
        """Return why the aspect cannot be measured on some maps; None where it can."""
        if audited.method is None and not self.of_baselines:
            return "it is measured on methods only"
        return None

    @abstractmethod
    def measure(self, audited: AuditedMaps) -> Measurement:
        """Measure a method, or a baseline map where `of_baselines`."""

    def across_cases(
        self, values: Mapping[str, Floats], patients: NDArray[np.int64], resampling: PatientBootstrap
    ) -> Mapping[str, AcrossCases]:
        """Estimate the metrics that are no means over cases, of one map and one subject.

        Args:
            values: The measured figures by metric, each of shape (n,), NaN where undefined.
            patients: Patient of each case, of shape (n,).
            resampling: Resampling of the cases.
        """
        return {}

    def summarise(self, figures: Mapping[str, AuditEstimate], detail: object) -> object:
        """Return the further results of a method, of the type `details`; None for none.

        Args:
            figures: The method's figures by metric.
            detail: `Measurement.detail`.
        """
        return None

    def read_detail(self, content: object) -> object:
        """Restore a `Measurement.detail` from its JSON values.

        Raises:
            ValueError: It is not what `measure` returns.
        """
        return content

    def flags(self, method: MethodResults) -> bool:
        """Return whether tables and figures mark a method; see `flag`."""
        return False

    def verdict(self, method: MethodResults) -> str:
        """Return the verdict on a method in `column`."""
        comparison = (method.against_floors or {}).get(self.name)
        return "–" if comparison is None else comparison.lacking or VERDICTS[comparison.verdict]

    def criterion(self, results: AuditResults) -> str:
        """Describe the criterion of `verdict`; empty where it is the comparison with the baseline maps."""
        return ""

    def findings(self, methods: Mapping[str, MethodResults]) -> list[str]:
        """Summarise the verdicts on all methods in sentences."""
        comparisons = {
            name: comparison
            for name, method in methods.items()
            if (comparison := (method.against_floors or {}).get(self.name)) is not None
        }
        if not comparisons:
            return []
        success = f"{self.done} better than every floor"
        if {comparison.verdict for comparison in comparisons.values()} == {"few"}:
            reasons = [comparison.lacking for comparison in comparisons.values() if comparison.lacking]
            reason = min(reasons, default="too little evidence")
            return [f"Whether a method {success} cannot be said: {reason}."]
        good = [name for name, comparison in comparisons.items() if comparison.verdict == "better"]
        title = self.metrics[self.headline].title
        if not good:
            return [f"No method {success} ({title})."]
        if len(good) == 1:
            return [f"{good[0]} {success} ({title})."]
        many = "All" if len(good) == len(comparisons) else len(good)
        verb, _, rest = success.partition(" ")  # points into, point into
        return [
            f"{many} of {len(comparisons)} methods, {listed(good)}, {verb.removesuffix('s')} {rest} "
            f"({title})."
        ]

    def notes(self, methods: Mapping[str, MethodResults]) -> list[str]:
        """Return sentences that stand below the table of the aspect.

        Args:
            methods: Results of all methods.
        """
        return []

    def how(self, settings: AuditSettings) -> str:
        """Describe the measurement with its settings; empty for no description."""
        return ""


ASPECTS: dict[str, Aspect] = {}
"""The aspects, in the order in which they are shown."""

Kind = TypeVar("Kind", bound=type[Aspect])


def register(kind: Kind) -> Kind:
    """Register a class as an aspect under its name."""
    ASPECTS[kind.name] = kind()
    return kind
