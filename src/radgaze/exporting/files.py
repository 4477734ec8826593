"""The graph as a file: ONNX, TorchScript, or an archive of torch.export."""

from __future__ import annotations

import copy
import inspect
import io
import json
import logging
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.fx import GraphModule

from radgaze.exporting.extras import check_extras
from radgaze.exporting.network import Exported

Values: TypeAlias = NDArray[Any]
Arrays: TypeAlias = dict[str, Values]
Runs: TypeAlias = Callable[[Arrays], Arrays]
"""A model that was written, run by the software that it is for: arrays by the names of inputs and outputs."""


def write_onnx(model: Exported, path: Path, about: Mapping[str, object]) -> Runs:
    """Write an ONNX file, with what `about` says among its metadata; return it as onnxruntime runs it."""
    check_extras("onnx")
    import onnx

    with quiet():
        program = torch.onnx.export(
            program_of(model),
            dynamo=True,
            input_names=list(model.inputs),
            output_names=list(model.outputs),
            optimize=True,
            verbose=False,
        )
    assert program is not None
    program.model.metadata_props["radgaze"] = json.dumps(about, ensure_ascii=False)
    program.model.doc_string = "Research use only. See model.json and README.md."
    program.save(str(path), external_data=False)
    onnx.checker.check_model(str(path))
    return run_onnx(path)


def run_onnx(path: Path) -> Runs:
    """Open an ONNX file with onnxruntime."""
    import onnxruntime  # type: ignore[import-untyped]

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    settings.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return lambda arrays: dict(zip(names, session.run(None, arrays), strict=True))


def write_torchscript(model: Exported, path: Path) -> Runs:
    """Write a TorchScript file; return it as torch alone runs it."""
    graph = for_tracing(model.graph)
    with quiet(), torch.no_grad():
        script = torch.jit.trace(graph, model.example, check_trace=False)  # type: ignore[no-untyped-call]
        _save(script, path)
        loaded = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    return _called(loaded, model)


def _save(script: torch.jit.ScriptModule, path: Path) -> None:
    """Save a trace without the stacks of its calls, which name folders of this machine and their owner."""
    whole = io.BytesIO()
    torch.jit.save(script, whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as made:
        for each in source.infolist():
            if not each.filename.endswith(".debug_pkl"):
                made.writestr(each, source.read(each))


def write_pt2(model: Exported, path: Path) -> Runs:
    """Write an archive of torch.export; return it as torch alone runs it."""
    with quiet():
        program = program_of(model)
        program._example_inputs = None  # it would be stored as a pickle
        torch.export.save(program, str(path))
        loaded = torch.export.load(str(path)).module()
    return _called(loaded, model)


def program_of(model: Exported) -> torch.export.ExportedProgram:
    """The graph as a program of torch.export, for any number of images."""
    cases = torch.export.Dim("batch", min=1, max=4096)
    shapes = ([{0: cases}] * len(model.example),)  # of the graph's *args
    if not _is_variadic(model.graph):
        shapes = tuple({0: cases} for _ in model.example)  # type: ignore[assignment]
    with quiet(), torch.no_grad():
        return torch.export.export(model.graph, model.example, dynamic_shapes=shapes, strict=False)


def _is_variadic(graph: GraphModule) -> bool:
    kinds = [each.kind for each in inspect.signature(graph.forward).parameters.values()]
    return inspect.Parameter.VAR_POSITIONAL in kinds


def for_tracing(graph: GraphModule) -> GraphModule:
    """The graph with torch's methods and functions where a number of images is asked for or used.

    A TorchScript trace records these, and takes the numbers that operations of `torch.ops` get as constants.
    """
    made = copy.deepcopy(graph)
    for node in made.graph.nodes:
        if node.target in _METHODS:
            node.op, node.target = "call_method", _METHODS[node.target]
        elif node.target in _FUNCTIONS:
            node.target = _FUNCTIONS[node.target]
    made.recompile()
    return made


_METHODS = {
    torch.ops.aten.sym_size.int: "size",
    torch.ops.aten.view.default: "reshape",
    torch.ops.aten._unsafe_view.default: "reshape",
    torch.ops.aten.expand.default: "expand",
    torch.ops.aten.new_zeros.default: "new_zeros",
    torch.ops.aten.new_ones.default: "new_ones",
    torch.ops.aten.new_full.default: "new_full",
}

_FUNCTIONS = {
    torch.ops.aten.full.default: torch.full,
    torch.ops.aten.zeros.default: torch.zeros,
    torch.ops.aten.ones.default: torch.ones,
}


def _called(function: Callable[..., tuple[Tensor, ...]], model: Exported) -> Runs:
    def run(arrays: Arrays) -> Arrays:
        with torch.no_grad():
            made = function(*(torch.from_numpy(np.asarray(arrays[name])) for name in model.inputs))
        return {name: value.numpy() for name, value in zip(model.outputs, made, strict=True)}

    return run


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporters' notes, which are for torch's developers, from the user."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [each.level for each in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for each in loggers:
            each.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for each, level in zip(loggers, levels, strict=True):
                each.setLevel(level)
