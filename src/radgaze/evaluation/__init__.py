"""Evaluation of runs: metrics with intervals for one run, and comparisons of runs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from radgaze.evaluation.comparison import Comparison, compare
    from radgaze.evaluation.maps import CaseMaps, case_maps
    from radgaze.evaluation.measuring import evaluate
    from radgaze.evaluation.options import EvaluationOptions
    from radgaze.evaluation.results import EvaluationResults, read_results

__all__ = [
    "CaseMaps",
    "Comparison",
    "EvaluationOptions",
    "EvaluationResults",
    "case_maps",
    "compare",
    "evaluate",
    "read_results",
]

_MODULES = {
    "CaseMaps": "maps",
    "Comparison": "comparison",
    "EvaluationOptions": "options",
    "EvaluationResults": "results",
    "case_maps": "maps",
    "compare": "comparison",
    "evaluate": "measuring",
    "read_results": "results",
}


def __getattr__(name: str) -> object:
    # The command line imports options, which must not import torch.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
