"""RUN/vote.json: a run that is the vote of several others, its rule, and how values are combined.

Free of torch, so that the command line starts quickly.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radgaze import records
from radgaze.errors import UserError
from radgaze.options import Options, option
from radgaze.records import Record

FILE = "vote.json"

HALF = 0.5
"""Threshold of a probability or of a mask's pixel."""

Rule = Literal["mean", "majority"]
Threshold = Literal["half", "validation"]


@dataclass(frozen=True)
class VoteOptions(Options):
    """How several runs are combined.

    Attributes:
        out: Folder of the vote, which is then used like a run.
        rule: Combined probability of a class: mean of the runs' probabilities, or majority, the share of
            runs whose probability exceeds the threshold. Of an even number of runs, a tie is a share of
            exactly 0.5, which counts as predicted; of exclusive classes with equal shares, the first counts.
        threshold: Threshold of the majority: half, 0.5, or validation, for each run and class the one of
            highest sensitivity plus specificity on the run's validation cases.
    """

    out: str | Path = option(metavar="DIR")
    rule: Rule = "mean"
    threshold: Threshold = "half"


@dataclass(frozen=True)
class Voter:
    """A run that votes.

    Attributes:
        path: Its folder, relative to that of the vote.
        experiment: Name of its experiment.
        seed: Its seed.
        weights: SHA-256 of its weights.
        thresholds: Threshold of each class.
    """

    path: str
    experiment: str
    seed: int
    weights: str
    thresholds: tuple[float, ...]


@dataclass(frozen=True)
class Vote(Record):
    """The content of vote.json.

    Attributes:
        rule: Rule of the combined probabilities and masks, see `VoteOptions`.
        threshold: Threshold of the majority, see `VoteOptions`.
        voters: The runs.
    """

    rule: Rule
    threshold: Threshold
    voters: tuple[Voter, ...]


def read(run: Path) -> Vote | None:
    """Read what a run is the vote of; None for a run that was trained.

    Raises:
        UserError: The file is damaged.
    """
    path, advice = run / FILE, "vote again, into another folder"
    if not path.is_file():
        return None
    vote = records.read(Vote, path, advice)
    if len(vote.voters) < 2 or len({len(voter.thresholds) for voter in vote.voters}) > 1:
        raise UserError(f"{path} is damaged: its runs are too few, or differ in their classes; {advice}")
    return vote


def probabilities(vote: Vote | None, values: ArrayLike) -> NDArray[np.float64]:
    """Combine the probabilities (V, B, C) of V runs to (B, C); those of one run alone stay as they are."""
    thresholds = HALF if vote is None else np.array([voter.thresholds for voter in vote.voters])[:, None]
    return combined("mean" if vote is None else vote.rule, values, thresholds)


def combined(rule: Rule, values: ArrayLike, thresholds: ArrayLike = HALF) -> NDArray[np.float64]:
    """Combine the values (V, …) of V runs to (…): their mean, or the share that exceeds the threshold."""
    if rule == "majority":
        share: NDArray[np.float64] = (np.asarray(values) > thresholds).mean(0)
        return share
    return mean(np.asarray(values, dtype=np.float64))


def mean(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """The mean of values (V, …) over V runs; the same bits for any order of the runs."""
    total: NDArray[np.float64] = np.sort(values, axis=0).mean(0, dtype=np.float64)
    return total


def best_threshold(labels: ArrayLike, scores: ArrayLike) -> float:
    """The threshold of highest sensitivity plus specificity (Youden 1950), for `score > threshold`.

    Args:
        labels: Labels, 0 or 1, of shape (N,).
        scores: Probabilities, of shape (N,).

    Returns:
        The middle between two neighbouring scores, the lowest of several that are equally good; `HALF` where
        the cases do not have both labels.
    """
    y, s = np.asarray(labels) > 0, np.asarray(scores, dtype=np.float64)
    values = np.unique(s)
    if y.all() or not y.any() or len(values) < 2:
        return HALF
    middles = (values[1:] + values[:-1]) / 2
    gains = _share_above(middles, s[y]) - _share_above(middles, s[~y])
    # Rounding must not choose between equal ones.
    return float(middles[np.flatnonzero(gains >= gains.max() - 1e-12)[0]])


def _share_above(thresholds: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of scores (N,) above each threshold (T,); in memory of N + T, not of their product."""
    share: NDArray[np.float64] = 1 - np.searchsorted(np.sort(scores), thresholds, side="right") / len(scores)
    return share
