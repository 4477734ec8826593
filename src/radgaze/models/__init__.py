"""Networks: grey images in, and gaze for some; `Output` with logits and masks out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from radgaze.models.architectures import create, forward, inputs, scoring
    from radgaze.models.config import ModelConfig
    from radgaze.models.saved import load, save
    from radgaze.models.unet import Output

__all__ = ["ModelConfig", "Output", "create", "forward", "inputs", "load", "save", "scoring"]

_WHERE = {
    "ModelConfig": "config",
    "Output": "unet",
    "create": "architectures",
    "forward": "architectures",
    "inputs": "architectures",
    "load": "saved",
    "save": "saved",
    "scoring": "architectures",
}


def __getattr__(name: str) -> Any:
    # The configuration is asked for by the command line, which must not wait for torch.
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
