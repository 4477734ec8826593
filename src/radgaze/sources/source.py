"""Description of a source of cohorts: its options, and the function that reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from radgaze.options import Options

if TYPE_CHECKING:
    from radgaze.sources.cohort import Cohort

Given = TypeVar("Given", bound=Options)


@dataclass(frozen=True)
class Source(Generic[Given]):
    """A source, which its module provides as `SOURCE`.

    Attributes:
        options: Class of the options of `read`; `radgaze prepare NAME` has an argument for each field.
        read: Function that reads the data set as a cohort.
        example: Example of a command that prepares the data set.
        fitted: Whether its images have been letterboxed before, to the size in the cohort's parameters.
    """

    options: type[Given]
    read: Callable[[Given], Cohort]
    example: str
    fitted: bool = False
