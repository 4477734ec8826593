"""Small random changes of a case; the image and everything marked on it move together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F
from torchvision.tv_tensors import Image, KeyPoints


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a case, like those of a patient's position and the exposure.

    Attributes:
        rotate: Maximum rotation either way, in degrees.
        scale: Lowest and highest zoom.
        translate: Maximum shift each way, as a share of the side.
        flip: Probability of mirroring left and right; 0 by default, since the heart is on one side.
        brightness, contrast: Maximum difference of the factor from 1.
    """

    rotate: float = 7.0
    scale: tuple[float, float] = (0.9, 1.1)
    translate: float = 0.05
    flip: float = 0.0
    brightness: float = 0.1
    contrast: float = 0.15

    def __call__(
        self, image: Tensor, points: Tensor, sigma: Tensor, seed: int, regions: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Change one case; the same seed gives the same change, whatever the state of the generators.

        Args:
            image: (1, S, S) in [0, 1].
            points: (K, 2) fixations in pixels of the image.
            sigma: (2,) of the gaze map; it grows with the zoom.
            seed: Random seed of the change.
            regions: (M, S, S) in 256 levels: the share of each pixel that is inside.

        Returns:
            Image, points, sigma and regions.
        """
        moves, exposes = _transforms(self)
        picture, marked = Image(image), Image(regions)
        marks = KeyPoints(points, canvas_size=(image.shape[-2], image.shape[-1]))
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            drawn = moves.make_params([picture])
            picture, marks = moves.transform(picture, drawn), moves.transform(marks, drawn)
            if len(regions):
                marked = moves.transform(marked, drawn)
            if torch.rand(()) < self.flip:
                # Not torchvision's flip of key points, which takes them for pixel indices (width − 1 − x),
                # where its affine map has pixel centres at +0.5, as we have.
                picture, marked = F.horizontal_flip(picture), F.horizontal_flip(marked)
                marks = marks * marks.new_tensor([-1, 1]) + marks.new_tensor([image.shape[-1], 0])
            picture = exposes(picture)
        moved = (part.as_subclass(Tensor) for part in (picture, marks, marked))
        picture, marks, marked = moved
        return picture, marks, sigma * drawn["scale"], marked


@cache
def _transforms(augmentation: Augmentation) -> tuple[v2.RandomAffine, v2.ColorJitter]:
    translate = (augmentation.translate, augmentation.translate)
    moves = v2.RandomAffine(
        augmentation.rotate, translate, augmentation.scale, interpolation=v2.InterpolationMode.BILINEAR
    )
    return moves, v2.ColorJitter(augmentation.brightness, augmentation.contrast)
