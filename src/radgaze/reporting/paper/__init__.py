"""The paper's tables 1 to 5, its figures, and one page with all of them, from a grid of runs."""

from radgaze.reporting.paper.page import write
from radgaze.reporting.paper.results import Results

__all__ = ["Results", "write"]
