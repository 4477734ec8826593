"""Make a vote of several runs: a folder that is evaluated, explained and compared like a run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import polars as pl

from radgaze import records
from radgaze.errors import UserError
from radgaze.files import clear_leftovers, is_leftover
from radgaze.models.config import given_of
from radgaze.outputs import check_folder
from radgaze.runs import origin, settings, vote
from radgaze.runs.config import Config
from radgaze.runs.run import PREDICTIONS, Run
from radgaze.runs.vote import Vote, VoteOptions, Voter
from radgaze.store.digest import file_digest
from radgaze.tables import write_parquet
from radgaze.words import count


def make_vote(runs: Sequence[Run], options: VoteOptions) -> Run:
    """Write the vote of several runs of one store and split into a folder.

    The folder holds config.yaml, store.json, vote.json and predictions.parquet. Beside the combined
    `probability_<class>` the predictions have `mean_<class>` and `share_<class>`, the mean of the runs'
    probabilities and the share of runs that exceed the threshold, whatever the rule.

    Args:
        runs: At least two runs; their order does not matter to the result.
        options: The options.

    Returns:
        The vote, as a run.

    Raises:
        UserError: The runs cannot be combined, or the folder holds something else.
    """
    out = Path(os.path.abspath(options.out))  # noqa: PTH100  resolve() would follow a link
    check_folder(out, may_be=("run",))
    tables = check(runs)
    made = Vote(options.rule, options.threshold, tuple(_voter(run, options, out) for run in runs))
    _check_new(out, made)
    predictions = _predictions(runs[0].classes, tables, made)
    out.mkdir(parents=True, exist_ok=True)
    clear_leftovers(out)
    # First, so that an interrupted vote is known as this one, and can be repeated.
    records.write(made, out / vote.FILE)
    settings.write(_config(runs, options), out / "config.yaml")
    origin.write(runs[0].store, out)
    write_parquet(predictions, out / PREDICTIONS)
    return Run.open(out, model=given_of(runs[0].config.model))


def check(runs: Sequence[Run]) -> list[pl.DataFrame]:
    """Check that runs can be combined; return their predictions, in the order of the first one's cases.

    Raises:
        UserError: There are fewer than two, two have the same weights, one was trained on patients that
            another one tests, or their stores, splits, classes, images or gaze maps differ.
    """
    if len(runs) < 2:
        raise UserError("a vote needs at least two runs")
    first = runs[0]
    digests = dict[str, Run]()
    for run in runs:
        if run.vote is not None:
            raise UserError(f"{run.path} is a vote itself; name the runs that it is of")
        same = digests.setdefault(_weights(run), run)
        if same is not run:
            raise UserError(f"{same.path} and {run.path} have the same weights: one model votes once")
    for run in runs[1:]:
        if run.classes != first.classes:
            raise UserError(
                f"{first.path} and {run.path} have different classes: {', '.join(first.classes)} against "
                f"{', '.join(run.classes)}; vote over runs of the same classes"
            )
        differ = origin.differences(*(origin.contents(each.store) for each in (first, run)))
        if differ:
            raise UserError(
                f"{first.path} and {run.path} are of different stores, {differ}; vote over runs of one store"
            )
    check_leaks(runs)
    for run in runs[1:]:
        if origin.drawn(run.store) != origin.drawn(first.store):
            raise UserError(
                f"{first.path} and {run.path} have different splits: their training, validation or test "
                "cases are not the same; vote over runs of one split"
            )
        _check_alike(first, run)
    return _aligned(runs)


def check_leaks(runs: Sequence[Run]) -> None:
    """Check that no run was trained on a patient that is tested.

    Raises:
        UserError: One was; the message has the number of patients, and none of them by name.
    """
    for tested in runs:
        test = _patients(tested, "test")
        for trained in runs:
            leaked = test & _patients(trained, "train")
            if leaked:
                raise UserError(
                    f"{trained.path} was trained on {count(len(leaked), 'patient')} that {tested.path} "
                    "tests: their vote would be tested on training data; vote over runs of one split"
                )


def _patients(run: Run, split: str) -> set[int]:
    return set(run.store.cases.filter(pl.col("split") == split)["patient"])


def _check_alike(first: Run, run: Run) -> None:
    """Raise UserError where two runs have other inputs, probabilities, sizes of maps, or gaze maps."""
    reads_gaze = first.config.model.reads_gaze or run.config.model.reads_gaze
    architectures = (first.config.model.architecture, run.config.model.architecture)
    for name, one, other in (
        *([("model.architecture", *architectures)] if reads_gaze else []),
        ("objective.classification", *(each.config.objective.classification for each in (first, run))),
        ("input.size", first.config.input.size, run.config.input.size),
        ("input.fit", first.config.input.fit, run.config.input.fit),
        *(
            (f"gaze.{name}", value, asdict(run.config.gaze)[name])
            for name, value in asdict(first.config.gaze).items()
        ),
    ):
        if one != other:
            raise UserError(
                f"{first.path} and {run.path} differ in `{name}`, {one} against {other}, so that their "
                "inputs, probabilities or maps do not fit together; vote over runs with the same"
            )


def _aligned(runs: Sequence[Run]) -> list[pl.DataFrame]:
    """The predictions of each run, in the order of the first one's cases."""
    first = runs[0].predictions()
    keys = ["case_id", "split", *(f"label_{name}" for name in runs[0].classes)]
    tables = []
    for run in runs:
        table = first.select("case_id").join(run.predictions(), on="case_id", maintain_order="left")
        if table.height != run.predictions().height or not table.select(keys).equals(first.select(keys)):
            raise UserError(
                f"{runs[0].path} and {run.path} predicted different cases or labels; predict again with the "
                "one that is older"
            )
        tables.append(table)
    return tables


def _predictions(classes: Sequence[str], tables: Sequence[pl.DataFrame], made: Vote) -> pl.DataFrame:
    """The combined predictions, with the mean and the share of votes beside them."""
    values = np.stack(
        [table.select(f"probability_{name}" for name in classes).to_numpy() for table in tables]
    )
    by_rule = {
        "probability": made,
        "mean": replace(made, rule="mean"),
        "share": replace(made, rule="majority"),
    }
    columns = {
        f"{prefix}_{name}": rows[:, k]
        for prefix, each in by_rule.items()
        for rows in (vote.probabilities(each, values),)
        for k, name in enumerate(classes)
    }
    return tables[0].with_columns(**{name: pl.Series(column) for name, column in columns.items()})


def _voter(run: Run, options: VoteOptions, out: Path) -> Voter:
    validate = run.predictions().filter(pl.col("split") == "validate")
    thresholds = [vote.HALF for _ in run.classes]
    if options.threshold == "validation":
        thresholds = [
            vote.best_threshold(validate[f"label_{name}"], validate[f"probability_{name}"])
            for name in run.classes
        ]
    path = Path(os.path.relpath(run.path.resolve(), out.resolve())).as_posix()
    return Voter(path, run.experiment, run.config.seed, _weights(run), tuple(thresholds))


def _weights(run: Run) -> str:
    _ = run.classes  # a damaged model is told in its own words
    return file_digest(run.weights)


def _config(runs: Sequence[Run], options: VoteOptions) -> Config:
    """The configuration of the first run, named after the vote; chosen on the test cases where any was."""
    names = "_".join(dict.fromkeys(run.experiment for run in runs))
    first = runs[0].config
    on_test = any(run.config.selection == "test" for run in runs)
    honest = any(run.config.protocol == "honest" for run in runs)
    return replace(
        first,
        experiment=f"{options.rule}_of_{len(runs)}_{names}",
        selection="test" if on_test else "validate",
        protocol="honest" if honest else "faithful",
    )


def _check_new(out: Path, made: Vote) -> None:
    """Raise UserError where a folder holds something else than this vote."""
    if not out.exists() or all(is_leftover(each, vote.FILE) for each in out.iterdir()):
        return
    existing = vote.read(out)
    if existing is None or _any_order(existing) != _any_order(made):
        raise UserError(f"{out} is not empty and holds something else than this vote; choose another `out`")


def _any_order(made: Vote) -> Vote:
    """The vote with its runs in an order that depends on them alone."""
    return replace(made, voters=tuple(sorted(made.voters, key=lambda voter: voter.path)))
