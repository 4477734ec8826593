"""Predictions of images: probabilities, predicted classes, masks, and which are accepted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from radgaze.evaluation.referral.selective import Decision
from radgaze.words import count


@dataclass(frozen=True)
class Prediction:
    """Predictions of N images.

    An image that could not be read has NaN for its numbers, no predicted class, and an error.

    Attributes:
        classes: Names of the C classes.
        names: Name of each image: the id of a case, or image-001 and so on.
        probabilities: Probability of each class, (N, C).
        predicted: Predicted classes of each image: the most probable one or, if an image can have several,
            all with a probability of at least 0.5.
        mask: Probabilities of the decoder's mask, (N, S, S), of the most probable class where each class has
            one; None where the model has none, or masks were not made.
        decisions: Decision of the run's rule on each image, None for one with an error; None where the run
            has no rule.
        errors: Reason why an image could not be read or predicted; None for all others.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    probabilities: NDArray[np.float64]
    predicted: tuple[tuple[str, ...], ...]
    mask: NDArray[np.float32] | None
    decisions: tuple[Decision | None, ...] | None
    errors: tuple[str | None, ...]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.names)

    @property
    def accept(self) -> NDArray[np.bool_] | None:
        """Whether each prediction is accepted, (N,), rather than referred; None where the run has no rule."""
        if self.decisions is None:
            return None
        return np.array([each is not None and each.accept for each in self.decisions], dtype=bool)

    def to_frame(self) -> pl.DataFrame:
        """Make a table with a row for each image.

        Returns:
            Columns image, predicted (classes joined by commas), probability_<class> for each class, error
            and, where the run has a rule for it, decision (accept or refer), score and reason.
        """
        columns: dict[str, pl.Series] = {
            "image": pl.Series(self.names, dtype=pl.String),
            "predicted": pl.Series(
                [None if error else ", ".join(names) for names, error in self._with_errors()], dtype=pl.String
            ),
        }
        for k, name in enumerate(self.classes):
            columns[f"probability_{name}"] = pl.Series(self.probabilities[:, k]).fill_nan(None)
        if self.decisions is not None:
            decisions = self.decisions
            columns["decision"] = _column([d and _verdict(d) for d in decisions])
            columns["score"] = pl.Series([d and d.score for d in decisions], dtype=pl.Float64)
            columns["reason"] = _column([d and d.reason for d in decisions])
        columns["error"] = _column(self.errors)
        return pl.DataFrame(columns)

    def in_words(self, i: int) -> str:
        """Describe the prediction of an image on one line, such as `CHF 0.83, refer`."""
        p = dict(zip(self.classes, self.probabilities[i].tolist(), strict=True))
        words = [f"{name} {p[name]:.2f}" for name in self.predicted[i]] or ["no class"]
        decision = None if self.decisions is None else self.decisions[i]
        return ", ".join(words + ([] if decision is None else [_verdict(decision)]))

    def __repr__(self) -> str:
        """Show the table at the prompt."""
        masks = "" if self.mask is None else f", with masks {self.mask.shape}"
        return f"Prediction of {count(len(self.names), 'image')}{masks}\n{self.to_frame()}"

    def _repr_html_(self) -> str:
        """The table, as a notebook shows it."""
        html: str = self.to_frame()._repr_html_()
        return html

    def _with_errors(self) -> list[tuple[tuple[str, ...], str | None]]:
        return list(zip(self.predicted, self.errors, strict=True))


def joined(parts: Sequence[Prediction]) -> Prediction:
    """Join predictions of the same run, of at least one image."""
    first = parts[0]
    masks = [part.mask for part in parts]
    side = next((mask.shape[1] for mask in masks if mask is not None), None)
    mask = None
    if side is not None:
        mask = np.concatenate([_missing(len(p), side) if p.mask is None else p.mask for p in parts])
    decisions = None
    if first.decisions is not None:
        decisions = tuple(each for part in parts for each in part.decisions or ())
    return Prediction(
        first.classes,
        tuple(name for part in parts for name in part.names),
        np.concatenate([part.probabilities for part in parts]),
        tuple(names for part in parts for names in part.predicted),
        mask,
        decisions,
        tuple(error for part in parts for error in part.errors),
    )


def _missing(images: int, side: int) -> NDArray[np.float32]:
    return np.full((images, side, side), np.nan, np.float32)


def _verdict(decision: Decision) -> str:
    return "accept" if decision.accept else "refer"


def _column(values: Sequence[str | None]) -> pl.Series:
    return pl.Series(values, dtype=pl.String)
