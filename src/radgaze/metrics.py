"""Agreement of maps with gaze, for arrays and tensors of any of the usual shapes.

    from radgaze import metrics

    metrics.nss(heatmap, fixations)

A map has shape (H, W), (B, H, W) or (B, 1, H, W), as an array, or as a tensor on any device; what it is
compared with has the same number of maps. The result is a number for one map (H, W), and an array (B,) else.
The formulas, their ranges and what they do with constant maps are those of
`radgaze.evaluation.metrics.agreement`, which has further metrics.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radgaze.evaluation.metrics import agreement

__all__ = ["auc_judd", "cc", "fixation_counts", "information_gain", "kl", "nss", "shuffled_auc", "sim"]

Floats = NDArray[np.float64]


def _of_any_shape(metric: Callable[..., Floats]) -> Callable[..., float | Floats]:
    @wraps(metric)
    def measured(*maps: ArrayLike, **named: ArrayLike) -> float | Floats:
        arrays = [_array(each) for each in signature(metric).bind(*maps, **named).args]
        figures = metric(*map(_stacked, arrays))
        return float(figures[0]) if arrays[0].ndim == 2 else figures

    return measured


@wraps(agreement.fixation_counts)
def fixation_counts(points: ArrayLike, present: ArrayLike, size: tuple[int, int]) -> Floats:
    return agreement.fixation_counts(_array(points), _array(present), size)


def _stacked(array: Floats) -> Floats:
    """The maps as (B, H, W)."""
    if array.ndim == 2:
        return array[None]
    if array.ndim == 4 and array.shape[1] == 1:
        return array[:, 0]
    if array.ndim == 3:
        return array
    raise ValueError(f"maps must have a shape (H, W), (B, H, W) or (B, 1, H, W), got {array.shape}")


def _array(maps: ArrayLike) -> Floats:
    if hasattr(maps, "detach"):  # a tensor, perhaps on a GPU and with a gradient
        maps = maps.detach().cpu().double()  # NumPy has no bfloat16
    return np.asarray(maps, dtype=np.float64)


nss = _of_any_shape(agreement.nss)
cc = _of_any_shape(agreement.cc)
kl = _of_any_shape(agreement.kl)
sim = _of_any_shape(agreement.sim)
auc_judd = _of_any_shape(agreement.auc_judd)
shuffled_auc = _of_any_shape(agreement.shuffled_auc)
information_gain = _of_any_shape(agreement.information_gain)
