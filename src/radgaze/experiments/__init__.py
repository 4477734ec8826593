"""The experiments, one YAML each, named as in the paper's table; `load(name)` gives the settings of one."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import yaml

from radgaze.errors import UserError


def names() -> tuple[str, ...]:
    """The experiments there are."""
    return tuple(
        sorted(f.name.removesuffix(".yaml") for f in files(__name__).iterdir() if f.name.endswith(".yaml"))
    )


def load(name: str, protocol: str = "honest") -> dict[str, Any]:
    """An experiment's settings as a nested dictionary, with the faithful protocol's over them if asked for.

    Raises:
        UserError: There is no experiment of that name.
    """
    if name not in names():
        raise UserError(f"there is no experiment {name!r}; there are {', '.join(names())}")
    settings = yaml.safe_load((files(__name__) / f"{name}.yaml").read_text(encoding="utf-8"))
    faithful = settings.pop("faithful", {})
    return merge(settings, faithful) if protocol == "faithful" else settings


def merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Nested dictionaries, the second laid over the first."""
    both = dict(under)
    for key, value in over.items():
        both[key] = (
            merge(both[key], value) if isinstance(value, dict) and isinstance(both.get(key), dict) else value
        )
    return both


def flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, its keys joined by dots."""
    found: dict[str, Any] = {}
    for key, value in nested.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return found
