"""Weights: an encoder's to start from, and a trained model's to keep. Nothing is ever unpickled blindly."""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from radgaze import __version__
from radgaze.errors import UserError
from radgaze.models.config import ModelConfig


def save(model: nn.Module, config: ModelConfig, classes: tuple[str, ...], folder: Path) -> None:
    """Write `model.safetensors` and `config.json` (architecture, classes, software) into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"software": f"radgaze {__version__}"})
    about = {"software": f"radgaze {__version__}", "classes": list(classes), "model": asdict(config)}
    (folder / "config.json").write_text(json.dumps(about, indent=2) + "\n")


def load(folder: Path) -> tuple[nn.Module, tuple[str, ...]]:
    """The model and class names kept in a folder by `save`; the model is in evaluation mode.

    Raises:
        UserError: The folder holds no model, or a broken one.
    """
    from radgaze.models.unet import create

    try:
        about = json.loads((folder / "config.json").read_text())
        config = ModelConfig(**{**about["model"], "weights": "none"})
        model = create(config, len(about["classes"]))
        model.load_state_dict(load_file(folder / "model.safetensors"))
    except FileNotFoundError as error:
        raise UserError(
            f"{folder} holds no trained model: {Path(str(error.filename)).name} is missing"
        ) from error
    except (SafetensorError, RuntimeError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise UserError(f"the model in {folder} cannot be read: {str(error).splitlines()[0]}") from error
    return model.eval(), tuple(about["classes"])


def load_encoder(encoder: nn.Module, path: str) -> None:
    """Load an encoder's weights from a file: safetensors, or a state dict of torch read with `weights_only`.

    Raises:
        UserError: No such file, not weights, or weights of another encoder.
    """
    file = Path(path)
    if not file.is_file():
        raise UserError(
            f"--model.weights {path}: no such file; name a file, or imagenet, noisy-student or none"
        )
    try:
        state: Any = (
            load_file(file) if file.suffix == ".safetensors" else torch.load(file, "cpu", weights_only=True)
        )
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise UserError(
            f"--model.weights {path}: not a file of weights ({str(error).splitlines()[0]})"
        ) from error
    try:
        encoder.load_state_dict(state.get("state_dict", state))
    except (RuntimeError, AttributeError) as error:
        raise UserError(
            f"--model.weights {path}: weights of another encoder ({str(error).splitlines()[0]})"
        ) from error


@contextmanager
def pretrained(config: ModelConfig) -> Iterator[None]:
    """Turn what goes wrong while an encoder is made or its weights are fetched into a `UserError`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    except KeyError as error:
        raise UserError(
            f"--model.encoder {config.encoder} --model.weights {config.weights}: {error.args[0]}"
        ) from error
    except (OSError, RuntimeError) as error:
        if config.weights not in ("imagenet", "noisy-student"):
            raise UserError(f"--model.encoder {config.encoder}: {str(error).splitlines()[0]}") from error
        raise UserError(
            f"the {config.weights} weights of {config.encoder} could not be downloaded"
            f" ({type(error).__name__}); start from random ones with --model.weights none,"
            " or name a file with --model.weights PATH"
        ) from error
