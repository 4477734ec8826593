"""The sources by name. A new one is a module of this folder and a line here."""

from __future__ import annotations

from argparse import ArgumentParser
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from radgaze.sources.cohort import Cohort

SOURCES = {
    "egd": "Eye Gaze Data for Chest X-rays (egd-cxr 1.0.0) over MIMIC-CXR",
    "gazesearch": "GazeSearch: searches for one finding, as a JSON list, beside its images",
    "reflacx": "REFLACX 1.0.0 over MIMIC-CXR: phases 1 to 3, several readers, ellipses",
    "merge": "several prepared stores, to one",
    "table": "your own table of images and labels, with fixations and boxes where there are any",
}


class Read(Protocol):
    """Reads a source, given what the command line collected for `add_arguments`."""

    def __call__(self, **options: object) -> Cohort: ...


class Source(Protocol):
    """What a source's module has.

    Attributes:
        EXAMPLE: One command that prepares it.
        FITTED: True where its images are squares of stores already; may be left out.
    """

    EXAMPLE: str
    read: Read
    FITTED: bool

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the source's own options, named as the parameters of `read`."""
        ...


ELSEWHERE = {"merge": "radgaze.store.merge"}
"""Modules that are not of this folder."""


def find(name: str) -> Source:
    """The module of a source, imported now."""
    return cast(Source, import_module(ELSEWHERE.get(name, f"radgaze.sources.{name}")))
