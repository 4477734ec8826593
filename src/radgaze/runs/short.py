"""A configuration in short, as it is shown at the prompt: what differs from the experiment's own settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from radgaze.console import shown
from radgaze.display import near
from radgaze.errors import UserError
from radgaze.models.config import kind_of
from radgaze.runs import settings
from radgaze.runs.config import Config

if TYPE_CHECKING:
    from radgaze.records import Plain

ALWAYS = ("experiment", "protocol", "data", "seed")
"""Fields that are shown in any case."""


def text(config: Config) -> str:
    """Write the fields of `ALWAYS` and all that differ from the experiment's own, as YAML."""
    given = settings.to_dict(config)
    try:
        usual, whose = settings.resolve(config.experiment, protocol=config.protocol), "the experiment's own"
    except UserError:  # of a plugin that is not imported
        usual, whose = Config(), "the defaults"
    differing = different(given, settings.to_dict(usual))
    values = {name: given[name] for name in ALWAYS} | differing
    model = values.get("model")
    if isinstance(model, dict) and "factory" in model:
        model["factory"] = kind_of(config.model)
    if config.data:
        values["data"] = near(Path(config.data))
    written = yaml.safe_dump(values, sort_keys=False, default_flow_style=False, allow_unicode=True)
    lines = [*written.splitlines(), f"# all other settings are {whose}"]
    return "\n".join([type(config).__name__, *(f"  {shown(line)}" for line in lines)])


def different(given: Mapping[str, Plain], usual: Mapping[str, Plain]) -> dict[str, Plain]:
    """Find the nested values that differ from the usual ones, or that these lack."""
    found: dict[str, Plain] = {}
    for name, value in given.items():
        other = usual.get(name)
        if isinstance(value, dict) and isinstance(other, dict):
            if inner := different(value, other):
                found[name] = inner
        elif name not in usual or value != other:
            found[name] = value
    return found
