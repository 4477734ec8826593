"""The input that a network's encoder expects, which follows its initial weights unless it is given."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn

from radgaze.models.config import ModelConfig
from radgaze.models.hub import cached_if_unreachable
from radgaze.models.input_scale import InputScale, scale_in
from radgaze.models.scale import IMAGENET, NAMED, Scale, name_of
from radgaze.models.weight_files import read_weights
from radgaze.models.weight_sources import Source, located, source_of, stated_input

ASSUMED = "assumed"
"""Stands for the place where an input is stated, if none is."""


@dataclass(frozen=True)
class StatedInput:
    """The input of an encoder.

    Attributes:
        scale: The scale.
        by: What states it: "settings", a library or the name of a file; or `ASSUMED`.
    """

    scale: Scale
    by: str


def input_of(config: ModelConfig) -> StatedInput:
    """Return the input that settings ask for; with the normalisation "auto" that of the initial weights.

    Raises:
        UserError: The weights are not available, or what is stated beside them is damaged.
    """
    if config.mean:
        low, high = config.input_range
        stated = StatedInput(Scale(tuple(config.mean), tuple(config.std), low, high), "settings")
    elif config.normalisation == "auto" or config.normalisation == "given":  # mypy narrows it
        stated = _of_weights(config)
    else:
        stated = StatedInput(NAMED[config.normalisation], "settings")
    channels = config.channels
    return stated if channels is None else replace(stated, scale=stated.scale.with_channels(channels))


def scaling(config: ModelConfig) -> InputScale:
    """Make the first module of a network with an encoder."""
    return InputScale(input_of(config).scale)


def with_input(config: ModelConfig, scale: Scale) -> ModelConfig:
    """Return settings that ask for a scale, whatever weights they name; the usual one is left out."""
    usual = scale == IMAGENET and config.normalisation == "auto" and not config.mean
    if usual:
        return replace(config, channels=None)
    name = name_of(scale)
    if name is not None:
        empty: tuple[float, ...] = ()
        return replace(
            config, normalisation=name, channels=scale.channels, mean=empty, std=empty, input_range=(0.0, 1.0)
        )
    return replace(
        config,
        normalisation="given",
        channels=scale.channels,
        mean=scale.mean,
        std=scale.std,
        input_range=(scale.low, scale.high),
    )


def with_input_of(config: ModelConfig, model: nn.Module) -> ModelConfig:
    """Return settings that ask for the scale which a network has; own networks' stay as they are."""
    scale = scale_in(model)
    if scale is None or config.is_own or config.has_own_encoder:
        return config
    return with_input(config, scale)


def _of_weights(config: ModelConfig) -> StatedInput:
    source = source_of(config.weights)
    if source.kind == "none":
        return StatedInput(IMAGENET, "settings")
    if source.kind == "torchxrayvision":
        return StatedInput(NAMED["torchxrayvision"], "torchxrayvision")
    if source.kind == "published":
        return _published(config.encoder, source)
    file = located(source, config.weights_dir)
    stated = stated_input(source, file, config.weights_dir)
    if stated is not None:
        return StatedInput(*stated)
    tensors = read_weights(file)
    first = next((each for each in tensors.values() if each.dim() == 4), None)
    grey = first is not None and first.shape[1] == 1
    if grey and any(name.endswith("op_threshs") for name in tensors):  # a buffer of its networks alone
        return StatedInput(NAMED["torchxrayvision"], "torchxrayvision")
    return StatedInput(IMAGENET.with_channels(1 if grey else 3), ASSUMED)


def _published(encoder: str, source: Source) -> StatedInput:
    """The input of the weights that a library publishes with an encoder, as the library states it."""
    from segmentation_models_pytorch.encoders import get_preprocessing_params

    try:
        with cached_if_unreachable():
            stated = get_preprocessing_params(encoder, source.name)
        low, high = stated["input_range"]
        scale = Scale(tuple(stated["mean"]), tuple(stated["std"]), float(low), float(high))
    except Exception:  # no such weights, which is told where they are loaded, or no network
        return StatedInput(IMAGENET, ASSUMED)
    return StatedInput(scale, "timm" if encoder.startswith("tu-") else "segmentation-models-pytorch")
