"""GrabCut of a map: colour models of inside and outside, and a cut along the edges of the image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from radgaze.errors import UserError

ROUNDS = 5
"""Number of iterations of fitting and cutting; OpenCV's own example has five."""


def available() -> None:
    """Check that OpenCV is installed.

    Raises:
        UserError: It is not.
    """
    try:
        import cv2  # noqa: F401
    except ImportError as error:
        raise UserError(
            "`refine=grabcut` needs OpenCV, which is not installed: install `radgaze[grabcut]`, or "
            "opencv-python-headless"
        ) from error


def grabcut(image: NDArray[np.float32], values: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
    """Cut an image into inside and outside, starting from a map (Rother et al. 2004).

    Pixels whose value is below half the threshold are fixed as outside, and those at or above the middle
    between threshold and maximum as inside. The others start as probably inside at or above the threshold,
    and as probably outside below it. These limits are ours: the three-stage method states none. If no pixel,
    or every pixel, reaches the threshold, the image is not cut, and the pixels that reach it are returned.

    Args:
        image: Grey image in [0, 1], of shape (S, S).
        values: Map in [0, 1], scaled to its maximum, of shape (S, S).
        threshold: Share of the maximum, in (0, 1].

    Returns:
        Whether each pixel is inside, of shape (S, S).

    Raises:
        UserError: OpenCV is not installed.
    """
    available()
    import cv2

    start = np.full(values.shape, cv2.GC_BGD, np.uint8)
    start[values >= threshold / 2] = cv2.GC_PR_BGD
    start[values >= threshold] = cv2.GC_PR_FGD
    start[values >= (1 + threshold) / 2] = cv2.GC_FGD
    inside: NDArray[np.bool_] = (start == cv2.GC_FGD) | (start == cv2.GC_PR_FGD)
    if inside.all() or not inside.any():
        return inside
    colour = np.repeat(np.rint(image * 255).astype(np.uint8)[..., None], 3, axis=2)
    outside, within = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)  # it clusters colours
    nowhere = (0, 0, 0, 0)
    cv2.grabCut(colour, start, nowhere, outside, within, ROUNDS, cv2.GC_INIT_WITH_MASK)
    cut: NDArray[np.bool_] = (start == cv2.GC_FGD) | (start == cv2.GC_PR_FGD)
    return cut
