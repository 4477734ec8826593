"""The network that takes a case's gaze as a sequence of maps beside its image (the seed's figure 10).

It comes in two forms of the same parameters. The faithful one does what the published code does: padded
frames go through the LSTM and the attention like others, so that a case's scores depend on the longest
reading of its batch; the attention's query has the LSTM's two directions in another order than its keys; its
scale is 1/√64 for vectors of 128; and in training the first frames of all cases are normalised together, then
the second ones, and so on. The honest one masks padded frames, has one order and 1/√128, and normalises all
frames of a batch together.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from radgaze.gaze.frames import Frames
from radgaze.models.config import ModelConfig
from radgaze.models.registry import register
from radgaze.models.unet import GreyToRGB, Output
from radgaze.store.batch import Batch

WIDTH = 64  # of an embedded image or frame, and of each direction of the LSTM
MOMENTUM = {"honest": 0.1, "faithful": 0.01}  # of the batch norm on vectors


def frames_of(config: ModelConfig) -> Frames:
    """The frames that the network takes a reading as."""
    faithful = config.form == "faithful"
    return Frames(config.frames, config.frame_seconds, config.most_frames, off_image=faithful)


@register(
    "temporal",
    title="network of image and gaze sequence",
    reads_gaze=True,
    own_encoder="xraynet",
    fixed_size=True,
)
class Temporal(nn.Module):
    """Image branch and gaze branch, side by side before one linear layer.

    Args:
        config: The network.
        classes: Number of classes.
        size: Side of the images and frames, a multiple of 4.
    """

    def __init__(self, config: ModelConfig, classes: int, size: int) -> None:
        super().__init__()
        self.frames = frames_of(config)
        self.grey = GreyToRGB()
        self.image = XRayNet(config, size)
        self.gaze = GazeBranch(config, size)
        self.classifier = nn.Linear(2 * WIDTH, classes)

    def inputs(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """The arguments of `forward`: images (B, 1, H, W), frames (B, T, H, W), and which exist (B, T)."""
        return batch.image, *batch.frames(self.frames)

    def forward(self, images: Tensor, frames: Tensor, present: Tensor) -> Output:
        """Logits of images (B, 1, H, W) and gaze maps (B, T, H, W), of which some are `present` (B, T)."""
        # The gaze first: class-activation maps use the maps flattened last, which must be the image's.
        gaze = self.gaze(frames, present)
        image = self.image(self.grey(images))
        return Output(self.classifier(torch.cat([image, gaze], 1)), None)


@register(
    "temporal_image_only",
    title="network of one convolution (the temporal network's image branch)",
    own_encoder="xraynet",
    fixed_size=True,
)
class ImageOnly(nn.Module):
    """The image branch alone, before one linear layer."""

    def __init__(self, config: ModelConfig, classes: int, size: int) -> None:
        super().__init__()
        self.grey = GreyToRGB()
        self.image = XRayNet(config, size)
        self.classifier = nn.Linear(WIDTH, classes)

    def forward(self, images: Tensor) -> Output:
        """Logits of images (B, 1, H, W)."""
        return Output(self.classifier(self.image(self.grey(images))), None)


class XRayNet(nn.Module):
    """One convolution, and two linear layers on all of its output, 64·(size/4)² numbers (200,704 at 224)."""

    def __init__(self, config: ModelConfig, size: int) -> None:
        super().__init__()
        self.size = size
        self.conv = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.norm = MapNorm(64)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.hidden = nn.Linear(64 * (size // 4) ** 2, 128)
        self.hidden_norm = VectorNorm(128, momentum=MOMENTUM[config.form])
        self.dropout = nn.Dropout(config.dropout)
        self.embed = nn.Linear(128, WIDTH)

    def forward(self, rgb: Tensor) -> Tensor:
        """(N, 3, size, size) → (N, 64)."""
        if rgb.shape[-2:] != (self.size, self.size):
            raise ValueError(
                f"this network was made for {self.size}×{self.size}, but was given {tuple(rgb.shape[-2:])}"
            )
        x = self.pool(self.norm(F.relu(self.conv(rgb), inplace=True)))
        x = F.relu(self.hidden(torch.flatten(x, 1)))
        embedded: Tensor = self.embed(self.dropout(F.relu(self.hidden_norm(x))))
        return embedded


class GazeBranch(nn.Module):
    """Each frame embedded by one network, then a bidirectional LSTM, dot attention and a linear layer."""

    def __init__(self, config: ModelConfig, size: int) -> None:
        super().__init__()
        self.faithful = config.form == "faithful"
        self.grey = GreyToRGB()
        self.frame = XRayNet(config, size)
        self.lstm = nn.LSTM(WIDTH, WIDTH, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, frames: Tensor, present: Tensor) -> Tensor:
        """Frames (B, T, H, W) and which are present (B, T) → (B, 64).

        Without a present frame the honest form attends to nothing: the last layer's bias is the result.
        """
        encode = self._as_published if self.faithful else self._masked
        embedded: Tensor = self.out(encode(frames, present))
        return embedded

    def _masked(self, frames: Tensor, present: Tensor) -> Tensor:
        vectors = self.frame(self.grey(frames[present].unsqueeze(1)))
        embedded = vectors.new_zeros(*present.shape, WIDTH)
        embedded[present] = vectors
        # A case without any frame keeps one of zeros, which the attention masks.
        lengths = present.sum(1).clamp(min=1).cpu()
        packed = pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
        outputs, (last, _) = self.lstm(packed)
        outputs, _ = pad_packed_sequence(outputs, batch_first=True, total_length=present.shape[1])
        return attention(torch.cat([last[0], last[1]], 1), outputs, (2 * WIDTH) ** -0.5, present)

    def _as_published(self, frames: Tensor, present: Tensor) -> Tensor:
        embedded = []
        for t in range(frames.shape[1]):
            # Padding came after the colours were normalised: it is ImageNet's mean grey, not black.
            rgb = self.grey(frames[:, t : t + 1])
            embedded.append(self.frame(torch.where(present[:, t].view(-1, 1, 1, 1), rgb, 0)))
        outputs, (last, _) = self.lstm(torch.stack(embedded, 1))
        return attention(torch.cat([last[1], last[0]], 1), outputs, WIDTH**-0.5)


def attention(query: Tensor, values: Tensor, scale: float, present: Tensor | None = None) -> Tensor:
    """Σ_t softmax_t(scale · q·v_t) v_t, summed over the frames that are present; 0 where none is.

    Args:
        query: Queries q (B, D).
        values: Values v (B, T, D), which are the keys as well.
        scale: Factor of the products.
        present: Which frames are present (B, T); None for all.
    """
    energy = scale * torch.einsum("bd,btd->bt", query, values)
    if present is not None:
        energy = energy.masked_fill(~present, torch.finfo(energy.dtype).min)
    weight = energy.softmax(1)
    if present is not None:
        weight = weight.masked_fill(~present, 0)  # also where none is present, and the softmax is uniform
    return torch.einsum("bt,btd->bd", weight, values)


class MapNorm(nn.BatchNorm2d):
    """Batch norm of maps; fewer than two have no statistics, and are normalised by the running ones."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
        return _running(self, input) if self.training and len(input) < 2 else super().forward(input)


class VectorNorm(nn.BatchNorm1d):
    """As `MapNorm`, for feature vectors."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        return _running(self, input) if self.training and len(input) < 2 else super().forward(input)


def _running(norm: nn.BatchNorm1d | nn.BatchNorm2d, x: Tensor) -> Tensor:
    return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
