"""The network whose inputs are a case's image and its gaze as a sequence of maps.

Karargyris et al. (2021); figure 10 of Watanabe et al. (2022). It has two forms with the same parameters. The
faithful form does what the published code does: padded frames pass through the LSTM and the attention like
others, so that a case's scores depend on the longest reading of its batch; the attention's query concatenates
the LSTM's two directions in another order than its keys; its scale is 1/√64 for vectors of 128; and in
training the first frames of all cases are normalised together, then the second frames, and so on. The honest
form masks padded frames, uses one order and the scale 1/√128, and normalises all frames of a batch together.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from radgaze.gaze.frames import Frames
from radgaze.models.config import ModelConfig
from radgaze.models.input_scale import GreyToRGB
from radgaze.models.output import Output
from radgaze.models.registry import register
from radgaze.store.batch import Batch

WIDTH = 64  # length of an embedded image or frame, and of the state of each direction of the LSTM
MOMENTUM = {"honest": 0.1, "faithful": 0.01}  # momentum of the batch normalisation of vectors, by form


def frames_of(config: ModelConfig) -> Frames:
    """Return the division of readings into frames that the settings of a network ask for."""
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
    """Image branch and gaze branch, whose concatenated embeddings enter one linear layer.

    Args:
        config: Settings of the network.
        classes: Number of classes.
        size: Side of the images and frames in pixels, a multiple of 4.
    """

    def __init__(self, config: ModelConfig, classes: int, size: int) -> None:
        super().__init__()
        self.frames = frames_of(config)
        self.grey = GreyToRGB()
        self.image = XRayNet(config, size)
        self.gaze = GazeBranch(config, size)
        self.classifier = nn.Linear(2 * WIDTH, classes)

    def inputs(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return images (B, 1, H, W), gaze maps (B, T, H, W) and which are present (B, T), for `forward`."""
        return batch.image, *batch.frames(self.frames)

    def forward(self, images: Tensor, frames: Tensor | None = None, present: Tensor | None = None) -> Output:
        """Compute logits from images (B, 1, H, W) and gaze maps (B, T, H, W).

        Args:
            images: Grey images in [0, 1].
            frames: Gaze maps of the frames; None for none, with `present` None too.
            present: Whether a frame is present rather than padding, (B, T).
        """
        if frames is None or present is None:
            frames = torch.zeros_like(images)
            present = torch.zeros(len(images), 1, dtype=torch.bool, device=images.device)
        # The gaze branch runs first: class-activation maps use the maps flattened last, which must be the
        # image's.
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
        """Compute logits of images (B, 1, H, W)."""
        return Output(self.classifier(self.image(self.grey(images))), None)


class XRayNet(nn.Module):
    """One convolution, and two linear layers on its flattened output: 64·(size/4)² values, 200,704 at 224."""

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
        """Map (N, 3, size, size) to (N, 64).

        Raises:
            ValueError: The images have another size.
        """
        if rgb.shape[-2:] != (self.size, self.size):
            raise ValueError(
                f"this network was made for {self.size}×{self.size}, but was given {tuple(rgb.shape[-2:])}"
            )
        x = self.pool(self.norm(F.relu(self.conv(rgb), inplace=True)))
        x = F.relu(self.hidden(torch.flatten(x, 1)))
        embedded: Tensor = self.embed(self.dropout(F.relu(self.hidden_norm(x))))
        return embedded


class GazeBranch(nn.Module):
    """An embedding of each frame, then a bidirectional LSTM, dot-product attention and a linear layer."""

    def __init__(self, config: ModelConfig, size: int) -> None:
        super().__init__()
        self.faithful = config.form == "faithful"
        self.grey = GreyToRGB()
        self.frame = XRayNet(config, size)
        self.lstm = nn.LSTM(WIDTH, WIDTH, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, frames: Tensor, present: Tensor) -> Tensor:
        """Map frames (B, T, H, W) and which of them are present (B, T) to (B, 64).

        Without a present frame the honest form's attention is 0, and the last layer's bias is the result.
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
            # The published code pads after normalising colours: padding is ImageNet's mean colour, not black.
            rgb = self.grey(frames[:, t : t + 1])
            embedded.append(self.frame(torch.where(present[:, t].view(-1, 1, 1, 1), rgb, 0)))
        outputs, (last, _) = self.lstm(torch.stack(embedded, 1))
        return attention(torch.cat([last[1], last[0]], 1), outputs, WIDTH**-0.5)


def attention(query: Tensor, values: Tensor, scale: float, present: Tensor | None = None) -> Tensor:
    """Compute the dot-product attention Σ_t softmax_t(scale · q·v_t) v_t over the frames that are present.

    Args:
        query: Queries q (B, D).
        values: Values v (B, T, D), which are the keys as well.
        scale: Factor of the dot products.
        present: Whether each frame is present, (B, T); None for all.

    Returns:
        Weighted sums (B, D); 0 where no frame is present.
    """
    energy = scale * torch.einsum("bd,btd->bt", query, values)
    if present is not None:
        energy = energy.masked_fill(~present, torch.finfo(energy.dtype).min)
    weight = energy.softmax(1)
    if present is not None:
        weight = weight.masked_fill(~present, 0)  # also where none is present, and the softmax is uniform
    return torch.einsum("bt,btd->bd", weight, values)


class MapNorm(nn.BatchNorm2d):
    """Batch normalisation of maps that uses the running statistics for a batch of fewer than two."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
        return _running(self, input) if self.training and len(input) < 2 else super().forward(input)


class VectorNorm(nn.BatchNorm1d):
    """Batch normalisation of vectors that uses the running statistics for a batch of fewer than two."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        return _running(self, input) if self.training and len(input) < 2 else super().forward(input)


def _running(norm: nn.BatchNorm1d | nn.BatchNorm2d, x: Tensor) -> Tensor:
    return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
