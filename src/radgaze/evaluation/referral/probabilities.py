"""Probabilities from which scores are computed: the predicted ones, and those of perturbed images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import nn

from radgaze import models
from radgaze.console import Bar, progress
from radgaze.evaluation.metrics import confidence
from radgaze.evaluation.metrics.confidence import Kind
from radgaze.evaluation.referral.options import ReferralOptions, ScoreName
from radgaze.evaluation.referral.perturbation import perturbed
from radgaze.evaluation.referral.scores import Candidate
from radgaze.evaluation.referral.selective import Referral
from radgaze.runs.run import Run

Floats = NDArray[np.float64]

MAGNITUDES = (0.0005, 0.001, 0.002)
MOST_CASES = 500
"""Maximum number of cases to choose a perturbation on, and to make out-of-distribution images from."""


class RunProbabilities:
    """Probabilities of a run's validation and test cases, computed once.

    Attributes:
        run: The run.
        model: Model of the run, on the device.
        tables: Predictions by split.
        kind: Function that turns logits into probabilities, "softmax" or "sigmoid".
        temperature: Temperature that minimises the validation loss.
        device: Device of the model.
        options: Options of the selective prediction.
    """

    def __init__(
        self,
        run: Run,
        model: nn.Module,
        tables: Mapping[str, pl.DataFrame],
        kind: Kind,
        device: str,
        options: ReferralOptions,
    ) -> None:
        self.run, self.model, self.tables, self.kind = run, model, tables, kind
        self.device, self.options = device, options
        self.temperature = confidence.temperature(self.predicted("validate"), self.labels("validate"), kind)
        self._moved: dict[tuple[str, float, float, str], Floats] = {}
        self._chosen: dict[str, tuple[float, float]] = {}

    def predicted(self, split: str) -> Floats:
        """Return the predicted probabilities of a split, of shape (n, C)."""
        return predicted(self.tables[split], self.run.classes)

    def labels(self, split: str) -> NDArray[np.int64]:
        """Return the labels of a split, of shape (n, C)."""
        return labelled(self.tables[split], self.run.classes)

    def of(self, candidate: Candidate, rule: Referral, split: str) -> Floats:
        """Return the probabilities that a candidate's score is computed from, of shape (n, C)."""
        if not candidate.perturbs:
            return self.predicted(split)
        return self.perturbed(candidate.score, rule.temperature, rule.magnitude, split)

    def perturbed(self, score: ScoreName, temperature: float, magnitude: float, split: str) -> Floats:
        """Return the probabilities of the perturbed images of a split, of shape (n, C)."""
        key = (score, temperature, magnitude, split)
        if key not in self._moved:
            case_ids = self.tables[split]["case_id"].to_list()
            with progress(f"Moving {split} images", total=len(case_ids)) as bar:
                (self._moved[key],) = self._perturb(score, temperature, (magnitude,), split, case_ids, bar)
        return self._moved[key]

    def perturbation(self, score: ScoreName) -> tuple[float, float]:
        """Choose the temperature and magnitude with which a score best detects errors of validation cases.

        Where none or all of these cases are wrong, they are 1 and the smallest of `MAGNITUDES`.
        """
        if score not in self._chosen:
            cases = drawn(self.tables["validate"], self.options.seed)
            errors = confidence.wrong(
                predicted(cases, self.run.classes),
                labelled(cases, self.run.classes),
                exclusive=self.run.exclusive,
            )
            best, chosen = -1.0, (1.0, MAGNITUDES[0])
            temperatures = tuple(dict.fromkeys((1.0, self.temperature)))
            case_ids = cases["case_id"].to_list()
            with progress("Choosing a perturbation", total=len(temperatures) * len(case_ids)) as bar:
                for temperature in temperatures:
                    moved = self._perturb(score, temperature, MAGNITUDES, "validate", case_ids, bar)
                    for magnitude, p in zip(MAGNITUDES, moved, strict=True):
                        tempered = confidence.tempered(p, temperature, self.kind)
                        doubt = confidence.distrust(score, tempered, self.kind)
                        area = float(confidence.error_detection(errors, doubt)[0])
                        if area > best:
                            best, chosen = area, (temperature, magnitude)
            self._chosen[score] = chosen
        return self._chosen[score]

    def _perturb(
        self,
        score: ScoreName,
        temperature: float,
        magnitudes: Sequence[float],
        split: str,
        case_ids: Sequence[str],
        bar: Bar,
    ) -> list[Floats]:
        parts: list[list[Floats]] = [[] for _ in magnitudes]
        for batch in self.run.batches(split, self.options.batch_size, case_ids):
            images, *also = models.inputs(self.model, batch.to(self.device))
            moved = perturbed(
                self.model,
                images,
                magnitudes,
                score=score,
                kind=self.kind,
                temperature=temperature,
                also=also,
            )
            for part, p in zip(parts, moved, strict=True):
                part.append(p.cpu().numpy())
            bar.advance(len(batch))
        return [np.concatenate(part) for part in parts]


def drawn(cases: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Draw at most `MOST_CASES` cases at random, kept in their order."""
    return cases[np.sort(np.random.default_rng(seed).permutation(cases.height)[:MOST_CASES])]


def predicted(cases: pl.DataFrame, classes: Sequence[str]) -> Floats:
    """Return the probabilities of a table of predictions, of shape (n, C)."""
    return cases.select(f"probability_{name}" for name in classes).to_numpy().astype(np.float64)


def labelled(cases: pl.DataFrame, classes: Sequence[str]) -> NDArray[np.int64]:
    """Return the labels of a table of predictions, 0 or 1, of shape (n, C)."""
    return cases.select(f"label_{name}" for name in classes).to_numpy().astype(np.int64)
