"""The file of a search's space, as YAML. Does not import torch."""

from __future__ import annotations

from pathlib import Path

from radgaze.errors import UserError
from radgaze.files import read_yaml


def read_entries(path: Path) -> dict[object, object]:
    """Read the ranges and choices of fields as they are in the file, see `space.read`.

    Raises:
        UserError: The file cannot be read, or holds something else.
    """
    try:
        entries = read_yaml(path)
    except OSError as error:
        raise UserError(f"`space` {path} cannot be read: {error.strerror}") from error
    except UserError as error:
        raise UserError(f"`space` {error}") from error
    if not isinstance(entries, dict):
        raise UserError(f"`space` {path} must map fields to ranges; see docs/tuning.md")
    return entries
