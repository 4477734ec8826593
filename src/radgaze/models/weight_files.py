"""Reading of files of weights as named tensors. No code in a file is ever run.

A file of torch that holds a whole module, as those of torchxrayvision do, is read as well: each of its
modules becomes an inert object of `Stub`, whose parameters and buffers are collected. Neither the module's
class is imported nor any of its methods called. Whole modules in the format before torch 1.6 are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from radgaze.errors import UserError

NESTED = ("state_dict", "model_state_dict", "model", "module", "net")
"""Items of a checkpoint that may hold the weights."""


class Stub:
    """Stands in for a module in a file: it keeps the module's attributes and does nothing."""

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)


MODULES = (
    *(f"torch.nn.modules.container.{name}" for name in ("Sequential", "ModuleList", "ModuleDict")),
    *(f"torch.nn.modules.conv.{name}" for name in ("Conv2d",)),
    *(f"torch.nn.modules.batchnorm.{name}" for name in ("BatchNorm1d", "BatchNorm2d")),
    *(f"torch.nn.modules.pooling.{name}" for name in ("MaxPool2d", "AvgPool2d", "AdaptiveAvgPool2d")),
    *(f"torch.nn.modules.activation.{name}" for name in ("ReLU", "Sigmoid")),
    *("torch.nn.modules.linear.Linear", "torch.nn.modules.linear.Identity"),
    *("torch.nn.modules.dropout.Dropout", "torch.nn.parallel.data_parallel.DataParallel"),
    *(f"torchxrayvision.models.{name}" for name in ("DenseNet", "_DenseLayer", "_DenseBlock", "_Transition")),
    *(
        f"torchvision.models.densenet.{name}"
        for name in ("DenseNet", "_DenseLayer", "_DenseBlock", "_Transition")
    ),
    *(f"torchvision.models.resnet.{name}" for name in ("ResNet", "BasicBlock", "Bottleneck")),
)
"""Classes of modules that a file may name, and that become a `Stub`."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a file's tensors by name: safetensors, or a state dict or a module that torch wrote.

    Raises:
        UserError: The file holds no weights, or code that would have to run.
    """
    try:
        safe = path.suffix == ".safetensors"
        content: object = load_file(path) if safe else _of_torch(path)
        tensors = _tensors(content)
    except Exception as error:  # a broken pickle may raise anything, and one that contains itself has no end
        raise UserError(
            f"`model.weights` must be safetensors, or a state dict of torch without code in it; {path} is"
            " neither; of a whole module store the state_dict alone, where you trust the file"
        ) from error
    if not tensors:
        raise UserError(
            f"`model.weights` must be weights of the encoder; those of {path} are not (a "
            f"{type(content).__name__} without named tensors)"
        )
    return tensors


def _of_torch(path: Path) -> object:
    stubs = {name: type(name.rpartition(".")[2], (Stub,), {}) for name in MODULES}
    with torch.serialization.safe_globals([(stub, name) for name, stub in stubs.items()]):
        return torch.load(path, "cpu", weights_only=True)


def _tensors(content: object) -> dict[str, Tensor]:
    """The named tensors of a state dict, of a checkpoint with one in it, or of a module."""
    if isinstance(content, Stub):
        return dict(_of_stub(content, ""))
    if not isinstance(content, Mapping):
        return {}
    for name in NESTED:
        if isinstance(content.get(name), Mapping | Stub) and (tensors := _tensors(content[name])):
            return tensors
    named = {str(name): value for name, value in content.items() if isinstance(name, str)}
    return {name: value for name, value in named.items() if isinstance(value, Tensor)}


def _of_stub(module: Stub, prefix: str) -> Iterator[tuple[str, Tensor]]:
    """The parameters and buffers of a module's stub, named as its state dict would."""
    for kind in ("_parameters", "_buffers"):
        for name, value in _items(module, kind):
            if isinstance(value, Tensor):
                yield f"{prefix}{name}", value.detach()
    for name, child in _items(module, "_modules"):
        if isinstance(child, Stub):
            yield from _of_stub(child, f"{prefix}{name}.")


def _items(module: Stub, kind: str) -> list[tuple[str, object]]:
    held = module.__dict__.get(kind)
    return [(str(name), value) for name, value in held.items()] if isinstance(held, Mapping) else []
