"""The input of a run's encoder, completed before training, and the record of its initial weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import nn

from radgaze.models.config import ModelConfig
from radgaze.models.encoder_input import StatedInput, input_of, with_input
from radgaze.models.scale import IMAGENET
from radgaze.models.weights import taken_by
from radgaze.runs import settings
from radgaze.runs.config import Config
from radgaze.runs.initial_weights import InitialWeights, of_settings


def with_found_input(config: Config, resumed: Path | None) -> tuple[Config, StatedInput | None]:
    """Complete the settings of the encoder's input by what its initial weights were trained on.

    Args:
        config: Configuration of the run.
        resumed: Folder of a run that is resumed, which has the completed settings.

    Returns:
        The configuration, and the input that was found; None for a resumed run, and for a network whose
        encoder has no choice of weights.

    Raises:
        UserError: The weights are not available.
    """
    model = config.model
    if model.has_own_encoder:
        return config, None
    if resumed is not None:
        return replace(config, model=_as_before(model, settings.read(resumed / "config.yaml").model)), None
    stated = input_of(model)
    return replace(config, model=with_input(model, stated.scale)), stated


def _as_before(model: ModelConfig, before: ModelConfig) -> ModelConfig:
    """Complete the settings of a resumed run's input; what differs from the run's own settings stays."""
    if model.normalisation != "auto":
        return with_input(model, input_of(model).scale)
    completed = replace(
        model,
        normalisation=before.normalisation,
        channels=before.channels,
        mean=before.mean,
        std=before.std,
        input_range=before.input_range,
    )
    if model.channels in (None, before.channels or IMAGENET.channels):
        return completed
    return replace(completed, channels=model.channels)


def initial_weights(config: Config, model: nn.Module, stated: StatedInput) -> InitialWeights:
    """Describe the weights that a network started from."""
    taken = taken_by(model)
    return replace(
        of_settings(config.model),
        input=stated.scale.words,
        stated_by=stated.by,
        taken=None if taken is None else taken.words,
        tag=_tag(config.model.encoder) if config.model.weights == "imagenet" else None,
    )


def _tag(encoder: str) -> str | None:
    if not encoder.startswith("tu-"):
        return None
    import timm

    usual = timm.get_pretrained_cfg(encoder.removeprefix("tu-"), allow_unregistered=True)
    return None if usual is None else usual.tag or None
