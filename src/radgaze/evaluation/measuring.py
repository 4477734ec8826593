"""The evaluation of a run: predict, score and summarise, and write the results into the run's folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl

from radgaze.console import note
from radgaze.errors import UserError
from radgaze.evaluation import reliance
from radgaze.evaluation.constant import WORDS, is_constant
from radgaze.evaluation.curve_points import curves
from radgaze.evaluation.options import EvaluationOptions
from radgaze.evaluation.predicting import predict
from radgaze.evaluation.pretraining import seen_cases
from radgaze.evaluation.results import (
    AGREEMENT,
    CLASS_AGREEMENT,
    CURVES,
    LOCALISATION,
    RELIANCE,
    EvaluationResults,
    write_results,
)
from radgaze.evaluation.scoring import score
from radgaze.evaluation.summary import summarise
from radgaze.runs import dates
from radgaze.runs.run import Run
from radgaze.tables import write_parquet


def evaluate(
    run: Run,
    options: EvaluationOptions = EvaluationOptions(),  # noqa: B008 - frozen
) -> EvaluationResults:
    """Evaluate a run on its test cases, and write the results into its folder.

    Writes metrics.json, agreement.parquet and curves.parquet; with boxes or regions localisation.parquet,
    with gaze of each class class_agreement.parquet, and where test cases have twins reliance.parquet.

    Args:
        run: The run.
        options: The options.

    Returns:
        The content of metrics.json.

    Raises:
        UserError: The run has no predictions, or its store, a device or a generator is not available.
    """
    for given in (options.pretraining_ids or run.config.model.pretraining_ids, options.record_list):
        if given is not None and not Path(given).is_file():
            raise UserError(f"`pretraining_ids` and `record_list` must be files; there is no file {given}")
    predicted = predict(run, options)
    scores = score(predicted, tolerance=options.tolerance)
    relied = reliance.measure(run, options.device)
    results = summarise(run, scores, options, relied)
    listed = options.pretraining_ids or run.config.model.pretraining_ids
    if listed is not None:
        tested = predicted.predictions.filter(pl.col("split") == "test")["case_id"].to_list()
        results = replace(results, pretraining=seen_cases(tested, Path(listed), _path(options.record_list)))
    write_parquet(scores.agreement, run.path / AGREEMENT)
    for table, name in (
        (scores.localisation, LOCALISATION),
        (scores.class_agreement, CLASS_AGREEMENT),
        (relied, RELIANCE),
    ):
        (run.path / name).unlink(missing_ok=True)
        if table.height:
            write_parquet(table, run.path / name)
    test = scores.predictions.filter(pl.col("split") == "test")
    if is_constant(test, run.classes):
        note(f"{run.name}: {WORDS}")
    write_parquet(curves(test, run.classes), run.path / CURVES)
    write_results(results, run.path)
    dates.note(run.path, "evaluated")
    return results


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)
