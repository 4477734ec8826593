"""A reading as a sequence: in which frame each fixation lies, and how many frames there are."""

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
    """How readings become frames, each of which holds its own fixations alone.

    Attributes:
        each: A frame for each "fixation", or for each time bin of so many "seconds", empty ones included.
        seconds: Length of a bin.
        most: Frames of a case at most; later ones are left out.
        off_image: Whether a fixation off the image has a frame too, a flat one, as in the sequences of the
            data set's authors.
    """

    each: Literal["fixation", "seconds"] = "fixation"
    seconds: float = 1.0
    most: int = 64
    off_image: bool = False

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise UserError(f"--model.frame_seconds is {self.seconds}; it must be greater than 0")
        if self.most < 1:
            raise UserError(f"--model.most_frames is {self.most}; it must be at least 1")

    def place(self, weights: Tensor, times: Tensor, order: Tensor, recorded: Tensor) -> tuple[Tensor, Tensor]:
        """Put the fixations of cases into frames. `most` is not laid on yet.

        Args:
            weights: (B, K); 0 for padding, and for a fixation off the image.
            times: (B, K, 2) onset and duration in seconds.
            order: (B, K) integers, the fixation's place among all that were recorded; −1 for padding.
            recorded: (B,) integers, how many were recorded, off-image ones included.

        Returns:
            (B, K) int64, the frame of each fixation or −1; and (B,) int64, the number of frames.
        """
        if self.each == "seconds":
            frame = frames_of_seconds(times[..., 0], times[..., 1], self.seconds)
            frame = torch.where(weights > 0, frame, -1)
            return frame, F.pad(frame, (1, 0), value=-1).amax(1) + 1
        return (order, recorded) if self.off_image else one_frame_per_fixation(weights)
