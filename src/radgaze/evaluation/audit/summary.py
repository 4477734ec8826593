"""Second step of an audit: estimates with intervals, and verdicts against the baseline maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from radgaze.evaluation import baselines
from radgaze.evaluation.audit.aspects import ASPECTS, Aspect
from radgaze.evaluation.audit.aspects.aspect import AcrossCases, keyed, metric_and_subject
from radgaze.evaluation.audit.aspects.audited_maps import Floats
from radgaze.evaluation.audit.cache import SCHEMA, MethodMeasurements
from radgaze.evaluation.audit.ceilings import CEILINGS
from radgaze.evaluation.audit.files import Audit
from radgaze.evaluation.audit.measuring import AuditMeasurements
from radgaze.evaluation.audit.options import AuditOptions
from radgaze.evaluation.audit.results import (
    AuditEstimate,
    AuditResults,
    AuditSettings,
    BaselineComparison,
    MethodResults,
)
from radgaze.evaluation.audit.sampling import Sample
from radgaze.evaluation.metrics.metric import Metric
from radgaze.evaluation.statistics.case_means import Mean, means
from radgaze.evaluation.statistics.decision import Difference, against_all, verdict
from radgaze.evaluation.statistics.policy import bootstrap
from radgaze.evaluation.statistics.resampling import PatientBootstrap
from radgaze.runs.run import Run
from radgaze.version import __version__

MethodMetric = tuple[str, str]
"""Names of a method and a metric."""
Key = TypeVar("Key")


def summarise(run: Run, measurements: AuditMeasurements, options: AuditOptions) -> Audit:
    """Estimate every figure with its interval, and compare the methods with the baseline maps.

    Args:
        run: The run.
        measurements: The measurements, from `measure`.
        options: Options of the audit.
    """
    sample = measurements.sample
    figures = _all_figures(measurements.methods)
    methods = summarise_methods(measurements.methods, sample, options)
    results = AuditResults(
        experiment=run.experiment,
        classes=tuple(run.classes),
        software=__version__,
        selection=run.config.selection,
        settings=AuditSettings(
            split=options.split,
            resamples=options.resamples,
            passes=options.passes or None,
            constants={name: value for aspect in ASPECTS.values() for name, value in aspect.settings.items()},
            size=run.config.input.size,
            target="predicted",
            baseline_counts=measurements.baseline_counts,
            device=measurements.device,
            steps=options.steps,
            subsets=options.subsets,
            share=options.share,
            stages=options.stages,
            noise=options.noise,
            draws=options.draws,
            shift=options.shift,
            seed=options.seed,
        ),
        recipes=measurements.recipes,
        cases=sample.cases.height,
        patients=sample.patients,
        probed=len(sample.probed),
        thresholds={name: value for aspect in ASPECTS.values() for name, value in aspect.thresholds.items()},
        methods=methods,
        unmeasured=_unmeasured(measurements) or None,
    )
    return Audit(results, _table(methods), figures)


def summarise_methods(
    measured: Sequence[MethodMeasurements],
    sample: Sample,
    options: AuditOptions,
) -> dict[str, MethodResults]:
    """Summarise the measurements of methods, baseline maps and ceilings, by their names.

    Args:
        measured: The measurements.
        sample: The cases.
        options: Options of the audit.
    """
    samples = _by_aspect(_all_figures(measured), sample, options)
    estimates = {name: aspect_figures.estimates(ASPECTS[name]) for name, aspect_figures in samples.items()}
    methods = {}
    for each in measured:
        figures: dict[str, dict[str, AuditEstimate]] = {}
        for name, of_aspect in estimates.items():
            of_method = {metric: one for (method, metric), one in of_aspect.items() if method == each.method}
            if of_method:
                figures[name] = of_method
        if not figures:
            continue
        for name, values in each.overall.items():
            overall = {
                metric: AuditEstimate(value, n=sample.cases.height, patients=sample.patients)
                for metric, value in values.items()
            }
            figures[name] = figures.get(name, {}) | overall
        if each.method in (*baselines.REGISTRY, *CEILINGS):
            methods[each.method] = MethodResults(figures)
            continue
        comparisons = {
            name: comparison
            for name, aspect_figures in samples.items()
            if (comparison := aspect_figures.against_baselines(ASPECTS[name], each.method)) is not None
        }
        details = {
            name: summary
            for name, aspect in ASPECTS.items()
            if (summary := aspect.summarise(figures.get(name, {}), each.details.get(name))) is not None
        }
        methods[each.method] = MethodResults(figures, comparisons, details)
    return methods


def _unmeasured(measurements: AuditMeasurements) -> dict[str, str]:
    """Reason why an aspect was measured on no method, by the aspect's name."""
    reasons = [each.unsupported for each in measurements.methods if each.method in measurements.recipes]
    return {
        name: reasons[0][name]
        for name in ASPECTS
        if reasons and all(name in of_method for of_method in reasons)
    }


def _all_figures(measured: Sequence[MethodMeasurements]) -> pl.DataFrame:
    return pl.concat([pl.DataFrame(schema=SCHEMA), *(each.figures for each in measured)])


@dataclass(frozen=True)
class AspectFigures:
    """Figures of one aspect on the same cases, with the resamples that every mean and difference uses.

    Attributes:
        cases: Cases on which some figure of the aspect is defined.
        values: Figures of shape (n,) by method and metric, NaN where undefined.
        resamples: Resamples of the cases.
    """

    cases: pl.DataFrame
    values: Mapping[MethodMetric, Floats]
    resamples: PatientBootstrap

    def estimates(self, aspect: Aspect) -> dict[MethodMetric, AuditEstimate]:
        """Return the mean of each figure, and the figures that are no means (`Aspect.across_cases`)."""
        by_name = {
            (method, name): AuditEstimate(
                **vars(mean.summary(aspect.metrics[metric_and_subject(name)[0]].bounds)),
                n=int(np.isfinite(self.values[method, name]).sum()),
                patients=mean.patients,
            )
            for (method, name), mean in self._means(self.values).items()
        }
        for method in dict.fromkeys(method for method, _ in self.values):
            for subject, values in self._by_subject(method).items():
                for metric, each in aspect.across_cases(values, self._patients, self.resamples).items():
                    by_name[method, keyed(metric, subject)] = self._across(aspect.metrics[metric], each)
        return by_name

    def against_baselines(self, aspect: Aspect, method: str) -> BaselineComparison | None:
        """Compare a method with each baseline map, on the cases on which both are defined.

        Returns:
            The comparison; None where the aspect is not measured on baseline maps, or not on the method.
        """
        metric = aspect.headline
        if not aspect.of_baselines:
            return None
        sign = 1.0 if aspect.metrics[metric].higher_is_better else -1.0
        names = [
            name for map_, name in self.values if map_ == method and metric_and_subject(name)[0] == metric
        ]
        gained = {
            keyed(floor, metric_and_subject(name)[1]): sign * (self.values[method, name] - floors)
            for name in names
            for floor in baselines.REGISTRY
            if (floors := self.values.get((floor, name))) is not None
        }
        if names:
            bounds = aspect.metrics[metric].bounds
            differences = {name: mean.paired_difference(bounds) for name, mean in self._means(gained).items()}
        elif not (differences := self._differences(aspect, method)):
            return None
        return BaselineComparison(
            metric,
            differences,
            against_all(map(verdict, differences.values())),
            min((each.lacking for each in differences.values() if each.lacking), default=""),
        )

    def _differences(self, aspect: Aspect, method: str) -> dict[str, Difference]:
        """Differences of a headline that is no mean, higher better, by `keyed` name of the baseline map."""
        differences = {}
        for subject, of_method in self._by_subject(method).items():
            for floor in baselines.REGISTRY:
                of_floor = self._by_subject(floor).get(subject)
                if of_floor is None:
                    continue
                sides = [
                    aspect.across_cases(_where_both(one, other), self._patients, self.resamples)
                    for one, other in ((of_method, of_floor), (of_floor, of_method))
                ]
                one, other = (side.get(aspect.headline) for side in sides)
                if one and other and one.estimate and other.estimate:
                    gained = (one.estimate - other.estimate).summary()
                    patients = len(np.unique(self._patients[one.cases]))
                    differences[keyed(floor, subject)] = Difference(**vars(gained), patients=patients)
        return differences

    def _across(self, metric: Metric, figure: AcrossCases) -> AuditEstimate:
        n, patients = int(figure.cases.sum()), len(np.unique(self._patients[figure.cases]))
        if figure.estimate is None:
            return AuditEstimate(None, n=n, patients=patients, undefined=figure.undefined)
        return AuditEstimate(**vars(figure.estimate.summary(metric.bounds)), n=n, patients=patients)

    def _by_subject(self, method: str) -> dict[str, dict[str, Floats]]:
        """Figures of a method by subject and metric, see `keyed`."""
        by_subject: dict[str, dict[str, Floats]] = {}
        for (map_, name), values in self.values.items():
            if map_ == method:
                metric, subject = metric_and_subject(name)
                by_subject.setdefault(subject, {})[metric] = values
        return by_subject

    @property
    def _patients(self) -> NDArray[np.int64]:
        return self.cases["patient"].cast(pl.Int64).to_numpy()

    def _means(self, values: Mapping[Key, Floats]) -> dict[Key, Mean]:
        return means(values, self._patients, self.resamples)


def _where_both(values: Mapping[str, Floats], other: Mapping[str, Floats]) -> dict[str, Floats]:
    """Figures by metric, without the cases in which they are undefined for another map."""
    return {
        metric: np.where(np.isfinite(other[metric]), figure, np.nan)
        for metric, figure in values.items()
        if metric in other
    }


def _by_aspect(figures: pl.DataFrame, sample: Sample, options: AuditOptions) -> dict[str, AspectFigures]:
    """Figures by aspect; its methods share cases and resamples, so that differences are paired."""
    by_aspect: dict[str, AspectFigures] = {}
    for aspect in ASPECTS:
        defined = figures.filter((pl.col("aspect") == aspect) & pl.col("value").is_not_null())
        cases = sample.cases.join(defined, on="case_id", how="semi", maintain_order="left")
        if cases.is_empty():
            continue
        values: dict[MethodMetric, Floats] = {}
        for (method, metric), rows in defined.group_by("method", "metric", maintain_order=True):
            aligned = cases.select("case_id").join(rows, on="case_id", how="left", maintain_order="left")
            values[str(method), str(metric)] = aligned["value"].cast(pl.Float64).to_numpy()
        resamples = bootstrap(cases, resamples=options.resamples, seed=options.seed)
        by_aspect[aspect] = AspectFigures(cases, values, resamples)
    return by_aspect


def _table(methods: Mapping[str, MethodResults]) -> pl.DataFrame:
    columns = {
        column: (name, kind) for name, aspect in ASPECTS.items() for column, kind in aspect.columns.items()
    }
    rows = [
        {
            "method": name,
            "aspect": aspect,
            "metric": metric,
            "value": entry.value,
            "low": entry.low,
            "high": entry.high,
            "n": entry.n,
            **{
                column: getattr(method.details.get(owner), column, None)
                for column, (owner, _) in columns.items()
            },
        }
        for name, method in methods.items()
        for aspect, figures in method.figures.items()
        for metric, entry in figures.items()
    ]
    text = dict.fromkeys(("method", "aspect", "metric"), pl.String)
    numbers = dict.fromkeys(("value", "low", "high"), pl.Float64)
    schema: dict[str, type[pl.DataType]] = {**text, **numbers, "n": pl.Int64}
    return pl.DataFrame(rows, schema={**schema, **{name: kind for name, (_, kind) in columns.items()}})
