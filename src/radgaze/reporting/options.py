"""Options of the report of a run."""

from __future__ import annotations

from dataclasses import dataclass

from radgaze.options import Options, option


@dataclass(frozen=True)
class ReportOptions(Options):
    """Contents of the report of a run.

    Attributes:
        each: Number of correct and of wrong cases shown per class.
    """

    each: int = option(3, at_least=0)
