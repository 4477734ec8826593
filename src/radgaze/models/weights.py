"""Weights that an encoder starts from. Nothing is ever unpickled blindly."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from radgaze.errors import UserError
from radgaze.models.config import ModelConfig

PUBLISHED = ("imagenet", "noisy-student")


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
        raise UserError(f"--model.weights {path}: weights of another encoder ({one_line(error)})") from error


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
        why = one_line(error).split(", supported encoders")[0]
        raise UserError(
            f"--model.encoder {config.encoder} --model.weights {config.weights}: {why}"
        ) from error


def one_line(error: Exception) -> str:
    """An exception's message in one line, cut where a library goes on about every parameter."""
    message = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return " ".join(message.split())[:200] or type(error).__name__
