"""A configuration in short, as it is shown at the prompt: what differs from the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from radgaze.console import shown
from radgaze.display import near
from radgaze.records import Plain, plain
from radgaze.sections import Section, to_dict

FIRST = ("experiment", "protocol", "data", "seed")
"""Fields that are shown in any case."""


def text(config: Section, network: str | None) -> str:
    """Write the fields of `FIRST` and all that differ from the defaults, as YAML.

    Args:
        config: The configuration of a run.
        network: Name of its network where that is its user's own.
    """
    given, usual = (
        {name: plain(value) for name, value in to_dict(each).items()} for each in (config, type(config)())
    )
    values = {name: given[name] for name in FIRST} | different(given, usual)
    if isinstance(model := values.get("model"), dict) and network is not None:
        model["factory"] = network
    values["data"] = near(Path(str(given["data"]))) if given["data"] else ""
    lines = yaml.safe_dump(values, sort_keys=False, default_flow_style=False, allow_unicode=True).splitlines()
    head = f"{type(config).__name__}, as far as it differs from the defaults"
    return "\n".join([head, *(f"  {shown(line)}" for line in lines)])


def different(given: Mapping[str, Plain], usual: Mapping[str, Plain]) -> dict[str, Plain]:
    """Find the nested values that differ from the usual ones, or that these lack."""
    differing: dict[str, Plain] = {}
    for name, value in given.items():
        other = usual.get(name)
        if isinstance(value, dict) and isinstance(other, dict):
            if inner := different(value, other):
                differing[name] = inner
        elif name not in usual or value != other:
            differing[name] = value
    return differing
