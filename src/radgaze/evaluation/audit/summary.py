"""Second step of an audit: estimates with intervals, and verdicts against the baseline maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import polars as pl

from radgaze import __version__
from radgaze.evaluation import baselines
from radgaze.evaluation.audit.aspects import ASPECTS, Aspect
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
from radgaze.evaluation.statistics.case_means import Mean, means
from radgaze.evaluation.statistics.decision import against_all, verdict
from radgaze.evaluation.statistics.policy import bootstrap
from radgaze.evaluation.statistics.resampling import PatientBootstrap
from radgaze.runs.run import Run

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
    methods = summarise_methods(measurements.methods, sample, run.classes, options)
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
    )
    return Audit(results, _table(methods), figures)


def summarise_methods(
    measured: Sequence[MethodMeasurements],
    sample: Sample,
    classes: Sequence[str],
    options: AuditOptions,
) -> dict[str, MethodResults]:
    """Summarise the measurements of methods, baseline maps and ceilings, by their names.

    Args:
        measured: The measurements.
        sample: The cases.
        classes: Names of the classes, which are the strata of the bootstrap if they are exclusive.
        options: Options of the audit.
    """
    samples = _by_aspect(_all_figures(measured), sample, classes, options)
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
        """Return the mean of each figure."""
        return {
            (method, metric): AuditEstimate(
                **vars(mean.summary(aspect.metrics[metric].bounds)),
                n=int(np.isfinite(self.values[method, metric]).sum()),
                patients=mean.patients,
            )
            for (method, metric), mean in self._means(self.values).items()
        }

    def against_baselines(self, aspect: Aspect, method: str) -> BaselineComparison | None:
        """Compare a method with each baseline map, on the cases on which both are defined.

        Returns:
            The comparison; None where the aspect is not measured on baseline maps, or not on the method.
        """
        metric = aspect.headline
        if not aspect.of_baselines or (method, metric) not in self.values:
            return None
        sign = 1.0 if aspect.metrics[metric].higher_is_better else -1.0
        gained = {
            name: sign * (self.values[method, metric] - self.values[name, metric])
            for name in baselines.REGISTRY
            if (name, metric) in self.values
        }
        differences = {name: mean.paired_difference() for name, mean in self._means(gained).items()}
        return BaselineComparison(
            metric,
            differences,
            against_all(map(verdict, differences.values())),
            min((each.lacking for each in differences.values() if each.lacking), default=""),
        )

    def _means(self, values: Mapping[Key, Floats]) -> dict[Key, Mean]:
        return means(values, self.cases["patient"].to_numpy(), self.resamples)


def _by_aspect(
    figures: pl.DataFrame, sample: Sample, classes: Sequence[str], options: AuditOptions
) -> dict[str, AspectFigures]:
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
        resamples = bootstrap(cases, classes, resamples=options.resamples, seed=options.seed)
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
