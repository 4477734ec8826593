"""How good a run is, and where it looks: figures with intervals, for one run or several side by side."""

from radgaze.evaluation.comparison import Comparison, compare
from radgaze.evaluation.maps import CaseMaps, case_maps
from radgaze.evaluation.measuring import evaluate

__all__ = ["CaseMaps", "Comparison", "case_maps", "compare", "evaluate"]
