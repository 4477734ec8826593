"""How good a run is, and where it looks: figures with intervals, for one run or several side by side."""

from radgaze.evaluation.compare import Comparison, compare
from radgaze.evaluation.evaluate import evaluate
from radgaze.evaluation.maps import CaseMaps, case_maps

__all__ = ["CaseMaps", "Comparison", "case_maps", "compare", "evaluate"]
