"""The page of the matrix of reasons: what each experiment relies on, and the gap that it closes."""

from radgaze.reporting.reasons.page import write
from radgaze.reporting.reasons.worlds import CLEAN, ReasonsResults

__all__ = ["CLEAN", "ReasonsResults", "write"]
