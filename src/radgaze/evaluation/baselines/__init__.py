"""Baseline maps: maps made without the model, which a heatmap should surpass.

Under plain metrics a lung-shaped mask scores as high as another radiologist's gaze (arXiv 2112.11716); every
table of agreement therefore includes it, and the mean gaze of the training cases.
"""

# Each module registers its map; tables and figures show them in this order.
from radgaze.evaluation.baselines import (  # noqa: F401, I001
    mean_gaze,
    lung_shape,
    random,
)
from radgaze.evaluation.baselines.baseline_map import (
    REGISTRY,
    BaselineInputs,
    BaselineMap,
    create,
    evaluated,
    register,
)

__all__ = ["REGISTRY", "BaselineInputs", "BaselineMap", "create", "evaluated", "register"]
