"""Figures that are kept as they are made: a stopped benchmark goes on, and several processes may share it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from radgaze.errors import UserError
from radgaze.files import write_text
from radgaze.locks import exclusive

Figures = dict[str, float]


def kept(path: Path, make: Callable[[], Figures]) -> Figures | None:
    """Read the figures of a file; where there is none, make and write them.

    Args:
        path: The file; one with the suffix .lock stands beside it.
        make: Function that measures.

    Returns:
        The figures, or None while another process measures them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    held = False
    try:
        with exclusive(path.with_suffix(".lock"), "another process measures"):
            held = True
            if not path.is_file():
                write_text(json.dumps(make()), path)
    except UserError:
        if held:  # of what is measured
            raise
        return None
    figures: Figures = json.loads(path.read_text(encoding="utf-8"))
    return figures
