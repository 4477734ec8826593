"""A trained model as a folder: weights as safetensors, settings as JSON."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from radgaze.errors import UserError
from radgaze.files import read_json, write_text, written
from radgaze.models.architectures import create
from radgaze.models.config import ModelConfig
from radgaze.models.weights import one_line
from radgaze.sections import to_dict
from radgaze.version import __version__

WIDEST = 8192
"""Largest side in pixels, number of channels or number of frames that is accepted from a model's file."""


def save(
    model: nn.Module, config: ModelConfig, classes: tuple[str, ...], folder: Path, *, size: int = 224
) -> None:
    """Write `model.safetensors` and `config.json` (architecture, classes, software) into a folder.

    Args:
        model: The trained network.
        config: The settings that it was created with.
        classes: Names of the classes, in the order of the logits.
        folder: The folder; it is created if it is missing.
        size: Side of the images in pixels that the model was made for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with written(folder / "model.safetensors") as aside:
        save_file(tensors, aside, metadata={"software": f"radgaze {__version__}"})
    about = {"software": f"radgaze {__version__}", "classes": list(classes), "size": size}
    about["model"] = to_dict(config)
    write_text(json.dumps(about, indent=2) + "\n", folder / "config.json")


def load(folder: Path) -> tuple[nn.Module, tuple[str, ...]]:
    """Load a trained model from a folder that `save` wrote, such as `RUN/model`.

    Args:
        folder: The folder with `model.safetensors` and `config.json`.

    Returns:
        The network on the CPU in evaluation mode, which takes grey images (B, 1, H, W) in [0, 1] and returns
        an `Output`; and the names of its classes, in the order of the logits.

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
        raise UserError(f"{weights} cannot be read: {one_line(error)}") from error
    except RuntimeError as error:
        raise UserError(f"{weights} holds the weights of another network than {about} describes") from error
    return model.eval(), classes


def _untrained(about: Path) -> tuple[nn.Module, tuple[str, ...]]:
    """The untrained network that a `config.json` describes, and its class names."""
    record = read_json(about, lambda content: isinstance(content, dict), "restore it, or train again")
    try:
        classes, size = tuple(record["classes"]), record.get("size", 224)
        # The weights that it started from are not needed, and not downloaded.
        config = ModelConfig(**{**record["model"], "weights": "none"})
        if not classes or not all(isinstance(name, str) and 0 < len(name) <= 200 for name in classes):
            raise ValueError("its classes are no names")
        widths = (size, config.pylon_channels, config.most_frames, *config.decoder_channels)
        if not all(isinstance(width, int) and 0 < width <= WIDEST for width in widths):
            raise ValueError(f"a size or width that is not between 1 and {WIDEST}")
        return create(config, len(classes), size), classes
    except (UserError, OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise UserError(f"{about} describes no model: {one_line(error)}") from error
