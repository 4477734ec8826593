"""A run's predictions with some referred: which score finds errors, and what is gained on what is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from radgaze import models
from radgaze.console import progress
from radgaze.devices import usable_device
from radgaze.errors import UserError
from radgaze.evaluation.metrics import confidence, multilabel
from radgaze.evaluation.metrics.confidence import Kind
from radgaze.evaluation.metrics.discrimination import auc
from radgaze.evaluation.referral import out_of_distribution
from radgaze.evaluation.referral.perturbation import given
from radgaze.evaluation.referral.scores import CANDIDATES, MOST, NAMES, Candidate, Seen, labelled, predicted
from radgaze.evaluation.referral.selective import Goal, Referral, choose
from radgaze.evaluation.statistics import policy
from radgaze.evaluation.statistics.auc_interval import Placed, auc_interval, placed
from radgaze.evaluation.statistics.resampling import Estimate, Statistic, estimates, mean_of
from radgaze.files import write_text
from radgaze.objectives.triangle import probabilities as probabilities_of
from radgaze.runs.run import Run
from radgaze.tables import write_parquet

Floats = NDArray[np.float64]

TRR = 0.95


@dataclass(frozen=True)
class Rejection:
    """What referring some cases does.

    Attributes:
        summary: As plain values, what rejection.json holds.
        decisions: case_id, patient, split, predicted, error, score, accept, reason; of validation and test
            cases.
        curves: candidate, coverage, risk: of the test cases.
        referral: The rule that is kept with the run.
    """

    summary: dict[str, Any]
    decisions: pl.DataFrame
    curves: pl.DataFrame
    referral: Referral


def reject(
    run: Run,
    *,
    goal: Goal,
    score: str = "alpha",
    device: str = "auto",
    resamples: int = 2000,
    seed: int = 0,
    batch_size: int = 16,
) -> Rejection:
    """Choose when to refer on the validation cases, measure it on the test cases, and keep the rule.

    Writes selective.json, rejection.json and decisions.parquet into the run.

    Args:
        run: The run.
        goal: What the thresholds are to reach on the validation cases.
        score: Name of the candidate that is kept.
        device: Where the model runs.
        resamples: Of the patient bootstrap.
        seed: Of the bootstrap and of the images out of distribution.
        batch_size: Cases at a time.

    Raises:
        UserError: No such score, or too few cases to choose or to measure on.
    """
    if score not in NAMES:
        raise UserError(f"--score {score}: there are {', '.join(NAMES)}")
    kind: Kind = "sigmoid" if run.config.objective.classification == "sigmoid" else "softmax"
    tables = _cases_of(run)
    validate, test = tables["validate"], tables["test"]
    device = usable_device(device)
    model = models.scoring(run.model(device))
    fitted = confidence.temperature(predicted(validate, run.classes), labelled(validate, run.classes), kind)
    seen = Seen(run, model, tables, kind, fitted, device, batch_size, seed)
    rules = {candidate.name: _rule(candidate, seen, run.classes, goal) for candidate in CANDIDATES}
    resampling = policy.bootstrap(test, run.classes, resamples=resamples, seed=seed)
    errors = confidence.wrong(predicted(test, run.classes), labelled(test, run.classes), kind)
    averaged = multilabel.averaged(test, run.classes)
    rows, curves = {}, []
    for candidate in CANDIDATES:
        rule = rules[candidate.name]
        scores = rule.scores(seen.given(candidate, rule, "test"))
        statistics = _statistics(scores, errors, rule.threshold, test, run.classes)
        found = estimates(statistics, test.height, resampling)
        kept_auc = _auc_interval(test.filter(pl.Series(scores <= rule.threshold)), averaged)
        found["auc_kept"] = replace(found["auc_kept"], stated=kept_auc)
        told = auc_interval([placed(errors, scores, test["patient"])])
        found["error_detection"] = replace(found["error_detection"], stated=told)
        rows[candidate.name] = _row(candidate, rule, found)
        curves.append(_curve(candidate, errors, scores))
    kept = next(candidate for candidate in CANDIDATES if candidate.name == score)
    referral = rules[score]
    whole = estimates(_of_all(errors, test, run.classes), test.height, resampling)
    whole["auc"] = replace(whole["auc"], stated=_auc_interval(test, averaged))
    found_summary = {
        **_about(run, kind, goal, score),
        "cases": test.height,
        "patients": test["patient"].n_unique(),
        "errors": int(errors.sum()),
        "best_area": float(confidence.area_under_risk(errors, errors)[0]),
        "temperature": fitted,
        "likelihood": _likelihoods(test, run.classes, kind, fitted),
        "all": {name: estimate.entry() for name, estimate in whole.items()},
        "scores": rows,
        "out_of_distribution": _out_of_distribution(seen, referral, resamples),
        "settings": {"resamples": resamples, "seed": seed, "rejected": TRR},
    }
    decisions = pl.concat(
        _decided(split, cases, run.classes, kind, referral, seen.given(kept, referral, split))
        for split, cases in tables.items()
    )
    rejection = Rejection(found_summary, decisions, pl.concat(curves), referral)
    _write(rejection, run.path)
    return rejection


def _cases_of(run: Run) -> dict[str, pl.DataFrame]:
    """The predictions of the validation and the test cases, some of each."""
    table = run.predictions()
    tables = {split: table.filter(pl.col("split") == split) for split in ("validate", "test")}
    for split, words in (("validate", "validation"), ("test", "test")):
        if not tables[split].height:
            raise UserError(f"{run.path} has no {words} cases")
    return tables


def _about(run: Run, kind: Kind, goal: Goal, score: str) -> dict[str, object]:
    """The entries of rejection.json that say which run it is of, and what was asked for."""
    return {
        "run": run.path.resolve().name,
        "experiment": run.experiment,
        "selection": run.config.selection,
        "classes": list(run.classes),
        "kind": kind,
        "goal": {"name": goal.name, "value": goal.value},
        "score": score,
    }


def _row(candidate: Candidate, rule: Referral, found: Mapping[str, Estimate]) -> dict[str, object]:
    """A candidate's entry in rejection.json."""
    return {
        "title": candidate.title,
        "threshold": rule.threshold,
        "temperature": rule.temperature,
        "magnitude": rule.magnitude,
        "validation": rule.validation,
        **{name: estimate.entry() for name, estimate in found.items()},
    }


def _curve(candidate: Candidate, errors: NDArray[np.bool_], scores: Floats) -> pl.DataFrame:
    """A candidate's risk at each coverage."""
    coverage, risk = confidence.risk_coverage(errors, scores)
    return pl.DataFrame({"coverage": coverage, "risk": risk}).with_columns(candidate=pl.lit(candidate.name))


def _write(rejection: Rejection, folder: Path) -> None:
    rejection.referral.write(folder)
    text = json.dumps(rejection.summary, indent=2, allow_nan=False, ensure_ascii=False)
    write_text(text + "\n", folder / "rejection.json")
    write_parquet(rejection.decisions, folder / "decisions.parquet")


def _rule(candidate: Candidate, seen: Seen, classes: Sequence[str], goal: Goal) -> Referral:
    temperature, magnitude, given = (seen.fitted if candidate.tempered else 1.0), 0.0, None
    if candidate.perturbs:
        temperature, magnitude = seen.perturbation(candidate.score)
        given = seen.moved(candidate.score, temperature, magnitude, "validate")
    return choose(
        seen.plain("validate"),
        labelled(seen.tables["validate"], classes),
        classes=tuple(classes),
        kind=seen.kind,
        score=candidate.score,
        goal=goal,
        temperature=temperature,
        magnitude=magnitude,
        calibration=seen.fitted,
        given=given,
    )


def _statistics(
    scores: Floats, errors: NDArray[np.bool_], threshold: float, test: pl.DataFrame, classes: Sequence[str]
) -> dict[str, Statistic]:
    accepted = scores <= threshold
    right = ~errors
    kept = {name: _over(statistic, accepted) for name, statistic in _of_all(errors, test, classes).items()}
    return {
        "error_detection": lambda w: confidence.error_detection(errors, scores, w),
        "false_rejection": lambda w: confidence.false_rejection(errors, scores, w, rejected=TRR),
        "area_under_risk": lambda w: confidence.area_under_risk(errors, scores, w),
        "excess_area": lambda w: confidence.excess_area(errors, scores, w),
        "coverage": mean_of(accepted),
        "frr": mean_of(np.where(right, ~accepted, np.nan)),
        "accuracy_kept": kept["accuracy"],
        "auc_kept": kept["auc"],
    }


def _of_all(errors: NDArray[np.bool_], test: pl.DataFrame, classes: Sequence[str]) -> dict[str, Statistic]:
    """Accuracy (of several classes: all of a case's right) and macro AUC."""
    averaged = multilabel.averaged(test, classes)
    labels = {name: test[f"label_{name}"].to_numpy() for name in averaged}
    scores = {name: test[f"probability_{name}"].to_numpy() for name in averaged}
    return {
        "accuracy": mean_of(~errors),
        "auc": lambda w: np.mean([auc(labels[name], scores[name], w) for name in averaged], axis=0),
    }


def _over(statistic: Statistic, accepted: NDArray[np.bool_]) -> Statistic:
    return lambda weights: statistic(weights * accepted)


def _likelihoods(test: pl.DataFrame, classes: Sequence[str], kind: Kind, T: float) -> dict[str, float]:
    """Mean negative log likelihood of the test cases before and after temperature scaling."""
    p, y = predicted(test, classes), labelled(test, classes)
    found = {}
    for name, q in (("before", p), ("after", confidence.tempered(p, T, kind))):
        q = np.clip(q, 1e-12, 1 - 1e-12)
        logs = y * np.log(q) if kind == "softmax" else y * np.log(q) + (1 - y) * np.log(1 - q)
        found[name] = float(-logs.sum(1).mean())
    return found


def _out_of_distribution(seen: Seen, rule: Referral, resamples: int) -> dict[str, dict[str, Any]]:
    """Of images of each kind the share referred, and the AUROC of telling them from test cases."""
    table = seen.tables["test"]
    few = table[np.sort(np.random.default_rng(seen.seed).permutation(table.height)[:MOST])]
    ids, kinds = few["case_id"].to_list(), out_of_distribution.KINDS
    doubt: dict[str, list[Floats]] = {name: [] for name in ("test", *kinds)}
    tried = 0
    with progress("Trying images that are no radiographs", total=len(ids)) as bar:
        for batch in seen.run.batches("test", seen.batch_size, ids):
            images, *also = models.inputs(seen.model, batch.to(seen.device))
            for name in doubt:
                changed = images if name == "test" else kinds[name](images, seen.seed + tried)
                doubt[name].append(_doubt(seen, rule, changed, also))
            tried += len(batch)
            bar.advance(len(batch))
    scores = {name: np.concatenate(parts) for name, parts in doubt.items()}
    resampling = policy.bootstrap(few, seen.run.classes, resamples=resamples, seed=seen.seed)
    found = {}
    for name, own in scores.items():
        statistics: dict[str, Statistic] = {"referred": mean_of(own > rule.threshold)}
        if name != "test":
            statistics["auroc"] = _told_apart(scores["test"], own)
        entries = estimates(statistics, len(own), resampling)
        if name != "test":
            told = auc_interval([_placed_apart(scores["test"], own, few["patient"].to_numpy())])
            entries["auroc"] = replace(entries["auroc"], stated=told)
        found[name] = {key: estimate.entry() for key, estimate in entries.items()}
    return found


def _auc_interval(cases: pl.DataFrame, classes: Sequence[str]) -> tuple[float, float]:
    """Of the mean AUC of classes."""
    who = cases["patient"].to_numpy()
    return auc_interval([placed(cases[f"label_{c}"], cases[f"probability_{c}"], who) for c in classes])


def _told_apart(inside: Floats, outside: Floats) -> Callable[[Floats], Floats]:
    labels = np.repeat([0.0, 1.0], [len(inside), len(outside)])
    both = np.concatenate([inside, outside])
    return lambda w: auc(labels, both, np.concatenate([w, w], 1))


def _placed_apart(inside: Floats, outside: Floats, patients: NDArray[np.int64]) -> Placed:
    labels = np.repeat([0.0, 1.0], [len(inside), len(outside)])
    return placed(labels, np.concatenate([inside, outside]), np.concatenate([patients, patients]))


def _doubt(seen: Seen, rule: Referral, images: Tensor, also: Sequence[Tensor]) -> Floats:
    with torch.inference_mode():
        plain = probabilities_of(seen.model(images, *also).logits, seen.kind).double().cpu().numpy()
    return rule.scores(given(rule, seen.model, images, plain, also))


def _decided(
    split: str, cases: pl.DataFrame, classes: Sequence[str], kind: Kind, referral: Referral, given: Floats
) -> pl.DataFrame:
    p, y = predicted(cases, classes), labelled(cases, classes)
    found = referral.decide(given)
    return cases.select("case_id", "patient").with_columns(
        split=pl.lit(split),
        predicted=pl.Series(list(_named(p, classes, kind)), dtype=pl.String),
        error=pl.Series(confidence.wrong(p, y, kind)),
        score=pl.Series([d.score for d in found], dtype=pl.Float64),
        accept=pl.Series([d.accept for d in found], dtype=pl.Boolean),
        reason=pl.Series([d.reason for d in found], dtype=pl.String),
    )


def _named(p: Floats, classes: Sequence[str], kind: Kind) -> Iterator[str]:
    for row in p:
        if kind == "softmax":
            yield classes[int(row.argmax())]
        else:
            yield ", ".join(c for c, x in zip(classes, row, strict=True) if x >= multilabel.THRESHOLD)
