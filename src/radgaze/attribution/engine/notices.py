"""Warnings that point at the user's line, however deep within this package or torch they arise."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import torch

_OURS = (str(Path(__file__).parents[2]), str(Path(torch.__file__).parent))


def warn_user(text: str) -> None:
    """Warn at the line that called this package."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and _is_ours(frame.f_code.co_filename):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, stacklevel=level)


def _is_ours(file: str) -> bool:
    return file.startswith(_OURS) or file.endswith(("contextlib.py", "functools.py"))
