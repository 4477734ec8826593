"""The scores of doubt that are set side by side, and the probabilities that they are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import nn

from radgaze import models
from radgaze.console import Bar, progress
from radgaze.evaluation.metrics import confidence
from radgaze.evaluation.metrics.confidence import Kind
from radgaze.evaluation.referral.perturbation import perturbed
from radgaze.evaluation.referral.selective import Referral
from radgaze.runs.run import Run

Floats = NDArray[np.float64]

MAGNITUDES = (0.0005, 0.001, 0.002)
MOST = 500
"""Cases that a perturbation is chosen on, and that out-of-distribution images are made of, at most."""


@dataclass(frozen=True)
class Candidate:
    """A score with its settings.

    Attributes:
        name: What it is asked for by.
        title: What it is called.
        score: One of `confidence.SCORES`.
        perturbs: Whether the image is moved first, for which the model is needed.
        tempered: Whether logits are divided by the fitted temperature first.
    """

    name: str
    title: str
    score: str
    perturbs: bool = False
    tempered: bool = False


CANDIDATES = (
    Candidate("alpha", "D_α", "alpha"),
    Candidate("beta", "D_β", "beta"),
    Candidate("alpha_tempered", "D_α, tempered", "alpha", tempered=True),
    Candidate("beta_tempered", "D_β, tempered", "beta", tempered=True),
    Candidate("alpha_perturbed", "D_α, perturbed", "alpha", perturbs=True),
    Candidate("beta_perturbed", "D_β, perturbed", "beta", perturbs=True),
    Candidate("maximum", "1 − max. p (baseline)", "maximum"),
    Candidate("entropy", "Entropy (baseline)", "entropy"),
)
NAMES = tuple(candidate.name for candidate in CANDIDATES)


class Seen:
    """The probabilities that scores are made of, of a run's cases as they are and as they are moved."""

    def __init__(
        self,
        run: Run,
        model: nn.Module,
        tables: Mapping[str, pl.DataFrame],
        kind: Kind,
        fitted: float,
        device: str,
        batch_size: int,
        seed: int,
    ) -> None:
        self.run, self.model, self.kind, self.fitted = run, model, kind, fitted
        self.tables = tables
        self.device, self.batch_size, self.seed = device, batch_size, seed
        self._moved: dict[tuple[str, float, float, str], Floats] = {}
        self._chosen: dict[str, tuple[float, float]] = {}

    def plain(self, split: str) -> Floats:
        """(n, C) as predicted."""
        return predicted(self.tables[split], self.run.classes)

    def given(self, candidate: Candidate, rule: Referral, split: str) -> Floats:
        """(n, C) that a candidate's score is made of."""
        if not candidate.perturbs:
            return self.plain(split)
        return self.moved(candidate.score, rule.temperature, rule.magnitude, split)

    def moved(self, score: str, temperature: float, magnitude: float, split: str) -> Floats:
        """(n, C) of the moved images of a split."""
        key = (score, temperature, magnitude, split)
        if key not in self._moved:
            ids = self.tables[split]["case_id"].to_list()
            with progress(f"Moving {split} images", total=len(ids)) as bar:
                (found,) = self._move(score, temperature, (magnitude,), split, ids, bar)
            self._moved[key] = found
        return self._moved[key]

    def perturbation(self, score: str) -> tuple[float, float]:
        """Temperature and magnitude with which a score best tells the errors of some validation cases; where
        none of these is wrong, or all are, the mildest ones.
        """
        if score not in self._chosen:
            table = self.tables["validate"]
            few = table[np.sort(np.random.default_rng(self.seed).permutation(table.height)[:MOST])]
            errors = confidence.wrong(
                predicted(few, self.run.classes), labelled(few, self.run.classes), self.kind
            )
            best, chosen = -1.0, (1.0, MAGNITUDES[0])
            temperatures, ids = tuple(dict.fromkeys((1.0, self.fitted))), few["case_id"].to_list()
            with progress("Choosing a perturbation", total=len(temperatures) * len(ids)) as bar:
                for temperature in temperatures:
                    moved = self._move(score, temperature, MAGNITUDES, "validate", ids, bar)
                    for magnitude, p in zip(MAGNITUDES, moved, strict=True):
                        doubt = confidence.distrust(
                            score, confidence.tempered(p, temperature, self.kind), self.kind
                        )
                        area = float(confidence.error_detection(errors, doubt)[0])
                        if area > best:
                            best, chosen = area, (temperature, magnitude)
            self._chosen[score] = chosen
        return self._chosen[score]

    def _move(
        self,
        score: str,
        temperature: float,
        magnitudes: Sequence[float],
        split: str,
        ids: Sequence[str],
        bar: Bar,
    ) -> list[Floats]:
        parts: list[list[Floats]] = [[] for _ in magnitudes]
        for batch in self.run.batches(split, self.batch_size, ids):
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


def predicted(cases: pl.DataFrame, classes: Sequence[str]) -> Floats:
    """(n, C) probabilities of a table of predictions."""
    return cases.select(f"probability_{name}" for name in classes).to_numpy().astype(np.float64)


def labelled(cases: pl.DataFrame, classes: Sequence[str]) -> NDArray[np.int64]:
    """(n, C) labels of a table of predictions, 0 or 1."""
    return cases.select(f"label_{name}" for name in classes).to_numpy().astype(np.int64)
