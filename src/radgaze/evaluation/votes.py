"""Estimates of each run of a vote, beside the mean and the majority."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from radgaze.evaluation.classification import class_estimates
from radgaze.evaluation.metrics.classification import METRICS
from radgaze.evaluation.options import Interval
from radgaze.evaluation.results import MACRO, VoteResults
from radgaze.evaluation.statistics.resampling import Resampling
from radgaze.runs.run import Run


def vote_results(
    run: Run, test: pl.DataFrame, resampling: Resampling, interval: Interval
) -> VoteResults | None:
    """Estimate the AUCs of each run of a vote, of their mean and of their majority, on the test cases.

    Args:
        run: The run.
        test: The vote's test predictions, see `runs.voting.make_vote`.
        resampling: Resampling of these cases.
        interval: Kind of the intervals.

    Returns:
        The estimates; None for a run that is no vote.
    """
    if run.vote is None:
        return None
    tables = {
        f"{each.experiment}, seed {each.seed} ({place})": test.select("case_id").join(
            voter.predictions(), on="case_id", maintain_order="left"
        )
        for place, (each, voter) in enumerate(zip(run.vote.voters, run.voters, strict=True), 1)
    }
    tables |= {"mean": _of(test, "mean", run.classes), "majority": _of(test, "share", run.classes)}
    shares = test.select(f"share_{name}" for name in run.classes).to_numpy()
    auc = {}
    for name, table in tables.items():
        estimates = class_estimates(
            table, run.classes, resampling, ("auc",), interval=interval, exclusive=run.exclusive
        )
        auc[name] = {
            group: estimates["auc", group].summary(METRICS["auc"].bounds) for group in (MACRO, *run.classes)
        }
    return VoteResults(
        auc=auc,
        unanimous=int(((shares == 0) | (shares == 1)).all(1).sum()),
        tied=int((shares == 0.5).any(1).sum()),
    )


def _of(test: pl.DataFrame, prefix: str, classes: Sequence[str]) -> pl.DataFrame:
    """The test predictions with other probabilities."""
    return test.with_columns(pl.col(f"{prefix}_{name}").alias(f"probability_{name}") for name in classes)
