"""Third step of an evaluation: summarise the metrics of all cases as results with intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial

import numpy as np
import polars as pl
from numpy.typing import NDArray

from radgaze.evaluation import baselines, reliance
from radgaze.evaluation.classification import class_estimates
from radgaze.evaluation.maps import BLURRED
from radgaze.evaluation.metrics import agreement, calibration, localisation, multilabel
from radgaze.evaluation.metrics.classification import METRICS, OF_MEANS, OF_ORDER, SPECIFICITY
from radgaze.evaluation.metrics.metric import Metric
from radgaze.evaluation.options import EvaluationOptions, Interval
from radgaze.evaluation.results import MACRO as MACRO
from radgaze.evaluation.results import (
    AgreementCases,
    ClassAgreement,
    EvaluationResults,
    EvaluationSettings,
    Groups,
    LocalisationCases,
    Maps,
    SplitResults,
)
from radgaze.evaluation.scoring import MAPS, CaseScores
from radgaze.evaluation.statistics import policy
from radgaze.evaluation.statistics.case_means import means
from radgaze.evaluation.statistics.resampling import (
    Estimate,
    PaperResamples,
    Resampling,
    estimates,
)
from radgaze.evaluation.votes import vote_results
from radgaze.runs.run import Run
from radgaze.version import __version__
from radgaze.words import listed

CLASS_GAZE = "maps of each class that the report mentions against the gaze of this class, beside the case's"

_MAP_METRICS: dict[str, Metric] = {**agreement.METRICS, **localisation.METRICS}


def summarise(
    run: Run, scores: CaseScores, options: EvaluationOptions, relied: pl.DataFrame
) -> EvaluationResults:
    """Summarise the metrics of all cases, with intervals by resampling the patients.

    Args:
        run: The run that was scored.
        scores: Scores of the run.
        options: The options.
        relied: Reliance of each case with twins, see `reliance.measure`.
    """
    settings = _settings(run, options)
    test, validate = (scores.predictions.filter(pl.col("split") == split) for split in ("test", "validate"))
    drawn = {"interval": settings.interval, "resamples": settings.resamples, "seed": settings.seed}
    stratified = partial(policy.resampling_of, settings=drawn, strata=run.classes)
    resampling = partial(policy.resampling_of, settings=drawn)
    of_test, of_validate = (
        discrimination_summary(
            cases,
            run.classes,
            stratified(cases),
            resampling(cases),
            PaperResamples(cases.height, seed=options.seed),
            exclusive=run.exclusive,
            interval=settings.interval or "delong",
        )
        for cases in (test, validate)
    )
    with_gaze, agreement_rows = _in_order(scores.agreement, test)
    with_boxes, localisation_rows = _in_order(scores.localisation, test)
    return EvaluationResults(
        experiment=run.experiment,
        protocol=run.config.protocol,
        selection=run.config.selection,
        classes=tuple(run.classes),
        exclusive=run.exclusive,
        software=__version__,
        settings=settings,
        test=of_test.with_maps(
            agreement=agreement_summary(agreement_rows, resampling(with_gaze)),
            agreement_cases=AgreementCases(
                with_gaze.height, scores.without_gaze, scores.baseline_counts, scores.constant_maps
            ),
            localisation=agreement_summary(
                localisation_rows, resampling(with_boxes), tuple(localisation.METRICS)
            ),
            localisation_cases=LocalisationCases(with_boxes.height, test.height - with_boxes.height),
            class_agreement=class_agreement(scores.class_agreement, test, run.classes, resampling)
            if settings.class_gaze
            else None,
            reliance=reliance.summarise(relied, test, resampling) or None,
        ),
        validate=of_validate,
        votes=vote_results(run, test, stratified(test), settings.interval or "delong"),
    )


def discrimination_summary(
    predictions: pl.DataFrame,
    classes: Sequence[str],
    stratified: Resampling,
    resampling: Resampling,
    seed_resamples: Resampling,
    *,
    exclusive: bool = True,
    interval: Interval = "delong",
) -> SplitResults:
    """Summarise the predictions of some cases.

    Args:
        predictions: One row per case: `patient`, `probability_<class>` and `label_<class>`.
        classes: The classes.
        stratified: Resampling of the cases within their classes, for metrics of their order.
        resampling: Resampling of the cases, for means over them.
        seed_resamples: Resampling of the cases as in the paper, see `PaperResamples`.
        exclusive: Whether every case has exactly one class.
        interval: Kind of the intervals of AUCs, see `class_estimates`.
    """
    estimated = partial(class_estimates, predictions, classes, exclusive=exclusive)
    by_class = estimated(stratified, OF_ORDER, interval=interval)
    by_class |= estimated(resampling, OF_MEANS)
    by_paper = estimated(seed_resamples, ("auc",))
    groups = (MACRO, *classes)
    by_metric = {
        name: {group: by_class[name, group].summary(metric.bounds) for group in groups}
        for name, metric in METRICS.items()
    }
    labels = predictions.select([f"label_{name}" for name in classes]).to_numpy()
    probabilities = predictions.select([f"probability_{name}" for name in classes]).to_numpy()
    patients = predictions["patient"].to_numpy()
    averaged = multilabel.averaged(predictions, classes, exclusive=exclusive)
    accuracy, exact_match, not_averaged = None, None, None
    if exclusive:
        right = labels.argmax(1) == probabilities.argmax(1) if len(labels) else np.empty(0)
        accuracy = means({"accuracy": right}, patients, resampling)["accuracy"].summary((0.0, 1.0))
        multiclass = {"multiclass": partial(calibration.brier, labels, probabilities)}
        brier = estimates(multiclass, predictions.height, resampling)
        by_metric["brier"]["multiclass"] = brier["multiclass"].summary((0.0, 2.0))
    else:
        right = ((probabilities >= multilabel.THRESHOLD) == labels).all(1)
        exact_match = means({"exact_match": right}, patients, resampling)["exact_match"].summary((0.0, 1.0))
        not_averaged = tuple(name for name in classes if name not in averaged)
    sensitivity = by_metric.pop("sensitivity_at_specificity")
    return SplitResults(
        sensitivity_at_specificity={f"{SPECIFICITY}": sensitivity},
        auc_paper={group: by_paper["auc", group].summary(METRICS["auc"].bounds) for group in groups},
        accuracy=accuracy,
        exact_match=exact_match,
        not_averaged=not_averaged,
        calibration_error_if_calibrated=_if_calibrated(probabilities, classes, averaged, exclusive=exclusive),
        cases=predictions.height,
        patients=predictions["patient"].n_unique(),
        **by_metric,
    )


def _if_calibrated(
    probabilities: NDArray[np.float64], classes: Sequence[str], averaged: Sequence[str], *, exclusive: bool
) -> Groups:
    """The range of the calibration error by chance, of each class and of the macro mean."""
    drawn = calibration.errors_if_calibrated(probabilities, exclusive=exclusive)
    by_group = {MACRO: drawn[:, [classes.index(name) for name in averaged]].mean(1)}
    by_group |= dict(zip(classes, drawn.T, strict=True))
    return {
        group: Estimate(float(errors.mean()), errors).summary((0.0, 1.0))
        for group, errors in by_group.items()
    }


def agreement_summary(
    table: pl.DataFrame, resampling: Resampling, metrics: Sequence[str] = tuple(agreement.METRICS)
) -> Maps:
    """Average metrics of maps over cases, by map and metric; None for a map that no case has.

    Args:
        table: A row for each case and map, see `CaseScores`; every map has the same cases in the same order.
        resampling: Resampling of these cases.
        metrics: Names of the metrics, columns of the table.
    """
    values: dict[tuple[str, str], NDArray[np.float64]] = {}
    patients = table.unique("case_id", keep="first", maintain_order=True)["patient"].to_numpy()
    for name in MAPS:
        rows = table.filter(pl.col("map") == name)
        if rows.height:
            values |= {(name, metric): rows[metric].cast(pl.Float64).to_numpy() for metric in metrics}
    by_map = means(values, patients, resampling)
    return {
        name: {metric: by_map[name, metric].summary(_MAP_METRICS[metric].bounds) for metric in metrics}
        if (name, metrics[0]) in by_map
        else None
        for name in MAPS
    }


def class_agreement(
    table: pl.DataFrame,
    test: pl.DataFrame,
    classes: Sequence[str],
    resampling: Callable[[pl.DataFrame], Resampling],
) -> ClassAgreement:
    """Average metrics of the maps of each class over the cases with gaze of this class.

    Args:
        table: Rows of the test cases, see `scoring.CLASS_SCHEMA`.
        test: The test predictions.
        classes: Names of the classes.
        resampling: Function that makes the resampling of cases.
    """

    def of(rows: pl.DataFrame) -> Maps:
        cases, rows = _in_order(rows, test)
        return agreement_summary(rows, resampling(cases))

    means_of_cases = table.group_by("case_id", "patient", "map", maintain_order=True).agg(
        pl.col(list(agreement.METRICS)).mean()
    )
    by_class = {name: table.filter(pl.col("class") == name) for name in classes}
    return ClassAgreement(
        cases=table["case_id"].n_unique(),
        all=of(means_of_cases) if table.height else {},
        by_class={name: of(rows) for name, rows in by_class.items() if rows.height},
        cases_of_class={name: rows["case_id"].n_unique() for name, rows in by_class.items()},
    )


def _settings(run: Run, options: EvaluationOptions) -> EvaluationSettings:
    """The options, and the settings of the run that its maps depend on."""
    is_blurred = BLURRED | {name: kind.blurred for name, kind in baselines.evaluated().items()}
    blurred = [name for name in MAPS if is_blurred[name]]
    others = [name for name in MAPS if not is_blurred[name]]
    smoothing = f"{listed(blurred)} by the Gaussian of each case's gaze map; {listed(others)} not at all"
    return EvaluationSettings(
        interval=options.interval or ("paper" if run.config.protocol == "faithful" else "delong"),
        resamples=options.resamples,
        seed=options.seed,
        generator=options.generator,
        target=options.target,
        tolerance=options.tolerance,
        heatmap_smoothing=smoothing,
        gaze=asdict(run.config.gaze),
        class_gaze=CLASS_GAZE if (options.per or run.config.gaze.per) == "class" else "",
        size=run.config.input.size,
        fit=run.config.input.fit,
    )


def _in_order(rows: pl.DataFrame, cases: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The cases that have rows, and the rows in the order of the cases."""
    scored = cases.join(rows.select("case_id").unique(), on="case_id", how="semi", maintain_order="left")
    return scored, scored.select("case_id").join(rows, on="case_id", maintain_order="left")
