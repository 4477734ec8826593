"""Heatmaps smoothed for a reader, as evaluation and reports smooth them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from radgaze.evaluation.maps import smoothed
from radgaze.predicting.inputs import Subject
from radgaze.runs.config import Config
from radgaze.runs.data import gaze_maps


def smooth(heatmaps: NDArray[np.floating], subject: Subject, config: Config) -> NDArray[np.float32]:
    """Blur heatmaps of an image by the Gaussian of the run's gaze maps, each then over its maximum.

    Args:
        heatmaps: Heatmaps (N, S, S) in the model's input; NaN counts as 0.
        subject: The image.
        config: Configuration of the run.
    """
    geometry = subject.frame.geometry(subject.fit, heatmaps.shape[-1])
    sigma = gaze_maps(config.gaze).image_sigma(geometry)
    widths = np.array([[sigma * geometry.scale_y, sigma * geometry.scale_x]] * len(heatmaps))
    blurred = np.nan_to_num(smoothed(np.nan_to_num(heatmaps), widths))
    highest = blurred.max((1, 2), keepdims=True)
    return np.asarray(blurred / np.where(highest > 0, highest, 1), np.float32)
