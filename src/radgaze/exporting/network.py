"""The network of a run as the function that is exported, with examples of its inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from radgaze import models
from radgaze.attribution.generator import Generator
from radgaze.attribution.registry import PRESETS, REGISTRY, presets
from radgaze.console import note
from radgaze.errors import UserError, call, close_to
from radgaze.exporting.options import AUTO, NONE, ExportOptions
from radgaze.exporting.serving import Heatmaps, Serving
from radgaze.exporting.tracing import EXAMPLES, Dynamic, traced
from radgaze.predicting.predictor import Predictor
from radgaze.runs.run import Run

ONE_PASS = (
    *("backprop", "input_x_gradient", "deconvnet", "guided_backprop", "cam", "grad_cam", "grad_cam_pp"),
    *("grad_cam_positive", "hires_cam", "layer_cam", "guided_grad_cam"),
    *("attention", "attention_rollout", "relevance", "pylon"),
)
"""Methods whose map is a formula of one forward pass and its gradients. The others draw random numbers, or
run the network dozens of times."""

Create: TypeAlias = Callable[[nn.Module], Generator]


@dataclass(frozen=True)
class Exported:
    """A run as a graph of torch's operations.

    Attributes:
        run: The run.
        predictor: Its models and rule, which the graph is compared with.
        serving: The function that the graph computes.
        graph: The graph.
        inputs: Names of its inputs.
        example: Inputs for `EXAMPLES` images.
        dynamic: The dimensions of each input that may have another size.
        method: Name of the heatmap's method; None without one.
        target: Class of the heatmap, as the option.
        create: Function that makes the heatmap's generator for a model; None without one.
    """

    run: Run
    predictor: Predictor
    serving: Serving
    graph: GraphModule
    inputs: tuple[str, ...]
    example: tuple[Tensor, ...]
    dynamic: Dynamic
    method: str | None
    target: str
    create: Create | None

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return self.serving.names


def exported(run: Run, options: ExportOptions) -> Exported:
    """Record a run as a graph.

    Raises:
        UserError: The network, or the heatmap that was asked for, cannot be exported.
    """
    check_target(run, options)
    if run.config.model.needs_gaze and not run.config.model.network.gaze_map:
        raise UserError(
            f"the network of {run.path} reads a sequence of gaze maps of any length, which no graph of a "
            "fixed form takes: set `to=hub`, whose folder radgaze loads"
        )
    predictor = Predictor.of(run, "cpu")
    for model in predictor.models:
        model.requires_grad_(requires_grad=False)
    example = _example(run)
    if options.heatmap != NONE:
        made = _with_heatmap(run, predictor, options, example)
        if made is not None:
            return made
    return _recorded(run, predictor, None, None, options, example)


def check_target(run: Run, options: ExportOptions) -> None:
    """Check the names of heatmap and target, before torch does anything.

    Raises:
        UserError: There is no such method or class.
    """
    targets = ("predicted", "all", *run.classes)
    if options.target not in targets:
        raise UserError(f"`target` must be one of {', '.join(targets)}, got {options.target}")
    choices = (AUTO, NONE, *PRESETS)
    if options.heatmap not in choices:
        raise UserError(
            f"`heatmap` must be {AUTO}, {NONE} or a method, got {options.heatmap}"
            f"{close_to(options.heatmap, choices)}"
        )


def _with_heatmap(
    run: Run, predictor: Predictor, options: ExportOptions, example: tuple[Tensor, ...]
) -> Exported | None:
    """The graph with a heatmap; None where one that was not named cannot be exported, which is told."""
    named = options.heatmap != AUTO
    method = options.heatmap if named else run.generator(models.scoring(predictor.models[0])).name
    try:
        _check_method(method, predictor.models, run.config.input.size)
        create: Create = PRESETS[method].create if named else run.generator
        heatmaps = Heatmaps(method, [create(model) for model in predictor.models], _target(run, options))
        return _recorded(run, predictor, heatmaps, create, options, example)
    except UserError as error:
        reason = str(error)
    except Exception as error:  # of the tracer: torch's classes for what it cannot record are many
        reason = f"the heatmap {method} of this network cannot be recorded as a graph: {first_cause(error)}"
    if named:
        raise UserError(f"{reason}; {_instead(run, predictor, method)}")
    note(f"{reason}; the graph has no heatmap")
    return None


def _check_method(method: str, networks: Sequence[nn.Module], size: int) -> None:
    if method not in ONE_PASS:
        raise UserError(
            f"the heatmap {method} cannot be exported: it draws random numbers, or runs the network many "
            "times"
        )
    for model in networks:
        why = REGISTRY[PRESETS[method].generator].unsupported(models.scoring(model), size)
        if why is not None:
            raise UserError(f"the heatmap {method} cannot be exported: {why}")


def _instead(run: Run, predictor: Predictor, method: str) -> str:
    able = presets(models.scoring(predictor.models[0]), run.config.input.size)
    others = [name for name in ONE_PASS if name in able and name != method]
    return f"others that apply to it are {', '.join(others)}; or set `heatmap=none`"


def _target(run: Run, options: ExportOptions) -> int | str | None:
    if options.target == "predicted":
        return None
    return "all" if options.target == "all" else run.classes.index(options.target)


def _example(run: Run) -> tuple[Tensor, ...]:
    size, draw = run.config.input.size, torch.Generator().manual_seed(0)
    shape = (EXAMPLES, 1, size, size)
    image = torch.rand(shape, generator=draw)
    return (image, torch.rand(shape, generator=draw)) if takes_gaze(run) else (image,)


def takes_gaze(run: Run) -> bool:
    """Whether the network takes a gaze map beside the image."""
    return run.config.model.reads_gaze and not run.config.model.without_gaze


def _recorded(
    run: Run,
    predictor: Predictor,
    heatmaps: Heatmaps | None,
    create: Create | None,
    options: ExportOptions,
    example: tuple[Tensor, ...],
) -> Exported:
    rule = predictor.referral
    networks = predictor.models
    with torch.inference_mode():
        masks = all(model(*example).mask is not None for model in networks)
    serving = Serving(
        networks,
        run.config.objective.classification,
        run.vote,
        None if rule is None or rule.magnitude else rule,
        heatmaps,
        masks,
    )
    dynamic = [frozenset({0})] * len(example)
    try:
        with torch.set_grad_enabled(heatmaps is not None):
            graph = traced(serving, example, dynamic)
    except Exception as error:
        if heatmaps is not None:
            raise
        raise UserError(
            f"the network of {run.path} cannot be recorded as a graph: {first_cause(error)}; "
            "set `to=hub`, whose folder radgaze loads"
        ) from error
    inputs = ("image", "gaze")[: len(example)]
    method = None if heatmaps is None else heatmaps.name
    return Exported(run, predictor, serving, graph, inputs, example, dynamic, method, options.target, create)


def first_cause(error: BaseException) -> str:
    """The innermost cause of an error of torch's tools, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join((str(error) or type(error).__name__).split())[:300]


def refused(run: Run, what: str) -> UserError:
    """The error about a format that a run cannot have."""
    return UserError(f"{what}; {call('export', run.path, to='onnx')} takes it")
