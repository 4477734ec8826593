"""Initial weights of an encoder. Reading a file of weights never runs code in it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from radgaze.errors import UserError, close_to
from radgaze.models.config import ModelConfig

PUBLISHED = ("imagenet", "noisy-student")


def load_encoder(encoder: nn.Module, path: str) -> None:
    """Load an encoder's weights from a file: safetensors, or a state dict of torch read with `weights_only`.

    Raises:
        UserError: The file is missing, holds no weights, or holds weights of another encoder.
    """
    file = Path(path)
    if not file.is_file():
        raise UserError(
            f"`model.weights` must be a file, imagenet, noisy-student or none; there is no file {path}"
        )
    try:
        safe = file.suffix == ".safetensors"
        state: object = load_file(file) if safe else torch.load(file, "cpu", weights_only=True)
    except Exception as error:  # a broken pickle may raise anything
        raise UserError(
            f"`model.weights` must be safetensors, or a state dict of torch without code in it; {path} is"
            " neither"
        ) from error
    try:
        encoder.load_state_dict(_state_dict(state))
    except (RuntimeError, AttributeError, TypeError) as error:
        raise UserError(
            f"`model.weights` must be weights of the encoder; those of {path} are not ({one_line(error)})"
        ) from error


def _state_dict(content: object) -> Mapping[str, object]:
    """The state dict in the content of a file: its item `state_dict`, or the content itself."""
    state = content.get("state_dict", content) if isinstance(content, Mapping) else content
    if not isinstance(state, Mapping):
        raise TypeError(f"a {type(state).__name__} in place of a state dict")
    return state


def published(config: ModelConfig) -> str | bool | None:
    """Return the weights to download, as segmentation-models-pytorch names them; None for no download.

    Raises:
        UserError: The library would download other weights than `config.weights`.
    """
    if config.weights not in PUBLISHED:
        return None
    if not config.encoder.startswith("tu-"):
        return config.weights
    if config.weights != "imagenet":
        raise UserError(
            f"`model.weights` must be imagenet with `model.encoder={config.encoder}`, got {config.weights}:"
            " timm names weights in the encoder, e.g. `model.encoder=tu-tf_efficientnet_b0.ns_jft_in1k`"
        )
    return True


@contextmanager
def pretrained(config: ModelConfig) -> Iterator[None]:
    """Turn errors while an encoder is created or its weights are downloaded into a `UserError`.

    Raises:
        UserError: The encoder's name is invalid or unknown, or its weights cannot be downloaded.
    """
    if not re.fullmatch(r"[\w.+-]+", config.encoder):
        # timm looks up a name with the prefix of a source in a hub or a folder, even without weights: a run
        # with such an encoder could not be loaded offline.
        raise UserError(
            "`model.encoder` must be the name of an encoder, not of one in a hub or a folder, got "
            f"{config.encoder[:80]}"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    except OSError as error:
        raise UserError(
            f"the {config.weights} weights of {config.encoder} could not be downloaded"
            f" ({type(error).__name__}); start from random ones with `model.weights=none`,"
            " or name a file with `model.weights=PATH`"
        ) from error
    except (KeyError, RuntimeError, ValueError, AssertionError, TypeError, NotImplementedError) as error:
        # There is no such encoder, or none with such weights. The library's message ends with the names of
        # hundreds of encoders.
        why = one_line(error).split(", supported encoders")[0]
        why += _similar(config.encoder)
        raise UserError(
            f"`model.encoder={config.encoder}` with `model.weights={config.weights}` cannot be used: {why}"
        ) from error


def _similar(encoder: str) -> str:
    """The names that are most like that of an encoder that there is not, in words; empty if there is."""
    import timm
    from segmentation_models_pytorch.encoders import encoders

    if not encoder.startswith("tu-"):
        return "" if encoder in encoders else close_to(encoder, encoders)
    names = [f"tu-{name}" for name in timm.list_models()]
    return "" if encoder.split(".")[0] in names else close_to(encoder, names)


def one_line(error: Exception) -> str:
    """Return an exception's message on one line, cut after 200 characters."""
    message = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return " ".join(message.split())[:200] or type(error).__name__
