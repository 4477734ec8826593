"""The sources by name. To add one, add a module to this folder and a line here; a plugin registers it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from radgaze.errors import UserError, close_to, shortened
from radgaze.plugins import ready
from radgaze.sources.source import Source

SOURCES = {
    "egd": "Eye Gaze Data for Chest X-rays (egd-cxr 1.0.0) over MIMIC-CXR",
    "gazesearch": "GazeSearch: scan paths of searches for one finding, as a JSON list, with the images",
    "reflacx": "REFLACX 1.0.0 over MIMIC-CXR: phases 1 to 3, several readers, ellipses",
    "merge": "several prepared stores, merged into one",
    "table": "your own table of images and labels, with fixations and boxes where there are any",
}
"""Description of each source, by name."""

ELSEWHERE = {"merge": "radgaze.store.merge"}
"""Modules of sources that are not in this folder."""

_REGISTERED: dict[str, Source[Any]] = {}


def register(name: str, description: str, source: Source[Any]) -> None:
    """Register a source from outside of radgaze, for `radgaze prepare NAME`.

    Args:
        name: Name of the source.
        description: Description, in one line.
        source: The source.

    Raises:
        ValueError: radgaze has a source of that name.
    """
    if name in SOURCES and name not in _REGISTERED:
        raise ValueError(f"there is a source {name!r} already")
    SOURCES[name], _REGISTERED[name] = description, source


def find(name: str) -> Source[Any]:  # each source takes options of its own
    """Import the module of a source, and return the source.

    Raises:
        UserError: There is no such source.
        TypeError: `SOURCE` of the module is not a `Source`.
    """
    ready()
    if name in _REGISTERED:
        return _REGISTERED[name]
    if name not in SOURCES and name not in ELSEWHERE:
        raise UserError(
            f"there is no source {shortened(name)!r}; there are {', '.join(SOURCES)}{close_to(name, SOURCES)}"
        )
    source = import_module(ELSEWHERE.get(name, f"radgaze.sources.{name}")).SOURCE
    if not isinstance(source, Source):
        raise TypeError(f"SOURCE of radgaze.sources.{name} must be a Source, got {type(source).__name__}")
    return source
