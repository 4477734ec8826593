"""Augmentation: small random changes of a case, applied to the image and to its annotations alike."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torchvision.transforms import v2


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a case that imitate variation of a patient's position and of the exposure.

    Attributes:
        rotate: Maximum rotation in either direction, in degrees.
        scale: Lowest and highest factor of the zoom.
        translate: Maximum shift in each direction, as a share of the side.
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
        """Change one case; the change depends only on the seed, not on torch's random state.

        Args:
            image: Grey image (1, S, S) in [0, 1].
            points: Fixations (K, 2) in pixels of the image.
            sigma: Standard deviations (2,) of the gaze map, which scale with the zoom.
            seed: Random seed of the change.
            regions: Share of each pixel that is inside each region, (M, S, S) uint8, 255 for all of it.

        Returns:
            Image, points, sigma and regions after the change; points may be off the image.
        """
        from torchvision.transforms.v2.functional import (
            horizontal_flip,  # seconds, and only training needs it
        )
        from torchvision.tv_tensors import Image, KeyPoints

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
                # torchvision's flip of key points is not used: it treats them as pixel indices (width − 1 −
                # x), whereas its affine map, like this package, has pixel centres at +0.5.
                picture, marked = horizontal_flip(picture), horizontal_flip(marked)
                marks = marks * marks.new_tensor([-1, 1]) + marks.new_tensor([image.shape[-1], 0])
            picture = exposes(picture)
        moved = (part.as_subclass(Tensor) for part in (picture, marks, marked))
        picture, marks, marked = moved
        return picture, marks, sigma * drawn["scale"], marked


@cache
def _transforms(augmentation: Augmentation) -> tuple[v2.RandomAffine, v2.ColorJitter]:
    from torchvision.transforms import v2

    translate = (augmentation.translate, augmentation.translate)
    moves = v2.RandomAffine(
        augmentation.rotate, translate, augmentation.scale, interpolation=v2.InterpolationMode.BILINEAR
    )
    return moves, v2.ColorJitter(augmentation.brightness, augmentation.contrast)
