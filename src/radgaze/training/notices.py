"""What a user may not expect of a run, told before it starts."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from radgaze.models.config import ModelConfig
from radgaze.models.temporal import Temporal
from radgaze.store.dataset import GazeDataset


def notices(config: ModelConfig, model: nn.Module, cases: GazeDataset) -> Iterator[str]:
    """A sentence each: settings that this model has no use for, and gaze that it will not see."""
    own = config.network.own_encoder
    if own is not None and config.encoder != own:
        yield f"{config.architecture} has an encoder of its own; --model.encoder {config.encoder} is not used"
    if isinstance(model, Temporal):
        counts, most = cases.frame_counts(model.frames), model.frames.most
        cut = int((counts > most).sum())
        if cut:
            yield (
                f"{cut} of {len(cases)} training cases have more than {most} frames of gaze, up to"
                f" {int(counts.max())}; the later ones are left out (--model.most_frames)"
            )
