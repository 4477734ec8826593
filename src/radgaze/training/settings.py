"""Configuration in and out: from an experiment's name and overrides to a resolved `Config`, and to YAML."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser, Namespace

from radgaze import experiments
from radgaze.errors import UserError
from radgaze.training.config import Config


def resolve(experiment: str, *, protocol: str = "honest", **overrides: Any) -> Config:
    """The configuration of an experiment, with overrides as nested dictionaries laid over it.

    Example: `resolve("baseline", data="store", trainer={"max_epochs": 3})`.

    Raises:
        UserError: No such experiment or field, or a value of the wrong type.
    """
    settings = experiments.merge(experiments.load(experiment, protocol), overrides)
    return from_dict({**settings, "experiment": experiment, "protocol": protocol})


def from_dict(settings: dict[str, Any]) -> Config:
    """A `Config` from a nested dictionary, every value checked against its type.

    Raises:
        UserError: A field that does not exist, or a value of the wrong type.
    """
    parser = _parser()
    try:
        parsed = parser.parse_object({"config": settings})
        return parser.instantiate_classes(parsed).config
    except Exception as error:  # jsonargparse raises what its own parts raise
        raise UserError(f"the configuration cannot be used: {_short(error)}") from error


def to_dict(config: Config) -> dict[str, Any]:
    """A `Config` as a nested dictionary of plain values."""
    return _plain(asdict(config))


def read(path: Path) -> Config:
    """The configuration in a YAML file.

    Raises:
        UserError: The file is missing, is not YAML, or holds what a `Config` does not.
    """
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path.parent} is not a run: it holds no {path.name}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {_short(error)}") from error
    return from_dict(settings)


def write(config: Config, path: Path) -> None:
    """Write a configuration, resolved, as YAML."""
    path.write_text(
        yaml.safe_dump(to_dict(config), sort_keys=False, default_flow_style=False), encoding="utf-8"
    )


def from_namespace(namespace: Namespace) -> Config:
    """A `Config` from what the command line parsed."""
    return from_dict(namespace.as_dict())


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
