"""Weights: an encoder's to start from, and a trained model's to keep. Nothing is ever unpickled blindly."""

from __future__ import annotations

import json
import re
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
from radgaze.files import read_json, write_text, written
from radgaze.models.config import ModelConfig

WIDEST = 8192
"""Pixels, channels or frames of a trained model at most: a file may say any number."""

PUBLISHED = ("imagenet", "noisy-student")


def save(
    model: nn.Module, config: ModelConfig, classes: tuple[str, ...], folder: Path, *, size: int = 224
) -> None:
    """Write `model.safetensors` and `config.json` (architecture, classes, software) into a folder.

    `size` is the side of the images that the model was made for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with written(folder / "model.safetensors") as aside:
        save_file(tensors, aside, metadata={"software": f"radgaze {__version__}"})
    about = {"software": f"radgaze {__version__}", "classes": list(classes), "size": size}
    about["model"] = asdict(config)
    write_text(json.dumps(about, indent=2) + "\n", folder / "config.json")


def load(folder: Path) -> tuple[nn.Module, tuple[str, ...]]:
    """The model and class names kept in a folder by `save`; the model is in evaluation mode.

    Raises:
        UserError: The folder holds no model, or a broken one.
    """
    about, weights = folder / "config.json", folder / "model.safetensors"
    for file in (about, weights):
        if not file.is_file():
            raise UserError(f"{folder} holds no trained model: {file.name} is missing")
    model, classes = _untrained(about)
    try:
        model.load_state_dict(load_file(weights))
    except (SafetensorError, OSError) as error:
        raise UserError(f"{weights} cannot be read: {_line(error)}") from error
    except RuntimeError as error:
        raise UserError(f"{weights} holds the weights of another network than {about} describes") from error
    return model.eval(), classes


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
    except Exception as error:  # a broken pickle raises whatever it makes its reader stumble over
        raise UserError(
            f"--model.weights {path}: not a file of weights, which is safetensors, or a state dict of torch"
            " without code in it"
        ) from error
    try:
        encoder.load_state_dict(state.get("state_dict", state))
    except (RuntimeError, AttributeError, TypeError) as error:
        raise UserError(f"--model.weights {path}: weights of another encoder ({_line(error)})") from error


def published(config: ModelConfig) -> str | bool | None:
    """The weights that segmentation-models-pytorch is to fetch, in its words; None for none.

    Raises:
        UserError: It would fetch others than those asked for.
    """
    if config.weights not in PUBLISHED:
        return None
    if not config.encoder.startswith("tu-"):
        return config.weights
    if config.weights != "imagenet":
        raise UserError(
            f"--model.encoder {config.encoder} --model.weights {config.weights}: timm names weights in the"
            " encoder, e.g. --model.encoder tu-tf_efficientnet_b0.ns_jft_in1k --model.weights imagenet"
        )
    return True


@contextmanager
def pretrained(config: ModelConfig) -> Iterator[None]:
    """Turn what goes wrong while an encoder is made or its weights are fetched into a `UserError`."""
    if not re.fullmatch(r"[\w.+-]+", config.encoder):
        # timm takes a name with a source before it for a hub's or a folder's, and asks there for its network,
        # also where no weights are wanted: a run of it could never be read without.
        raise UserError(
            f"--model.encoder {config.encoder[:80]}: no name of an encoder; one from a hub or a folder "
            "cannot be used"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    except OSError as error:
        raise UserError(
            f"the {config.weights} weights of {config.encoder} could not be downloaded"
            f" ({type(error).__name__}); start from random ones with --model.weights none,"
            " or name a file with --model.weights PATH"
        ) from error
    except (KeyError, RuntimeError, ValueError, AssertionError, TypeError, NotImplementedError) as error:
        # There is no such encoder, or it was never published with such weights. The library's message goes on
        # with the names of hundreds of encoders.
        why = _line(error).split(", supported encoders")[0]
        raise UserError(
            f"--model.encoder {config.encoder} --model.weights {config.weights}: {why}"
        ) from error


def _untrained(about: Path) -> tuple[nn.Module, tuple[str, ...]]:
    """The network that a `config.json` describes, and its class names."""
    from radgaze.models.architectures import create

    kept = read_json(about, lambda found: isinstance(found, dict), "put it back as it was, or train anew")
    try:
        classes, size = tuple(kept["classes"]), kept.get("size", 224)
        # What it started from does not matter any more, and is not fetched.
        config = ModelConfig(**{**kept["model"], "weights": "none"})
        if not classes or not all(isinstance(name, str) and 0 < len(name) <= 200 for name in classes):
            raise ValueError("its classes are no names")
        widths = (size, config.pylon_channels, config.most_frames, *config.decoder_channels)
        if not all(isinstance(width, int) and 0 < width <= WIDEST for width in widths):
            raise ValueError(f"a size or width that is not between 1 and {WIDEST}")
        return create(config, len(classes), size), classes
    except (UserError, OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise UserError(f"{about} describes no model: {_line(error)}") from error


def _line(error: Exception) -> str:
    """An exception's message in one line, cut where a library goes on about every parameter."""
    message = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return " ".join(message.split())[:200] or type(error).__name__
