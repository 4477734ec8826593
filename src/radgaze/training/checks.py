"""What the types of a configuration let through, and a run could not be trained with."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from radgaze import attribution, experiments, models
from radgaze.attribution.readout import READOUTS
from radgaze.errors import UserError
from radgaze.gaze.spec import GazeMaps, Geometry
from radgaze.objectives import distances
from radgaze.objectives.config import Map
from radgaze.runs import settings
from radgaze.runs.config import Config
from radgaze.runs.run import unmet
from radgaze.store.batch import Batch, collate
from radgaze.store.dataset import GazeDataset
from radgaze.store.store import Store

SEEDS = 2**32 - 1
"""The highest seed that NumPy takes."""

RANGES: dict[str, str] = {
    "seed": f"[0, {SEEDS}]",
    "split.seed": f"[0, {SEEDS}]",
    "model.dropout": "[0, 1)",
    "model.decoder_channels": "[1, inf)",
    "model.pylon_channels": "[1, inf)",
    "model.frame_seconds": "(0, inf)",
    "model.most_frames": "[1, inf)",
    "input.size": "[32, 8192]",
    "gaze.sigma": "(0, inf)",
    "gaze.pixels_per_degree": "(0, inf)",
    "objective.gamma": "[0, 1]",
    "objective.mask_gaze.weight": "[0, inf)",
    "objective.heatmap_gaze.weight": "[0, inf)",
    "objective.mask_heatmap.weight": "[0, inf)",
    "objective.heatmap.margin": "[0, 0.5)",
    "objective.heatmap.cells": "[1, inf)",
    "objective.heatmap.scales": "[1, inf)",
    "optimisation.learning_rate": "(0, inf)",
    "optimisation.weight_decay": "[0, inf)",
    "optimisation.batch_size": "[1, inf)",
    "optimisation.gaze_fraction": "(0, 1)",
    "optimisation.warmup_epochs": "[0, inf)",
    "optimisation.step_epochs": "[1, inf)",
    "optimisation.clip_at": "(0, inf)",
    "trainer.max_epochs": "[1, inf)",
    "trainer.patience": "[0, inf)",
    "trainer.workers": "[0, inf)",
    "trainer.num_nodes": "[1, inf)",
}
"""The interval that a field's value, or each of its values, lies in; None is let through."""

ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
PRECISIONS = ("auto", "32-true", "32", "16-mixed", "bf16-mixed")
"""Those that a batch of radgaze can be trained in: its fixations and boxes stay in 32 bits."""

STRATEGIES = ("auto", "ddp", "ddp_spawn", "ddp_find_unused_parameters_true", "ddp_notebook")
"""Lightning's others may write to places of their own, or shard what a heatmap is read out of."""

CHANGEABLE = ("data", "trainer.", "input.cache")
"""Fields that a run may take other values of when it goes on: they do not say what is learned."""

WIDEST = 10
"""Sigma at most, in long sides of an image."""

FEW_CASES, FEW_SHARE = 20, 0.05
"""Where fewer cases with gaze, or a lower share of the training cases, is told of."""


def check(config: Config, store: Store) -> None:
    """Check the configuration, by itself and against the store.

    Raises:
        UserError: A value is out of range, or does not fit another one or the store.
    """
    _check_ranges(config)
    _check_objective(config)
    _check_store(config, store)


def check_unchanged(before: Config, config: Config) -> None:
    """Check that a run that goes on is the one that was begun.

    Raises:
        UserError: A field that says what is learned has another value.
    """
    old, new = (experiments.flat(settings.to_dict(each)) for each in (before, config))
    changed = [name for name in new if new[name] != old.get(name) and not name.startswith(CHANGEABLE)]
    if changed:
        name = changed[0]
        raise UserError(
            f"the run began with --{name} {_written(old.get(name))} and cannot go on with "
            f"{_written(new[name])}; leave out {', '.join(f'--{each}' for each in changed)}, or train "
            "another run"
        )


def check_gaze(config: Config, cases: GazeDataset) -> str | None:
    """Check that there is gaze to learn from; return a notice where there is little.

    Raises:
        UserError: No training case has gaze that makes a map, nor boxes or masks in its place.
    """
    learning = [edge for edge in config.objective.edges if Map.GAZE in edge.ends]
    if not (learning or config.model.reads_gaze):
        return None
    use = (
        f"the edge {', '.join(learning)} learns"
        if learning
        else f"the model {config.model.architecture} reads"
    )
    usable, count = int(cases.attended.sum()), len(cases)
    if not usable:
        raise UserError(
            f"none of the {count} training cases has gaze that makes a map, and {use} from it: every "
            "fixation lies off its image or, with --gaze.weight duration, lasts 0 seconds; see "
            "`radgaze inspect STORE`"
        )
    if usable < min(FEW_CASES, count) or usable < FEW_SHARE * count:
        return (
            f"only {usable:,} of {count:,} training cases have gaze, and {use} from it; the others train the "
            "classification alone (--optimisation.gaze_fraction draws those with gaze more often)"
        )
    return None


def check_network(model: nn.Module, config: Config, cases: GazeDataset) -> None:
    """Run two cases through the network, and make their heatmap where the objective needs one.

    Raises:
        UserError: The encoder does not work at this size, or the generator not with this network.
    """
    batch = collate([cases[i] for i in range(min(2, len(cases)))])
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.random.fork_rng():
            try:
                with torch.no_grad():
                    models.forward(model, batch)
            except (RuntimeError, ValueError, AssertionError, IndexError, TypeError) as error:
                raise UserError(
                    f"--model.encoder {config.model.encoder} does not work with --input.size "
                    f"{config.input.size}: {_line(error)}"
                ) from error
            heatmap = config.objective.heatmap
            if config.objective.compares(Map.HEATMAP):
                options = {} if heatmap.readout is None else {"readout": heatmap.readout}
                problem = _problem(model, batch, heatmap.generator, options)
                if problem:
                    raise UserError(f"--objective.heatmap.generator {heatmap.generator}: {problem}")
            problem = _problem(model, batch, "grad_cam", {})
            if problem:
                raise UserError(
                    f"--model.encoder {config.model.encoder} has no feature map for Grad-CAM, which every "
                    f"run is evaluated with, at --input.size {config.input.size}: give a larger one "
                    f"({problem})"
                )
    finally:
        for module in training:
            module.training = True


def _problem(model: nn.Module, batch: Batch, name: str, options: dict[str, Any]) -> str | None:
    """Why a generator makes no map of this network's scores of this batch; None if it does."""
    try:
        generator = attribution.create(name, model, normalise="none", **options)
        with generator.capture(model) as read:
            read(models.forward(model, batch), "predicted", batch.label)
    except (RuntimeError, ValueError) as error:
        return _line(error)
    return None


def _check_ranges(config: Config) -> None:
    values = experiments.flat(settings.to_dict(config))
    for name, interval in RANGES.items():
        value = values[name]
        several = value if isinstance(value, list | tuple) else [value]
        if not several or not all(each is None or _inside(each, interval) for each in several):
            raise UserError(f"--{name} is {_written(value)}; it must be {_in_words(interval)}")
    if config.input.size % 32:
        raise UserError(f"--input.size {config.input.size} is not a multiple of 32, as the encoders need it")
    for name, known in (
        ("trainer.accelerator", ACCELERATORS),
        ("trainer.precision", PRECISIONS),
        ("trainer.strategy", STRATEGIES),
    ):
        _known(name, values[name], known)


def _check_objective(config: Config) -> None:
    goal, edges = config.objective, config.objective.edges
    for name, edge in edges.items():
        _known(f"objective.{name}.distance", edge.distance, distances.REGISTRY)
    able = attribution.names(differentiable=True)
    if goal.heatmap.generator in attribution.names(differentiable=False):
        raise UserError(
            f"--objective.heatmap.generator {goal.heatmap.generator} makes maps to look at, and cannot be"
            f" trained through; there are {', '.join(able)}"
        )
    _known("objective.heatmap.generator", goal.heatmap.generator, able)
    if goal.heatmap.readout is not None:
        _known("objective.heatmap.readout", goal.heatmap.readout, READOUTS)
    size = goal.heatmap.cells if goal.heatmap.match == "pool" else config.input.size
    if size > config.input.size:
        raise UserError(
            f"--objective.heatmap.cells {size} is more than the {config.input.size} px of an image"
        )
    if max(goal.heatmap.scales) > size:
        raise UserError(
            f"--objective.heatmap.scales {_written(list(goal.heatmap.scales))}: a map of {size} px cannot be "
            f"made coarser than by a factor of {size}"
        )
    missing = unmet(goal.heatmap.generator, config.model) if goal.compares(Map.HEATMAP) else None
    if missing:
        raise UserError(missing)
    if not config.model.has_mask and goal.compares(Map.MASK):
        raise UserError(f"the model {config.model.architecture} has no mask for the edge {', '.join(edges)}")


def _check_store(config: Config, store: Store) -> None:
    edges = config.objective.edges
    if config.model.reads_gaze and not store.readings.height:
        raise UserError(f"{store.path} holds no gaze, which the model {config.model.architecture} reads")
    if config.objective.classification == "softmax" and not store.exclusive:
        raise UserError(
            f"--objective.classification softmax is for classes that exclude each other, and those of "
            f"{store.path} do not: give sigmoid, or leave it out"
        )
    marked = bool(store.boxes.height or len(store.regions))
    boxes = config.gaze.boxes == "attention" and marked
    if config.objective.compares(Map.GAZE) and not store.readings.height and not boxes:
        hint = "; it holds boxes or masks, which take its place with --gaze.boxes attention"
        raise UserError(
            f"{store.path} holds no gaze, and the edge {', '.join(edges)} learns from it"
            + (hint if marked else "")
        )
    _check_sigma(config, store)


def _check_sigma(config: Config, store: Store) -> None:
    """A Gaussian much wider than every image makes flat maps, and takes time without bound."""
    gaze = config.gaze
    maps = GazeMaps(gaze.weight, gaze.sigma, gaze.unit, gaze.pixels_per_degree, boxes=gaze.boxes)
    shapes = store.cases.select("rows", "columns").unique().iter_rows()
    for rows, columns in shapes:
        if maps.image_sigma(Geometry(rows, columns, 1.0, 1.0)) <= WIDEST * max(rows, columns):
            return
    if store.cases.height:
        raise UserError(
            f"--gaze.sigma {gaze.sigma:g} with --gaze.unit {gaze.unit} is more than {WIDEST} times as wide "
            f"as every image of {store.path}"
        )


def _inside(value: float, interval: str) -> bool:
    low, high = (float(end) for end in interval[1:-1].split(","))
    above = value >= low if interval[0] == "[" else value > low
    below = value <= high if interval[-1] == "]" else value < high
    return bool(above and below and not math.isnan(value))


def _in_words(interval: str) -> str:
    low, high = (end.strip() for end in interval[1:-1].split(","))
    at_least = f"{'at least' if interval[0] == '[' else 'above'} {low}"
    return (
        at_least
        if high == "inf"
        else f"{at_least} and {'at most' if interval[-1] == ']' else 'below'} {high}"
    )


def _known(option: str, value: str, names: Iterable[str]) -> None:
    if value not in names:
        raise UserError(f"--{option} {value}: there is none of that name; there are {', '.join(names)}")


def _written(value: object) -> str:
    return "null" if value is None else str(value)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
