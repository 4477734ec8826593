"""What the paper shows, from a grid of runs: its tables 1 to 5, its figures, one page that holds it all."""

from radgaze.reporting.paper.results import Results
from radgaze.reporting.paper.write import write

__all__ = ["Results", "write"]
