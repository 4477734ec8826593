"""The experiments, one YAML file each, and the protocols under which they can be trained.

An experiment's file holds its presentation (`title`, `summary`, `family`, `order`) and the settings of a run
that differ from the defaults. The settings in a protocol's file, `protocols/NAME.yaml`, replace these, and
the section of that name in the experiment's own file replaces the settings of the protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import TypeVar

import yaml

from radgaze.errors import UserError, call, close_to
from radgaze.plugins import ready

Value = TypeVar("Value")

OURS = "Ours"
"""The family of experiments that the paper does not have."""

COMPARISON = "Comparison"
"""The family of methods from the literature that the paper names or that it is compared with."""

COUNTERFACTUAL = "Counterfactual"
"""The family of experiments of ours on changed training images, see docs/counterfactual.md."""

BY_NAME = (COMPARISON, COUNTERFACTUAL)
"""The families that a grid runs only where their experiments are named."""

CONTROL = "+"
"""Sign between the names of an experiment and of the control of gaze with which it was trained."""

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


_REGISTERED: dict[str, Traversable] = {}


def register(files_of: Traversable) -> None:
    """Register experiments from outside of radgaze.

    Args:
        files_of: A YAML file, or a folder of them, such as `Path(__file__).parent / "experiments"` or
            `importlib.resources.files("my_package") / "experiments"`; a file's name is the experiment's.

    Raises:
        ValueError: radgaze has an experiment of that name, or there is no YAML file.
    """
    if files_of.is_file():
        of_experiments = [files_of]
    else:
        of_experiments = [files_of / f"{name}.yaml" for name in _yaml_files(files_of)]
    if not of_experiments:
        raise ValueError(f"there is no YAML file in {files_of}")
    for file in of_experiments:
        name = file.name.removesuffix(".yaml")
        if (files(__name__) / f"{name}.yaml").is_file():
            raise ValueError(f"there is an experiment {name!r} already")
        _REGISTERED[name] = file
    catalogue.cache_clear()


def names() -> tuple[str, ...]:
    """Names of the experiments, sorted."""
    ready()
    return tuple(sorted((*_yaml_files(files(__name__)), *_REGISTERED)))


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
    if not isinstance(section, dict):
        raise UserError(f"the field {protocol!r} of {_file(name)} has no fields of its own")
    return merge(settings, section)


@cache
def catalogue() -> tuple[Experiment, ...]:
    """All experiments in the order in which they are shown."""
    return tuple(sorted((describe(name) for name in names()), key=lambda each: (each.order, each.name)))


def describe(name: str) -> Experiment:
    """Load the presentation of an experiment; the title of one that radgaze does not have is its name.

    An experiment with a control (`with_control`) has the control in its title.

    Raises:
        UserError: The experiment's file lacks a field, or a field has another type.
    """
    experiment, control = control_of(name)
    if control:
        title = f"{describe(experiment).title}, control {control.replace('_', ' ')}"
        return replace(describe(experiment), name=name, title=title)
    if name not in names():
        return Experiment(name, name.replace("_", " "))
    content = _content(name)
    order = content.get("order", LAST)
    if type(order) is not int:
        raise UserError(f"the field 'order' of {_file(name)} must be a whole number, got {order!r}")
    title, family, summary = (_text(name, content, field) for field in ("title", "family", "summary"))
    return Experiment(name, title, family, order, summary)


def with_control(experiment: str, control: str) -> str:
    """Name an experiment with a control of gaze, such as "set3_guided+shuffled"; without one for "none"."""
    return experiment if control == "none" else f"{experiment}{CONTROL}{control}"


def control_of(name: str) -> tuple[str, str]:
    """Split the name of an experiment with a control, see `with_control`; the control is empty for none."""
    experiment, _, control = name.partition(CONTROL)
    return experiment, control


def merge(under: Mapping[str, object], over: Mapping[str, object]) -> dict[str, object]:
    """Merge nested dictionaries; where both have a value, that of `over` is taken."""
    both = dict(under)
    for key, value in over.items():
        inner = both.get(key)
        both[key] = merge(inner, value) if isinstance(value, dict) and isinstance(inner, dict) else value
    return both


def for_encoder(settings: Mapping[str, object], encoder: object) -> dict[str, object]:
    """Leave out an experiment's initial weights where its encoder is replaced: they belong to that encoder.

    Args:
        settings: Nested settings of an experiment, see `load`.
        encoder: Name of the encoder that is used; None for the experiment's own.
    """
    model = settings.get("model")
    if encoder is None or not isinstance(model, Mapping) or model.get("encoder") == encoder:
        return dict(settings)
    return {**settings, "model": {name: value for name, value in model.items() if name != "weights"}}


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
    if name.endswith((".yaml", ".yml")):
        raise UserError(
            f"there is no experiment {name!r}; if it is your file of settings, give it as in "
            f"{call('train', config=name)}, beside the name of an experiment or without one"
        )
    if name not in names():
        raise UserError(
            f"there is no experiment {name!r}; there are {', '.join(names())}{close_to(name, names())}"
        )
    return _REGISTERED.get(name, files(__name__) / f"{name}.yaml").read_text(encoding="utf-8")


def _content(name: str) -> dict[str, object]:
    try:
        content = _loaded(source(name))
    except yaml.YAMLError as error:
        raise UserError(f"{_file(name)} cannot be read as YAML") from error
    if not isinstance(content, dict):
        raise UserError(f"{_file(name)} has no fields")
    return deepcopy(content)


@cache  # by the text, so that a changed file is read again
def _loaded(text: str) -> object:
    return yaml.safe_load(text)


def _text(name: str, content: Mapping[str, object], field: str) -> str:
    value = content.get(field)
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{_file(name)} must state {field!r}, as text")
    return value


def _file(name: str) -> str:
    return f"the experiment's file {name}.yaml"


def _yaml_files(folder: Traversable) -> list[str]:
    return [file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml")]
