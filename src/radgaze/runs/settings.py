"""Creation of configurations from an experiment and overrides, and their YAML files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TypeVar, get_args, get_origin

import yaml
from jsonargparse import ArgumentParser, Namespace

from radgaze import experiments, plugins
from radgaze.errors import UserError, close_to
from radgaze.files import read_yaml, stay_within, write_text
from radgaze.options import KINDS, FieldError
from radgaze.records import Plain, plain
from radgaze.runs.config import Config
from radgaze.runs.plugins import REGISTRIES, used
from radgaze.sections import Section, hints_of, is_omitted
from radgaze.sections import to_dict as section_to_dict

END = "..."
"""YAML's mark of the end of a document: a file without it may be truncated."""

AnySection = TypeVar("AnySection", bound=Section)


def resolve(experiment: str, *, protocol: str = "honest", **overrides: object) -> Config:
    """Resolve the configuration of an experiment.

    Example: `resolve("baseline", data="store", trainer={"max_epochs": 3})`.

    Args:
        experiment: Name of the experiment.
        protocol: "honest" or "faithful".
        **overrides: Values that replace those of the experiment; those of sections as nested dictionaries.
            With another `model.encoder`, `model.weights` are the default, unless they are given too.

    Raises:
        UserError: There is no such experiment or field, or a value is not allowed or is without effect.
    """
    settings = experiments.load(experiment, protocol)
    check_terms(experiment, settings, overrides)
    model = overrides.get("model")
    encoder = model.get("encoder") if isinstance(model, Mapping) else None
    settings = experiments.merge(experiments.for_encoder(settings, encoder), overrides)
    config = from_dict({**settings, "experiment": experiment, "protocol": protocol})
    check_used(config)
    return config


def check_used(config: Config) -> None:
    """Check that a configuration that was not read from a run sets no field of the split in vain.

    Raises:
        FieldError: It does.
    """
    try:
        config.split.check_used()
    except FieldError as error:
        raise error.inside("split") from None


def check_terms(experiment: str, settings: Mapping[str, object], given: Mapping[str, object]) -> None:
    """Check that each given term is one of the experiment's, or states its kind.

    A misspelt name would otherwise add a term of the default kind.

    Args:
        experiment: Name of the experiment.
        settings: Nested settings of the experiment.
        given: Nested settings that are laid over them.

    Raises:
        UserError: A term is neither.
    """
    existing = _terms(settings)
    for name, term in _terms(given).items():
        if name not in existing and "kind" not in (term if isinstance(term, Mapping) else {}):
            have = f"has the terms {', '.join(map(str, existing))}" if existing else "has no further terms"
            raise UserError(
                f"`objective.terms.{name}` has no kind, and the experiment {experiment} {have}: correct the "
                f"name, or give `objective.terms.{name}.kind` of a new term"
            )


def _terms(settings: Mapping[str, object]) -> Mapping[str, object]:
    goal = settings.get("objective")
    terms = goal.get("terms") if isinstance(goal, Mapping) else None
    return terms if isinstance(terms, Mapping) else {}


def from_dict(settings: object) -> Config:
    """Make a `Config` from a nested dictionary, and check every value.

    Raises:
        UserError: A field does not exist, a value has the wrong type or is not allowed, or a plugin that is
            needed was not imported.
    """
    plugins.ready()
    for place, inner, values in _named_sections(_check_fields(settings, Config), Config):
        _parsed(inner, values, place)  # an error of the whole would not tell which of them it is
    parsed = _parsed(Config, settings)
    plugins.check(getattr(parsed, "plugins", []))
    config = _made(Config, parsed)
    config.plugins = sorted({*config.plugins, *used(to_dict(config))})
    plugins.check(config.plugins)  # one whose import failed may have registered what is used
    return config


def _parsed(cls: type[Section], settings: object, within: str = "") -> Namespace:
    """Check and convert the values of a section's fields.

    Raises:
        UserError: A value is of the wrong type.
    """
    try:  # a copy, since parsing changes the settings
        parser = _parser(cls)  # type: ignore[arg-type]  # a class is hashable
        # Without defaults, which the sections' classes have, it is a fourth of the work.
        parsed: Namespace = parser.parse_object({"config": deepcopy(settings)}, defaults=False).config
    except Exception as error:  # jsonargparse passes on exceptions of any type
        place = f'"{within}.' if within else '"'
        raise UserError(_in_words(_short(error).replace('"config.', place, 1))) from error
    return parsed


@cache  # to make one takes as long as to parse with it
def _parser(cls: type[Section]) -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", type=cls)  # flags: the parser's own argument
    return parser


def _named_sections(
    settings: Mapping[str, object], section: type[Section], within: str = ""
) -> Iterator[tuple[str, type[Section], object]]:
    """The place, class and values of each named section in the settings of a section."""
    hints = hints_of(section)
    for name, value in settings.items():
        hint, inner = hints[name], _inner(hints[name])
        if not isinstance(value, Mapping):
            continue
        if inner is not None:
            yield from ((f"{within}{name}.{key}", inner, each) for key, each in value.items())
        elif isinstance(hint, type) and issubclass(hint, Section):
            yield from _named_sections(value, hint, f"{within}{name}.")


def to_dict(config: Config) -> dict[str, Plain]:
    """Convert a `Config` to a nested dictionary of plain values, as its file holds it."""
    return {name: plain(value) for name, value in section_to_dict(config).items()}


def read(path: Path) -> Config:
    """Read the configuration of a run from a YAML file that `write` wrote.

    Raises:
        UserError: The file is missing, truncated or not YAML, or is not the configuration of a run.
    """
    try:
        settings = read_yaml(path)
        whole = path.read_text(encoding="utf-8").rstrip().endswith(END)
    except FileNotFoundError as error:
        raise UserError(f"{path.parent} is not a run: it holds no {path.name}") from error
    try:
        absent = _absent(_check_fields(settings, Config), Config, deep=not whole)
        if absent:
            raise UserError(f"it is cut or no run's: {', '.join(absent[:3])} is missing")
        return from_dict(settings)
    except plugins.PluginMissingError as error:
        raise plugins.PluginMissingError(f"{path}: {error}") from error
    except UserError as error:
        advice = "put the file back as `radgaze train` wrote it"
        if isinstance(error, FieldError) and error.name.rpartition(".")[2] in REGISTRIES:
            advice = f"if your notebook or script defined it, run that first; else {advice}"
        raise UserError(f"{path}: {error}; {advice}") from error


def of_run(run: Path) -> Config:
    """Read the configuration of the run in a folder.

    Raises:
        UserError: The folder is missing or not a run, or its configuration is damaged.
    """
    if not run.is_dir():
        raise UserError(f"{run}: no such folder; a run is a folder that `radgaze train` wrote")
    stay_within(run)
    return read(run / "config.yaml")


def write(config: Config, path: Path) -> None:
    """Write a resolved configuration as YAML, with YAML's mark at its end."""
    write_text(yaml.safe_dump(to_dict(config), sort_keys=False, default_flow_style=False) + END + "\n", path)


def from_namespace(namespace: Namespace) -> Config:
    """Make a `Config` from the parsed arguments of the command line.

    Raises:
        UserError: A value is not allowed.
    """
    return from_dict(namespace.as_dict())


def _made(cls: type[AnySection], values: Namespace) -> AnySection:
    """Make a section from parsed values; an error names its field with all enclosing sections."""
    hints = hints_of(cls)
    arguments = dict(vars(values))
    for name, value in arguments.items():
        inner = _inner(hints[name])
        if isinstance(value, Namespace):
            arguments[name] = _made_inside(name, hints[name], value)
        elif inner is not None and isinstance(value, dict):
            arguments[name] = {key: _made_inside(f"{name}.{key}", inner, each) for key, each in value.items()}
    return cls(**arguments)


def _made_inside(name: str, cls: type[AnySection], values: Namespace) -> AnySection:
    try:
        return _made(cls, values)
    except FieldError as error:
        raise error.inside(name) from None


def _inner(hint: object) -> type[Section] | None:
    """The class of the named sections in a field of type `dict[str, Section]`; None of another field."""
    inner = get_args(hint)[1] if get_origin(hint) is dict else None
    return inner if isinstance(inner, type) and issubclass(inner, Section) else None


def _check_fields(settings: object, section: type[Section], within: str = "") -> Mapping[str, object]:
    """Check that settings consist of the fields of a section and plain values; return them.

    In place of a section, jsonargparse would accept the name of a class to import or of a file to read.

    Raises:
        UserError: There is another field, or a value is not plain.
    """
    if not isinstance(settings, Mapping):
        raise UserError(f"{within or 'the configuration'} is not made of fields and values")
    hints = hints_of(section)
    for name, value in settings.items():
        place = f"{within}.{name}" if within else str(name)
        if name not in hints:
            raise UserError(
                f"there is no field {place[:80]!r} in the configuration of a run{_meant(str(name), section)}"
            )
        inner = _inner(hints[name])
        if is_dataclass(hints[name]):
            if not is_dataclass(value):
                _check_fields(value, hints[name], place)
        elif get_origin(hints[name]) is dict:
            for key, each in _named(value, place).items():
                if inner is not None:
                    _check_fields(each, inner, f"{place}.{key}")
                elif not all(map(_is_plain, each.values() if isinstance(each, Mapping) else [each])):
                    raise UserError(f"{place}.{key} is neither a plain value nor several of them")
        elif not _is_plain(value):
            raise UserError(f"{place} is neither a plain value nor a list of them")
    return settings


def _meant(name: str, section: type[Section]) -> str:
    """The end of a message about a field that a section lacks: the one that was perhaps meant, or all."""
    hints = hints_of(section)
    if close := close_to(name, hints):
        return close
    sections = {
        key: hint for key, hint in hints.items() if isinstance(hint, type) and issubclass(hint, Section)
    }
    inner = {each: f"{key}.{each}" for key, hint in sections.items() for each in hints_of(hint)}
    if alike := get_close_matches(name, inner, 1):
        return f"; did you mean {inner[alike[0]]}?"
    return f"; there are {', '.join(hints)}"


def _named(value: object, place: str) -> Mapping[str, object]:
    """Check that a value consists of names and values.

    Raises:
        UserError: It does not.
    """
    if not isinstance(value, Mapping) or not all(
        isinstance(name, str) and name.isidentifier() for name in value
    ):
        raise UserError(f"{place} is not made of names and values")
    return value


def _is_plain(value: object) -> bool:
    values = value if isinstance(value, list | tuple) else [value]
    return all(each is None or isinstance(each, str | int | float) for each in values)


def _absent(settings: object, section: type[Section], *, deep: bool, within: str = "") -> list[str]:
    """The fields that settings lack; of the sections in them only where `deep`."""
    absent: list[str] = []
    given = settings if isinstance(settings, Mapping) else {}
    hints = hints_of(section)
    for each in fields(section):
        name, hint = each.name, hints[each.name]
        if name not in given:
            absent += [] if is_omitted(each) else [within + name]
        elif deep and isinstance(hint, type) and issubclass(hint, Section):
            absent += _absent(given[name], hint, deep=deep, within=f"{within}{name}.")
    return absent


_FAULT = re.compile(
    r'Parser key "([\w.]+)": Expected an? (?:<class \'(\w+)\'>|typing\.Literal\[(.*)\])\. Got value: (.*)'
)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _in_words(text: str) -> str:
    """jsonargparse's message about a value, in the words of other messages where it is of a known form."""
    fault = _FAULT.fullmatch(text)
    if fault is None or (fault[2] and fault[2] not in KINDS):
        return f"the configuration cannot be used: {text}"
    kind = KINDS[fault[2]] if fault[2] else f"one of {fault[3].replace(chr(39), '')}"
    return f"`{fault[1]}` must be {kind}, got {fault[4]}"
