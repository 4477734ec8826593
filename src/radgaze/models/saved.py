"""A trained model as a folder: weights as safetensors, settings as JSON."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from radgaze.errors import UserError
from radgaze.files import read_json, write_text, written
from radgaze.models import factories
from radgaze.models.architectures import create
from radgaze.models.config import WIDEST, ModelConfig, with_given
from radgaze.models.encoder_input import with_input_of
from radgaze.models.weights import one_line
from radgaze.sections import to_dict
from radgaze.store.manifest import LONGEST
from radgaze.version import __version__


def save(
    model: nn.Module, config: ModelConfig, classes: tuple[str, ...], folder: Path, *, size: int = 224
) -> None:
    """Write `model.safetensors` and `config.json` (architecture, input, classes, software) into a folder.

    Args:
        model: The trained network.
        config: The settings that it was created with.
        classes: Names of the classes, in the order of the logits.
        folder: The folder; it is created if it is missing.
        size: Side of the images in pixels that the model was made for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = _apart(model)
    with written(folder / "model.safetensors") as aside:
        save_file(tensors, aside, metadata={"software": f"radgaze {__version__}"})
    about = {"software": f"radgaze {__version__}", "classes": list(classes), "size": size}
    about["model"] = to_dict(with_input_of(config, model))
    write_text(json.dumps(about, indent=2) + "\n", folder / "config.json")


def is_saved(model: nn.Module, folder: Path) -> bool:
    """Whether a folder that `save` wrote holds the weights that a model has now."""
    weights = folder / "model.safetensors"
    try:
        saved = _read(weights) if weights.is_file() else {}
    except UserError:
        return False
    tensors = _apart(model)
    return saved.keys() == tensors.keys() and all(
        saved[name].dtype == each.dtype and torch.equal(saved[name], each) for name, each in tensors.items()
    )


def load(folder: Path, *, given: object = None) -> tuple[nn.Module, tuple[str, ...]]:
    """Load a trained model from a folder that `save` wrote, such as `RUN/model`.

    Args:
        folder: The folder with `model.safetensors` and `config.json`.
        given: For a network of the user, a `torch.nn.Module` of the same architecture, which is copied, or a
            function that makes one; None for what its factory makes.

    Returns:
        The network on the CPU in evaluation mode, which takes grey images (B, 1, H, W) in [0, 1] and returns
        an `Output`; and the names of its classes, in the order of the logits.

    Raises:
        UserError: The folder holds no model, or a broken one; or the factory of its network is not trusted,
            see `factories`.
    """
    about, weights = _files(folder)
    config, classes, size = _described(about)
    if given is not None:
        config = with_given(config, given)
    elif config.factory is not None:
        factories.check(config.factory, f"the network of {folder}")
    try:
        model = create(config, len(classes), size)
    except (UserError, OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise UserError(f"{about} describes no model: {one_line(error)}") from error
    tensors = _read(weights)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise UserError(f"{weights} holds the weights of another network than {about} describes") from error
    return model.eval(), classes


def load_classes(folder: Path) -> tuple[str, ...]:
    """Read the names of a trained model's classes; the model is loaded too, unless it is a user's own.

    Raises:
        UserError: The folder holds no model, or a broken one.
    """
    config, classes, _ = _described(_files(folder)[0])
    return classes if config.is_own else load(folder)[1]


def _files(folder: Path) -> tuple[Path, Path]:
    """The description and the weights of the model in a folder."""
    about, weights = folder / "config.json", folder / "model.safetensors"
    for file in (about, weights):
        if not file.is_file():
            raise UserError(f"{folder} holds no trained model: {file.name} is missing")
    return about, weights


def _read(weights: Path) -> dict[str, Tensor]:
    """The tensors in a file of weights."""
    try:
        return load_file(weights)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{weights} cannot be read: {one_line(error)}") from error


def _apart(model: nn.Module) -> dict[str, Tensor]:
    """The tensors of a model's state on the CPU; those that share memory, as tied weights do, are copied."""
    tensors: dict[str, Tensor] = {}
    places: set[int] = set()
    for name, value in model.state_dict().items():
        if not isinstance(value, Tensor):
            raise UserError(f"the state of the network has {name}, which is no tensor and cannot be stored")
        tensor = value.detach().cpu().contiguous()
        place = tensor.untyped_storage().data_ptr()
        tensors[name] = tensor.clone() if place in places else tensor
        places.add(place)
    return tensors


def _described(about: Path) -> tuple[ModelConfig, tuple[str, ...], int]:
    """The settings of the network that a `config.json` describes, its class names, and its images' side."""
    record = read_json(about, lambda content: isinstance(content, dict), "restore it, or train again")
    try:
        classes, size = tuple(record["classes"]), record.get("size", 224)
        # The weights that it started from are not needed, and not downloaded.
        settings = {**record["model"], "weights": "none", "weights_dir": None, "pretraining_ids": None}
        unknown = sorted(settings.keys() - {field.name for field in fields(ModelConfig)})
        if unknown:
            made_with = record.get("software", "another version")
            raise ValueError(f"radgaze {__version__} does not know its setting {unknown[0]}, of {made_with}")
        config = ModelConfig(**settings)
        if not classes or not all(isinstance(name, str) and 0 < len(name) <= LONGEST for name in classes):
            raise ValueError("its classes are no names")
        widths = (size, config.pylon_channels, *config.decoder_channels)
        if not all(isinstance(width, int) and 0 < width <= WIDEST for width in widths):
            raise ValueError(f"a size or width that is not between 1 and {WIDEST}")
        return config, classes, size
    except (UserError, OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise UserError(f"{about} describes no model: {one_line(error)}") from error
