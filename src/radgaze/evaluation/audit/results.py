"""Results of an audit, the content of audit.json."""

from __future__ import annotations

from dataclasses import dataclass, field

from radgaze.evaluation.audit.options import Split
from radgaze.evaluation.interval_estimate import IntervalEstimate
from radgaze.evaluation.statistics.decision import Difference, Verdict
from radgaze.records import Record, optional


@dataclass(frozen=True)
class AuditEstimate(IntervalEstimate):
    """A figure of an audit and its 95% interval.

    Attributes:
        n: Number of cases on which it is defined.
        patients: Number of their patients; None in files of earlier versions.
        undefined: Reason why it is undefined, where one is known.
    """

    n: int = 0
    patients: int | None = None
    undefined: str | None = optional()


@dataclass(frozen=True)
class BaselineComparison:
    """Comparison of a method with all baseline maps, in one aspect.

    Attributes:
        metric: The metric compared, the headline of the aspect.
        differences: Difference to each baseline map, by the map's name; of an aspect with subjects, by the
            name and the subject, see `aspects.aspect.keyed`.
        verdict: Verdict against all baseline maps, see `against_all`; None where it is undefined.
        lacking: Reason why there is no verdict; empty where there is one.
    """

    metric: str
    differences: dict[str, Difference]
    verdict: Verdict | None
    lacking: str = ""


@dataclass(frozen=True)
class MethodResults:
    """Results of a method, a baseline map or a ceiling.

    Attributes:
        figures: Figures by aspect and metric; of an aspect with subjects by metric and subject, see
            `aspects.aspect.keyed`.
        against_floors: Comparison with the baseline maps by aspect, for methods only.
        details: Further results of the aspects, by the aspect's name, of the type `Aspect.details`. In the
            file their fields stand beside `figures`.
    """

    figures: dict[str, dict[str, AuditEstimate]]
    against_floors: dict[str, BaselineComparison] | None = optional()
    details: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """Generator of a method's maps, with its options.

    Attributes:
        generator: Name of the generator.
        options: Options of the generator.
    """

    generator: str
    options: dict[str, object]


@dataclass(frozen=True)
class AuditSettings:
    """The settings that the figures depend on; see `AuditOptions` for those not described here.

    Attributes:
        passes: Maximum number of forward passes for one map; None for the number of each method's preset.
        constants: Constants of the aspects (`Aspect.settings`). The file holds them beside the other
            settings.
        size: Side of the model's input, in pixels.
        target: Class of the maps.
        baseline_counts: Numbers of cases that the baseline maps count (`BaselineMap.counts`). The file holds
            them beside the other settings.
        device: Device of the model.
    """

    split: Split
    resamples: int
    passes: int | None
    constants: dict[str, float]
    size: int
    target: str
    baseline_counts: dict[str, int]
    device: str
    steps: int
    subsets: int
    share: float
    stages: int
    noise: float
    draws: int
    shift: float
    seed: int


@dataclass(frozen=True)
class AuditResults(Record):
    """The content of audit.json.

    Attributes:
        experiment: Name of the experiment.
        classes: Names of the classes.
        software: Version of radgaze.
        selection: Split that selected the epoch, "validate" or "test".
        settings: Settings of the audit.
        recipes: Generator and options of each method, by its name.
        cases: Number of cases.
        patients: Number of their patients.
        probed: Number of probed cases.
        thresholds: Constants of the aspects by which figures are judged (`Aspect.thresholds`). The file holds
            them beside the other fields.
        methods: Results by name: methods, then baseline maps and ceilings, in the order of their measurement.
        unmeasured: Reason why an aspect was measured on no method, by the aspect's name.
    """

    experiment: str
    classes: tuple[str, ...]
    software: str
    selection: str
    settings: AuditSettings
    recipes: dict[str, Recipe]
    cases: int
    patients: int
    probed: int
    thresholds: dict[str, float]
    methods: dict[str, MethodResults]
    unmeasured: dict[str, str] | None = optional()

    def audited(self) -> dict[str, MethodResults]:
        """Return the results of methods only, without baseline maps and ceilings."""
        return {name: method for name, method in self.methods.items() if method.against_floors is not None}
