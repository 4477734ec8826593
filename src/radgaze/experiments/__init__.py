"""The experiments, one YAML file each, and the protocols that they can be trained under.

An experiment's file holds how it is shown (`title`, `family`, `order`) and the settings of a run that differ
from the defaults. A protocol's file, `protocols/NAME.yaml`, is laid over these, and over it the section of
that name in the experiment's own file, which holds what is different there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from radgaze.errors import UserError

OWN = "Ours"
"""The family of experiments that the paper does not have."""


@dataclass(frozen=True)
class Experiment:
    """How an experiment is shown.

    Attributes:
        name: Name that it is asked for by.
        title: Name on a page.
        family: Group in the tables, such as "Set 1".
        order: Place among all experiments, ascending.
    """

    name: str
    title: str
    family: str = OWN
    order: int = 1_000_000


def names() -> tuple[str, ...]:
    """Names of the experiments, sorted."""
    return tuple(sorted(_yaml_files(files(__name__))))


def protocols() -> tuple[str, ...]:
    """Names of the protocols; "honest" is that of the defaults and has no file."""
    return ("honest", *sorted(_yaml_files(files(__name__) / "protocols")))


def load(name: str, protocol: str = "honest") -> dict[str, Any]:
    """An experiment's settings under a protocol, as a nested dictionary.

    Raises:
        UserError: There is no experiment or no protocol of that name.
    """
    if protocol not in protocols():
        raise UserError(f"there is no protocol {protocol!r}; there are {', '.join(protocols())}")
    content = _content(name)
    sections = {each: content.pop(each, {}) for each in protocols()}
    settings = {key: value for key, value in content.items() if key not in _SHOWN}
    if protocol != "honest":
        file = files(__name__) / "protocols" / f"{protocol}.yaml"
        settings = merge(settings, yaml.safe_load(file.read_text(encoding="utf-8")))
    return merge(settings, sections[protocol])


@cache
def catalogue() -> tuple[Experiment, ...]:
    """All experiments in the order in which they are shown."""
    return tuple(sorted((describe(name) for name in names()), key=lambda each: (each.order, each.name)))


def describe(name: str) -> Experiment:
    """How an experiment is shown; one that radgaze does not have is shown by its name, among ours."""
    if name not in names():
        return Experiment(name, name.replace("_", " "))
    content = _content(name)
    return Experiment(name, **{key: content[key] for key in _SHOWN if key in content})


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dictionaries, the second laid over the first."""
    both = dict(under)
    for key, value in over.items():
        both[key] = (
            merge(both[key], value) if isinstance(value, dict) and isinstance(both.get(key), dict) else value
        )
    return both


def flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, its keys joined by dots."""
    items: dict[str, Any] = {}
    for key, value in nested.items():
        items |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return items


_SHOWN = tuple(each.name for each in fields(Experiment) if each.name != "name")


def _content(name: str) -> dict[str, Any]:
    if name not in names():
        raise UserError(f"there is no experiment {name!r}; there are {', '.join(names())}")
    return dict(yaml.safe_load((files(__name__) / f"{name}.yaml").read_text(encoding="utf-8")))


def _yaml_files(folder: Any) -> list[str]:
    return [file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml")]
