"""The evaluation of a run: predict, score and summarise, and write the results into the run's folder."""

from __future__ import annotations

import polars as pl

from radgaze.evaluation import reliance
from radgaze.evaluation.curve_points import curves
from radgaze.evaluation.options import EvaluationOptions
from radgaze.evaluation.predicting import predict
from radgaze.evaluation.results import (
    AGREEMENT,
    CURVES,
    LOCALISATION,
    RELIANCE,
    EvaluationResults,
    write_results,
)
from radgaze.evaluation.scoring import score
from radgaze.evaluation.summary import summarise
from radgaze.runs.run import Run
from radgaze.tables import write_parquet


def evaluate(
    run: Run,
    options: EvaluationOptions = EvaluationOptions(),  # noqa: B008 - frozen
) -> EvaluationResults:
    """Evaluate a run on its test cases, and write the results into its folder.

    Writes metrics.json, agreement.parquet, curves.parquet and, with boxes or regions, localisation.parquet;
    where the store has twins of test cases, reliance.parquet.

    Args:
        run: The run.
        options: The options.

    Returns:
        The content of metrics.json.

    Raises:
        UserError: The run has no predictions, or its store, a device or a generator is not available.
    """
    predicted = predict(run, options)
    scores = score(predicted, tolerance=options.tolerance)
    relied = reliance.measure(run, options.device)
    results = summarise(run, scores, options, relied)
    write_parquet(scores.agreement, run.path / AGREEMENT)
    (run.path / LOCALISATION).unlink(missing_ok=True)
    if scores.localisation.height:
        write_parquet(scores.localisation, run.path / LOCALISATION)
    (run.path / RELIANCE).unlink(missing_ok=True)
    if relied.height:
        write_parquet(relied, run.path / RELIANCE)
    test = scores.predictions.filter(pl.col("split") == "test")
    write_parquet(curves(test, run.classes), run.path / CURVES)
    write_results(results, run.path)
    return results
