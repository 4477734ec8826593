"""Networks that classify grey images, some of them with gaze as a second input."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from radgaze.models.architectures import create, forward, inputs, scoring
    from radgaze.models.config import ModelConfig
    from radgaze.models.output import Output
    from radgaze.models.saved import is_saved, load, load_classes, save

__all__ = [
    "ModelConfig",
    "Output",
    "create",
    "forward",
    "inputs",
    "is_saved",
    "load",
    "load_classes",
    "save",
    "scoring",
]

_MODULES = {
    "ModelConfig": "config",
    "Output": "output",
    "create": "architectures",
    "forward": "architectures",
    "inputs": "architectures",
    "is_saved": "saved",
    "load": "saved",
    "load_classes": "saved",
    "save": "saved",
    "scoring": "architectures",
}


def __getattr__(name: str) -> object:
    # The command line imports the configuration, and must not wait for torch.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
