"""The experiments, one YAML file each, and the protocols under which they can be trained.

An experiment's file holds its presentation (`title`, `summary`, `family`, `order`) and the settings of a run
that differ from the defaults. The settings in a protocol's file, `protocols/NAME.yaml`, replace these, and
the section of that name in the experiment's own file replaces the settings of the protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import TypeVar

import yaml

from radgaze.errors import UserError

Value = TypeVar("Value")

OURS = "Ours"
"""The family of experiments that the paper does not have."""

COMPARISON = "Comparison"
"""The family of methods from the literature that the paper names or that it is compared with."""

COUNTERFACTUAL = "Counterfactual"
"""The family of experiments of ours on changed training images, see docs/counterfactual.md."""

BY_NAME = (COMPARISON, COUNTERFACTUAL)
"""The families that a grid runs only where their experiments are named."""

LAST = 1_000_000
"""`Experiment.order` of experiments whose file does not state it."""


@dataclass(frozen=True)
class Experiment:
    """Presentation of an experiment.

    Attributes:
        name: Name in settings and on the command line.
        title: Name on a page.
        family: Group in the tables, such as "Set 1".
        order: Place among all experiments, ascending.
        summary: Its method in one line.
    """

    name: str
    title: str
    family: str = OURS
    order: int = LAST
    summary: str = ""


def names() -> tuple[str, ...]:
    """Names of the experiments, sorted."""
    return tuple(sorted(_yaml_files(files(__name__))))


def protocols() -> tuple[str, ...]:
    """Names of the protocols; "honest" has the default settings and no file."""
    return ("honest", *sorted(_yaml_files(files(__name__) / "protocols")))


def load(name: str, protocol: str = "honest") -> dict[str, object]:
    """Load the settings of an experiment under a protocol, as a nested dictionary.

    Settings that are not in it have their default values.

    Args:
        name: Name of the experiment, one of `names()`.
        protocol: Name of the protocol, one of `protocols()`.

    Raises:
        UserError: There is no experiment or no protocol of that name.
    """
    if protocol not in protocols():
        raise UserError(f"there is no protocol {protocol!r}; there are {', '.join(protocols())}")
    content = _content(name)
    settings = {key: value for key, value in content.items() if key not in (*_SHOWN, *protocols())}
    if protocol != "honest":
        file = files(__name__) / "protocols" / f"{protocol}.yaml"
        settings = merge(settings, yaml.safe_load(file.read_text(encoding="utf-8")))
    section = content.get(protocol, {})
    assert isinstance(section, dict)
    return merge(settings, section)


@cache
def catalogue() -> tuple[Experiment, ...]:
    """All experiments in the order in which they are shown."""
    return tuple(sorted((describe(name) for name in names()), key=lambda each: (each.order, each.name)))


def describe(name: str) -> Experiment:
    """Load the presentation of an experiment; the title of one that radgaze does not have is its name."""
    if name not in names():
        return Experiment(name, name.replace("_", " "))
    content = _content(name)
    order = content.get("order", LAST)
    assert isinstance(order, int)
    family, summary = str(content.get("family", OURS)), str(content.get("summary", ""))
    return Experiment(name, str(content["title"]), family, order, summary)


def merge(under: Mapping[str, object], over: Mapping[str, object]) -> dict[str, object]:
    """Merge nested dictionaries; where both have a value, that of `over` is taken."""
    both = dict(under)
    for key, value in over.items():
        inner = both.get(key)
        both[key] = merge(inner, value) if isinstance(value, dict) and isinstance(inner, dict) else value
    return both


def flat(nested: Mapping[str, Value], prefix: str = "") -> dict[str, Value]:
    """Flatten nested dictionaries; keys are joined by dots."""
    items: dict[str, Value] = {}
    for key, value in nested.items():
        items |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return items


_SHOWN = tuple(each.name for each in fields(Experiment) if each.name != "name")


def source(name: str) -> str:
    """Read the text of an experiment's file: its settings, and the sources of its constants as comments.

    Raises:
        UserError: There is no experiment of that name.
    """
    if name not in names():
        raise UserError(f"there is no experiment {name!r}; there are {', '.join(names())}")
    return (files(__name__) / f"{name}.yaml").read_text(encoding="utf-8")


def _content(name: str) -> dict[str, object]:
    return dict(yaml.safe_load(source(name)))


def _yaml_files(folder: Traversable) -> list[str]:
    return [file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml")]
