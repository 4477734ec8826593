"""Maps that know nothing of a case, or only where its lungs are: what a heatmap has to beat.

On plain metrics a lung-shaped mask ties another radiologist's gaze (arXiv 2112.11716), which is why it stands
in every table of agreement, beside the mean gaze of the training cases.
"""

# Each registers its map; this is the order in which they are shown.
from radgaze.evaluation.baselines import mean_gaze, lung_shape, random  # noqa: F401, I001
from radgaze.evaluation.baselines.baseline_map import (
    REGISTRY,
    BaselineMap,
    Known,
    evaluated,
    made,
    register,
)

__all__ = ["REGISTRY", "BaselineMap", "Known", "evaluated", "made", "register"]
