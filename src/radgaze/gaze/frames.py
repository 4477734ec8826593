"""Division of a reading into a sequence of frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from radgaze.errors import UserError
from radgaze.gaze.maps import frames_of_seconds, one_frame_per_fixation


@dataclass(frozen=True)
class Frames:
    """The division of readings into frames, each of which holds only its own fixations.

    Attributes:
        each: Content of a frame: one "fixation", or a time bin of some "seconds", empty bins included.
        seconds: Length of a bin in seconds.
        most: Maximum number of frames of a case; later frames are dropped.
        off_image: Whether a fixation off the image also has a frame, which is then flat, as in the sequences
            of the data set's authors.

    Raises:
        UserError: `seconds` is not greater than 0, or `most` is below 1.
    """

    each: Literal["fixation", "seconds"] = "fixation"
    seconds: float = 1.0
    most: int = 64
    off_image: bool = False

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise UserError(f"`model.frame_seconds` must be greater than 0, got {self.seconds}")
        if self.most < 1:
            raise UserError(f"`model.most_frames` must be at least 1, got {self.most}")

    def place(self, weights: Tensor, times: Tensor, order: Tensor, recorded: Tensor) -> tuple[Tensor, Tensor]:
        """Assign each fixation to a frame, without the limit `most`.

        Args:
            weights: Weights (B, K); 0 for padding, and for a fixation off the image.
            times: Onset and duration in seconds, (B, K, 2).
            order: Index of each fixation among all recorded ones, (B, K) integers; −1 for padding.
            recorded: Number of fixations recorded, off-image ones included, (B,) integers.

        Returns:
            The frame of each fixation or −1, (B, K) int64; and the number of frames, (B,) int64.
        """
        if self.each == "seconds":
            frame = frames_of_seconds(times[..., 0], times[..., 1], self.seconds)
            frame = torch.where(weights > 0, frame, -1)
            return frame, F.pad(frame, (1, 0), value=-1).amax(1) + 1
        return (order, recorded) if self.off_image else one_frame_per_fixation(weights)
