"""Initial weights of an encoder. Reading a file of weights never runs code in it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from radgaze.console import say
from radgaze.errors import UserError, close_to
from radgaze.models.config import ModelConfig
from radgaze.models.hub import cached_if_unreachable
from radgaze.models.weight_files import read_weights
from radgaze.models.weight_names import COUNTER, Mapped, mapped
from radgaze.models.weight_sources import PUBLISHED as PUBLISHED  # for those who list encoders
from radgaze.models.weight_sources import Source, located, source_of

LEAST = 0.9
"""Least share of an encoder's numbers that weights from a file or a hub must have."""

SHOWN = 4
"""Most names that a message shows of each side."""


@dataclass(frozen=True)
class Taken:
    """Record of what an encoder took from its initial weights.

    Attributes:
        tensors: Number of tensors that were taken.
        total: Number of the encoder's tensors, without counters of batches.
        by: How they were found, "name" or "order".
        changed: Names of those that were brought into another shape.
        missing: Names of the encoder's tensors that the weights lack.
        unused: Names of the weights' tensors that were not taken.
    """

    tensors: int
    total: int
    by: str
    changed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """Description as the end of a sentence."""
        parts = [f"{self.tensors} of the encoder's {self.total} tensors taken, by {self.by}"]
        for names, words in (
            (self.changed, "brought into another shape"),
            (self.missing, "missing, which start from random values"),
            (self.unused, "of the weights not used"),
        ):
            parts += [f"{len(names)} {words} ({_some(names)})"] if names else []
        return "; ".join(parts)


def load_encoder(encoder: nn.Module, config: ModelConfig) -> None:
    """Load an encoder's weights from a file, from files of torchxrayvision or from the hub of Hugging Face.

    What was taken is logged, and kept for `taken_by`. Weights that a library publishes with the encoder, or
    none, are nothing to load.

    Raises:
        UserError: The weights are not available, hold code, or are those of another encoder.
    """
    source = source_of(config.weights)
    if source.kind in ("none", "published"):
        return
    path = located(source, config.weights_dir)
    state = encoder.state_dict()
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    shapes = {name: value.shape for name, value in tensors.items()}
    weights = read_weights(path)
    result = mapped(weights, shapes, prefix_tokens=_prefix_tokens(encoder))
    names = [name for name in shapes if not name.endswith(COUNTER)]
    share = _share(result, shapes, names)
    if share < LEAST:
        hint = _encoder_of(source)
        raise UserError(
            f"`model.weights` must be weights of the encoder; those of {path} are not: they have "
            f"{share:.0%} of the numbers of {config.encoder} under its names and shapes, of which at least "
            f"{LEAST:.0%} are expected; the encoder has {_some(names)}, the weights {_some([*weights])}"
            + (f"; they are those of `model.encoder={hint}`" if hint else "")
        )
    positions = [name for name in result.missing if name.rpartition(".")[2] == "pos_embed"]
    if positions:
        raise UserError(
            f"`model.weights` must have the position embeddings of {config.encoder}; those of {path} have "
            f"none that fit {positions[0]}, {tuple(shapes[positions[0]])}, without which its patches have no "
            "place"
        )
    with torch.no_grad():
        for name, value in (*result.tensors.items(), *result.counters.items()):
            if name in tensors:
                tensors[name].copy_(value)
    taken = Taken(len(result.tensors), len(names), result.by, result.changed, result.missing, result.unused)
    encoder.initial_weights = taken  # type: ignore[assignment]  # a module's attributes are modules and tensors
    say(f"Initial weights of {config.encoder} ({path.name}): {taken.words}")


def taken_by(model: nn.Module) -> Taken | None:
    """Return what a network's encoder took from a file or a hub; None for other initial weights."""
    records = (getattr(each, "initial_weights", None) for each in model.modules())
    return next((each for each in records if isinstance(each, Taken)), None)


def _share(found: Mapped, shapes: dict[str, torch.Size], wanted: Sequence[str]) -> float:
    total = sum(shapes[name].numel() for name in wanted)
    return sum(shapes[name].numel() for name in found.tensors) / total if total else 0.0


def _prefix_tokens(encoder: nn.Module) -> int:
    """Number of tokens before the grid in a transformer's position embeddings."""
    for module in encoder.modules():
        count = getattr(module, "num_prefix_tokens", None)
        if isinstance(count, int):
            return 0 if getattr(module, "no_embed_class", False) else count
    return 1


def _encoder_of(source: Source) -> str:
    """The encoder that weights of torchxrayvision are of; empty for other weights."""
    return source.name.partition("-")[0] if source.kind == "torchxrayvision" else ""


def _some(names: Sequence[str]) -> str:
    return ", ".join(name[:60] for name in names[:SHOWN]) + (", …" if len(names) > SHOWN else "")


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
    downloads = config.weights in PUBLISHED
    try:
        with warnings.catch_warnings(), cached_if_unreachable() if downloads else nullcontext():
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
