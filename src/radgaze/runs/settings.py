"""Configuration in and out: from an experiment's name and overrides to a resolved `Config`, and to YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from jsonargparse import ArgumentParser, Namespace

from radgaze import experiments
from radgaze.errors import UserError
from radgaze.files import read_yaml, write_text
from radgaze.runs.config import Config

END = "..."
"""How YAML marks the end of a document: what lacks it may be cut."""


def resolve(experiment: str, *, protocol: str = "honest", **overrides: Any) -> Config:
    """The configuration of an experiment, with overrides as nested dictionaries laid over it.

    Example: `resolve("baseline", data="store", trainer={"max_epochs": 3})`.

    Raises:
        UserError: No such experiment or field, or a value of the wrong type.
    """
    settings = experiments.merge(experiments.load(experiment, protocol), overrides)
    return from_dict({**settings, "experiment": experiment, "protocol": protocol})


def from_dict(settings: Any) -> Config:
    """A `Config` from a nested dictionary, every value checked against its type.

    Raises:
        UserError: A field that does not exist, or a value of the wrong type.
    """
    _check_fields(settings, Config)
    parser = _parser()
    try:
        parsed = parser.parse_object({"config": settings})
        config: Config = parser.instantiate_classes(parsed).config
        return config
    except Exception as error:  # jsonargparse raises what its own parts raise
        raise UserError(f"the configuration cannot be used: {_short(error)}") from error


def to_dict(config: Config) -> dict[str, Any]:
    """A `Config` as a nested dictionary of plain values."""
    plain: dict[str, Any] = _plain(asdict(config))
    return plain


def read(path: Path) -> Config:
    """The configuration of a run, in a YAML file that `write` wrote.

    Raises:
        UserError: The file is missing, cut, is not YAML, or holds what a `Config` does not.
    """
    try:
        settings = read_yaml(path)
        whole = path.read_text(encoding="utf-8").rstrip().endswith(END)
    except FileNotFoundError as error:
        raise UserError(f"{path.parent} is not a run: it holds no {path.name}") from error
    try:
        _check_fields(settings, Config)
        absent = _absent(settings, Config, deep=not whole)
        if absent:
            raise UserError(f"it is cut or no run's: {', '.join(absent[:3])} is missing")
        return from_dict(settings)
    except UserError as error:
        raise UserError(f"{path}: {error}; put the file back as `radgaze train` wrote it") from error


def write(config: Config, path: Path) -> None:
    """Write a configuration, resolved, as YAML, with YAML's own mark at its end."""
    write_text(yaml.safe_dump(to_dict(config), sort_keys=False, default_flow_style=False) + END + "\n", path)


def from_namespace(namespace: Namespace) -> Config:
    """A `Config` from what the command line parsed."""
    return from_dict(namespace.as_dict())


def _check_fields(settings: Any, kind: Any, within: str = "") -> None:
    """Raise UserError where a configuration is not made of a `Config`'s own fields and plain values.

    jsonargparse would take the name of a class to import for a section, or of a file to read.
    """
    if not isinstance(settings, Mapping):
        raise UserError(f"{within or 'the configuration'} is not made of fields and values")
    hints = get_type_hints(kind)
    for name, value in settings.items():
        where = f"{within}.{name}" if within else str(name)
        if name not in hints:
            raise UserError(f"there is no field {where[:80]!r} in the configuration of a run")
        if is_dataclass(hints[name]):
            if not is_dataclass(value):
                _check_fields(value, hints[name], where)
        elif not _is_plain(value):
            raise UserError(f"{where} is neither a plain value nor a list of them")


def _is_plain(value: Any) -> bool:
    inner = value if isinstance(value, list | tuple) else [value]
    return all(one is None or isinstance(one, str | int | float) for one in inner)


def _absent(settings: Mapping[str, Any], kind: Any, *, deep: bool, within: str = "") -> list[str]:
    """The fields that a configuration lacks; of its sections only where `deep`."""
    found = []
    for name, hint in get_type_hints(kind).items():
        if name not in settings:
            found.append(within + name)
        elif deep and is_dataclass(hint):
            found += _absent(settings[name], hint, deep=deep, within=f"{within}{name}.")
    return found


def _parser() -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", type=Config)
    return parser


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
