"""The paper's tables 1 to 5, its figures, and one page with all of them, from a grid of runs."""

from radgaze.reporting.paper.results import Results
from radgaze.reporting.paper.write import write

__all__ = ["Results", "write"]
