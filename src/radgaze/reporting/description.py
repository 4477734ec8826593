"""Description of a run in words: experiment, data and configuration, without paths or names of persons."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING

import polars as pl
import yaml

from radgaze import experiments
from radgaze.errors import UserError
from radgaze.evaluation.results import EvaluationResults
from radgaze.files import read_yaml
from radgaze.models.weight_sources import is_path
from radgaze.objectives import distances
from radgaze.objectives.schedules import CONSTANT
from radgaze.objectives.terms import further
from radgaze.objectives.terms.edge import in_words
from radgaze.reporting.attention import Attention, attention_of, told_of
from radgaze.reporting.pretraining import input_words, weights_words
from radgaze.reporting.wording import count, listed, number
from radgaze.runs import dates, resumed
from radgaze.runs.controls import WORDS
from radgaze.runs.history import best_epoch
from radgaze.runs.origin import StoreChangedError
from radgaze.runs.vote import Vote
from radgaze.version import __version__

if TYPE_CHECKING:
    from radgaze.models.config import ModelConfig
    from radgaze.objectives.config import Edge, ObjectiveConfig, WeightConfig
    from radgaze.runs.run import Run


@dataclass(frozen=True)
class StoreFacts:
    """Facts about the store of a run; empty where the store is missing.

    Attributes:
        source: Name of its source.
        cases: Number of its cases.
        rejections: Number of cases that were left out, by the reason.
        attention: What its cases have in the place of attention.
    """

    source: str | None = None
    cases: int | None = None
    rejections: Mapping[str, int] = field(default_factory=dict)
    attention: Attention = "gaze"


def store_facts(run: Run) -> StoreFacts:
    """Read the facts from the manifest of a run's store; empty facts where the store is missing.

    Raises:
        StoreChangedError: The store is not the one on which the run was trained.
    """
    try:
        manifest = run.store.manifest
    except StoreChangedError:
        raise
    except UserError:
        return StoreFacts()
    counts = manifest.get("counts") or {}
    return StoreFacts(
        manifest.get("source"),
        counts.get("cases"),
        counts.get("rejections") or {},
        attention_of(run.store),
    )


def experiment_of(run: Run) -> str:
    """Return the name of a run's experiment, with its control."""
    return experiments.with_control(run.experiment, run.config.gaze.control)


def summary(run: Run, facts: StoreFacts, *, exclusive: bool = True) -> str:
    """State in two sentences which model was trained on which data, and how gaze was used."""
    config = run.config
    network = config.model.network.title
    if not config.model.has_own_encoder:
        network = f"{network} ({config.model.encoder}{config.model.tuning})"
    data = ""
    if facts.cases:
        data = f", from a store of {count(facts.cases, 'case')} of “{facts.source or 'unknown'}”"
    edges = [_edge_words(edge, weighted.distance) for edge, weighted in config.objective.edges.items()]
    edges += [term.summary for term in further(config.objective).values()]
    changed = config.counterfactual
    if edges:
        supervision = told_of(f"Besides the labels, {listed(edges)}.", facts.attention)
    elif changed.uses_gaze:
        supervision = "It learned from the labels alone."
    else:
        supervision = told_of("It learned from the labels alone; gaze had no part in it.", facts.attention)
    if config.model.reads_gaze or config.model.without_gaze:
        supervision = _gaze_as_input(config.model, edges)
    supervision = f"{supervision} {changed.summary}".strip()
    if config.gaze.control != "none":
        supervision += (
            f" It is a control: in training, {WORDS[config.gaze.control]} stood in for the gaze on each "
            "case. It is evaluated with the true gaze."
        )
    task = (
        f"to distinguish {listed(run.classes)}"
        if exclusive
        else f"to find {listed(run.classes)}, each independently of the others"
    )
    if run.vote is not None:
        return f"{vote_words(run.vote)} The first of them: a {network} trained {task}{data}. {supervision}"
    return f"A {network} trained {task}{data}. {supervision}"


def _edge_words(edge: Edge, distance: str) -> str:
    """State what an edge of the triangle did to its map, as the end of a sentence."""
    registered = distances.REGISTRY.get(distance)
    if registered is None or registered.effect is None:
        return edge.summary
    predicted, target = edge.ends
    return f"{in_words(predicted)} {registered.effect} {in_words(target)}"


def _gaze_as_input(model: ModelConfig, edges: Sequence[str]) -> str:
    """State how gaze is an input, besides the labels and edges that a run learned from."""
    learned = f"It learned from the labels{', and besides ' + listed(edges) if edges else ''}"
    if model.without_gaze:
        return f"{learned}. Its network could read gaze, and was given none."
    withheld = (
        f" In training, a case's gaze was withheld with a probability of {number(model.gaze_dropout, 2)}."
        if model.gaze_dropout
        else ""
    )
    return (
        f"{learned}, and reads the gaze on a case beside its image, also when tested.{withheld} That is "
        "another task than to predict from the image alone: a reader has already looked at it."
    )


def vote_words(vote: Vote) -> str:
    """Say which runs are combined, and how, as a sentence."""
    names = listed(
        [f"{PurePath(voter.path).name} ({voter.experiment}, seed {voter.seed})" for voter in vote.voters]
    )
    how = "The mean" if vote.rule == "mean" else "The majority vote"
    return f"{how} of {len(vote.voters)} runs: {names}."


def facts(run: Run, results: EvaluationResults, store: StoreFacts) -> list[tuple[str, str]]:
    """Return name and value of each setting that identifies the run."""
    config, settings = run.config, results.settings
    history, stages = run.history(), resumed.read(run.path)
    edges = [
        f"{edge.label} {weight_words(weighted)} ({weighted.distance})"
        for edge, weighted in config.objective.edges.items()
    ]
    edges += [f"{name} {weight_words(config.objective.terms[name])}" for name in further(config.objective)]
    weights = weights_words(config.model.weights).rsplit("/", 1)[-1]
    values = [
        ("Experiment", experiment_of(run)),
        ("Data source", store.source),
        ("Protocol", config.protocol),
        ("Starting weights", None if config.model.has_own_encoder else weights),
        ("Input of the encoder", input_words(run)),
        ("Edges", told_of(", ".join(edges) or "none", store.attention)),
        ("Gaze in training", f"control {config.gaze.control}" if config.gaze.control != "none" else None),
        ("Share of classification (γ)", _gamma(config.objective) if edges else None),
        ("Heatmap shown", f"{settings.generator}, {settings.target} class"),
        ("Epochs", str(history["epoch"].n_unique()) if not history.is_empty() else None),
        ("Best epoch", _best_epoch(history, config.selection)),
        ("Resumed with other settings", None if stages is None else stages.words),
        ("Trained on", _days_of_training(run)),
        ("Evaluated on", dates.read(run.path).evaluated),
        ("Seeds" if run.vote else "Seed", _seeds(run)),
        ("Software", f"radgaze {results.software or __version__}"),
    ]
    return [(name, value) for name, value in values if value]


def _best_epoch(history: pl.DataFrame, selection: str) -> str | None:
    best = best_epoch(history, selection)
    by = "validation" if selection == "validate" else selection
    return None if best is None else f"{best[0]}, {by} AUC {number(best[1])}"


def _days_of_training(run: Run) -> str:
    """The day on which a run was trained, or the days of the runs of a vote; empty where none is known."""
    folders = [run.path] if run.vote is None else [run.path / voter.path for voter in run.vote.voters]
    days = {dates.read(folder).trained for folder in folders}
    return listed(sorted(day for day in days if day is not None))


def weight_words(weighted: WeightConfig) -> str:
    """Say the weight of an edge or a term, and what multiplies it in training."""
    balance = " · balanced at the start" if weighted.balance == "start" else ""
    schedule = "" if weighted.schedule == CONSTANT else f" · {weighted.schedule}"
    return number(weighted.weight, 2) + balance + schedule


def _gamma(objective: ObjectiveConfig) -> str:
    schedule = objective.gamma_schedule
    return number(objective.gamma, 3) + ("" if schedule == CONSTANT else f" · {schedule}")


def _seeds(run: Run) -> str:
    seeds = [run.config.seed] if run.vote is None else [voter.seed for voter in run.vote.voters]
    return ", ".join(map(str, seeds))


def configuration(run: Run) -> str:
    """Return RUN/config.yaml with every path shortened to its last part."""
    file = run.path / "config.yaml"
    if not file.is_file():
        return ""
    # By value: in the text of the file a long path is folded into several lines.
    shortened = _without_paths(read_yaml(file))
    words: str = yaml.safe_dump(
        shortened, sort_keys=False, default_flow_style=False, width=10**6, allow_unicode=True
    )
    return words


def _without_paths(value: object, name: str = "") -> object:
    """Shorten the paths among nested values, each a path as a whole, which may contain quotation marks.

    Args:
        value: A value of the configuration.
        name: Its name, as `model.weights`.
    """
    if isinstance(value, Mapping):
        return {key: _without_paths(each, f"{name}.{key}".lstrip(".")) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_paths(each) for each in value]
    if not isinstance(value, str):
        return value
    if name in _FILES and (name != "model.weights" or is_path(value)):  # a path that may be relative
        return re.sub(r"^.*[/\\](?=[^/\\])", "…/", value, flags=re.DOTALL)
    return re.sub(_PATH.format(""), "…/", value)


def without_paths(text: str) -> str:
    """Shorten every path in a text to its last part: a folder's name may identify the owner of the data."""
    return re.sub(_PATH.format("\\n'\""), "…/", text)


_PATH = r"(?:~|[A-Za-z]:|\.{{1,2}})?(?:[/\\][^/\\{0}]*)+[/\\](?=[^/\\\n])"
"""All of a path but its last part; to be formatted with the characters that end a path."""
_FILES = ("data", "model.weights", "model.weights_dir", "model.pretraining_ids")
"""Settings that name a file or folder."""
