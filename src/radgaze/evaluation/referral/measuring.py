"""Evaluation of selective prediction: choose a rule on validation cases, and measure it on test cases."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from radgaze import models, records
from radgaze.devices import usable_device
from radgaze.errors import UserError
from radgaze.evaluation.metrics import confidence, multilabel
from radgaze.evaluation.metrics.confidence import Kind
from radgaze.evaluation.referral.options import Goal, ReferralOptions
from radgaze.evaluation.referral.out_of_distribution import measure_kinds
from radgaze.evaluation.referral.probabilities import RunProbabilities, labelled, predicted
from radgaze.evaluation.referral.results import (
    DECISIONS,
    RESULTS,
    TABLE,
    Likelihood,
    ReferralResults,
    ReferralSettings,
)
from radgaze.evaluation.referral.scores import CANDIDATES, Candidate
from radgaze.evaluation.referral.selective import Referral, choose
from radgaze.evaluation.referral.summary import REJECTED, ScoredCases
from radgaze.evaluation.statistics import policy
from radgaze.files import written
from radgaze.runs.run import Run
from radgaze.tables import harmless, write_parquet

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ReferralEvaluation:
    """Results of `evaluate_referral`.

    Attributes:
        results: The content of rejection.json.
        decisions: case_id, patient, split, predicted, error, score, accept, reason; of validation and test
            cases.
        curves: Risk–coverage curves of the test cases: candidate, coverage, risk.
        referral: The rule that is stored with the run.
    """

    results: ReferralResults
    decisions: pl.DataFrame
    curves: pl.DataFrame
    referral: Referral

    def write(self, folder: Path) -> None:
        """Write selective.json, rejection.json, rejection.csv and decisions.parquet into a run's folder."""
        self.referral.write(folder)
        records.write(self.results, folder / RESULTS)
        _write_table(self.results, folder / TABLE)
        write_parquet(self.decisions, folder / DECISIONS)


def evaluate_referral(
    run: Run,
    options: ReferralOptions = ReferralOptions(),  # noqa: B008 - frozen
) -> ReferralEvaluation:
    """Choose a rule of referral on the validation cases, measure it on the test cases, and store it.

    Writes selective.json, rejection.json, rejection.csv and decisions.parquet into the run's folder.

    Args:
        run: The run.
        options: The options.

    Raises:
        UserError: The run has no validation cases or no test cases, the goal is undefined on the validation
            cases, or a device is not available.
    """
    probabilities = _probabilities(run, options)
    goal = Goal.parse(options.goal)
    rules: dict[str, Referral] = {
        name: choose_rule(candidate, probabilities, goal) for name, candidate in CANDIDATES.items()
    }
    evaluation = summarise(probabilities, rules, goal)
    evaluation.write(run.path)
    return evaluation


def _probabilities(run: Run, options: ReferralOptions) -> RunProbabilities:
    table = run.predictions()
    tables = {split: table.filter(pl.col("split") == split) for split in ("validate", "test")}
    for split, words in (("validate", "validation"), ("test", "test")):
        if not tables[split].height:
            raise UserError(f"{run.path} has no {words} cases")
    kind: Kind = "sigmoid" if run.config.objective.classification == "sigmoid" else "softmax"
    device = usable_device(options.device)
    model = models.scoring(run.model(device))
    return RunProbabilities(run, model, tables, kind, device, options)


def choose_rule(candidate: Candidate, probabilities: RunProbabilities, goal: Goal) -> Referral:
    """Choose the threshold of a candidate, and its temperature and perturbation, on the validation cases.

    Raises:
        UserError: There are no cases or, for FRR, no correct predictions.
    """
    temperature, magnitude = (probabilities.temperature if candidate.tempered else 1.0), 0.0
    given = None
    if candidate.perturbs:
        temperature, magnitude = probabilities.perturbation(candidate.score)
        given = probabilities.perturbed(candidate.score, temperature, magnitude, "validate")
    return choose(
        probabilities.predicted("validate"),
        probabilities.labels("validate"),
        classes=tuple(probabilities.run.classes),
        kind=probabilities.kind,
        exclusive=probabilities.run.exclusive,
        score=candidate.score,
        goal=goal,
        temperature=temperature,
        magnitude=magnitude,
        calibration=probabilities.temperature,
        given=given,
    )


def summarise(
    probabilities: RunProbabilities, rules: Mapping[str, Referral], goal: Goal
) -> ReferralEvaluation:
    """Measure the rules on the test cases.

    Args:
        probabilities: Probabilities of the run's cases.
        rules: Rule of each candidate, by its name.
        goal: Goal of the rules.
    """
    run, options, kind = probabilities.run, probabilities.options, probabilities.kind
    test = probabilities.tables["test"]
    resampling = policy.bootstrap(test, resamples=options.resamples, seed=options.seed)
    errors = confidence.wrong(
        probabilities.predicted("test"), probabilities.labels("test"), exclusive=run.exclusive
    )
    cases = ScoredCases(test, run.classes, errors, resampling, run.exclusive)
    scores = {
        name: rules[name].scores(probabilities.of(candidate, rules[name], "test"))
        for name, candidate in CANDIDATES.items()
    }
    referral = rules[options.score]
    results = ReferralResults(
        run=run.path.resolve().name,
        experiment=run.experiment,
        selection=run.config.selection,
        classes=tuple(run.classes),
        kind=kind,
        goal=goal,
        score=options.score,
        cases=test.height,
        patients=test["patient"].n_unique(),
        errors=int(errors.sum()),
        discordant=min(test.filter(pl.Series(each))["patient"].n_unique() for each in (errors, ~errors)),
        best_area=float(confidence.area_under_risk(errors, errors)[0]),
        temperature=probabilities.temperature,
        likelihood=_likelihood(test, run.classes, kind, probabilities.temperature),
        all=cases.overall(),
        scores={name: cases.score(CANDIDATES[name], rules[name], scores[name]) for name in CANDIDATES},
        out_of_distribution=measure_kinds(probabilities, referral),
        settings=ReferralSettings(options.resamples, options.seed, REJECTED),
    )
    candidate = next(each for name, each in CANDIDATES.items() if name == options.score)
    decisions = pl.concat(
        _decisions(split, table, run, referral, probabilities.of(candidate, referral, split))
        for split, table in probabilities.tables.items()
    )
    curves = pl.concat(cases.curve(name, scores[name]) for name in CANDIDATES)
    return ReferralEvaluation(results, decisions, curves, referral)


def _write_table(results: ReferralResults, path: Path) -> None:
    with written(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["score", "metric", "value", "low", "high"])
        for name, score in results.scores.items():
            for metric, entry in score.figures().items():
                numbers = (entry.value, entry.low, entry.high)
                writer.writerow([harmless(name), metric, *("" if x is None else x for x in numbers)])


def _likelihood(test: pl.DataFrame, classes: Sequence[str], kind: Kind, temperature: float) -> Likelihood:
    p, y = predicted(test, classes), labelled(test, classes)

    def loss(q: Floats) -> float:
        q = np.clip(q, 1e-12, 1 - 1e-12)
        logs = y * np.log(q) if kind == "softmax" else y * np.log(q) + (1 - y) * np.log(1 - q)
        return float(-logs.sum(1).mean())

    return Likelihood(loss(p), loss(confidence.tempered(p, temperature, kind)))


def _decisions(split: str, cases: pl.DataFrame, run: Run, referral: Referral, given: Floats) -> pl.DataFrame:
    p, y = predicted(cases, run.classes), labelled(cases, run.classes)
    decisions = referral.decide(given)
    return cases.select("case_id", "patient").with_columns(
        split=pl.lit(split),
        predicted=pl.Series(list(_class_names(p, run.classes, exclusive=run.exclusive)), dtype=pl.String),
        error=pl.Series(confidence.wrong(p, y, exclusive=run.exclusive)),
        score=pl.Series([decision.score for decision in decisions], dtype=pl.Float64),
        accept=pl.Series([decision.accept for decision in decisions], dtype=pl.Boolean),
        reason=pl.Series([decision.reason for decision in decisions], dtype=pl.String),
    )


def _class_names(p: Floats, classes: Sequence[str], *, exclusive: bool) -> Iterator[str]:
    for row in p:
        if exclusive:
            yield classes[int(row.argmax())]
        else:
            yield ", ".join(c for c, x in zip(classes, row, strict=True) if x >= multilabel.THRESHOLD)
