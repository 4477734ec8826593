"""Functions of users that make networks, named "package.module:function", and which of them may be imported.

To import a module runs its code. A factory is imported only if the user named it, on the command line, in a
file of settings or in Python, or trusts the run that names it. This is the one place that imports any.

The names that may be imported are kept in the environment, so that processes which this one starts (for a
grid, a search, or a training on several devices) may import the same.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from inspect import Parameter, signature
from pathlib import Path

from radgaze.errors import UserError, in_words

NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
"""Form of the name of a factory."""

GIVEN = "given"
"""Name of a network that was given as an object, and of a function that cannot be imported."""

VARIABLE = "RADGAZE_TRUSTED"
"""Variable of the environment: the names that may be imported, separated by spaces."""

EVERY = "*"
"""Stands for every name."""

CLASSES = ("classes", "num_classes")
"""Names of a factory's argument that gets the number of classes."""


def allow(name: str) -> None:
    """Allow a factory, which the user has named, to be imported."""
    names = _allowed()
    if name not in names:
        os.environ[VARIABLE] = " ".join([*names, name])


@contextmanager
def trusting() -> Iterator[None]:
    """Allow every factory to be imported, within the context."""
    before = os.environ.get(VARIABLE)
    allow(EVERY)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = before


def is_allowed(name: str) -> bool:
    """Whether a factory may be imported."""
    return bool({name, EVERY} & set(_allowed()))


def check(name: str, network: str) -> None:
    """Check that a factory may be imported.

    Args:
        name: Name of the factory.
        network: What it makes, in words, for the message.

    Raises:
        UserError: It is not trusted, or the name is that of a network that was given as an object.
    """
    if name == GIVEN:
        raise UserError(
            f"{network} was given as an object in Python, and only its weights are stored: open the run "
            "there with the same network, as in radgaze.Run.open(RUN, model=NETWORK)"
        )
    if not is_allowed(name):
        raise UserError(
            f"{network} is made by {name}, code that is not imported unless you trust who wrote it; if you "
            "do, give `trust=True`"
        )


def imported(name: str) -> Callable[..., object]:
    """Import a factory.

    Args:
        name: "package.module:function". The current folder counts as a place of modules, after all others.

    Raises:
        UserError: It is not trusted, cannot be imported, or is no function.
    """
    check(name, "the network")
    module, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:  # a script's own folder stands in for it
        sys.path.append(here)  # stays: the module may import others later
    try:
        factory: object = import_module(module)
        for part in attribute.split("."):
            factory = getattr(factory, part)
    except Exception as error:  # the module's own code may raise anything
        raise UserError(f"`model.factory={name}` cannot be imported: {in_words(error)}") from error
    if not callable(factory):
        raise UserError(f"`model.factory={name}` is a {type(factory).__name__}, where a function is expected")
    return factory


def name_of(network: object) -> str:
    """Name a function by which it can be imported again; `GIVEN` for a module or another function."""
    module, name = (str(getattr(network, key, "")) for key in ("__module__", "__qualname__"))
    full = f"{module}:{name}"
    if module == "__main__" or not NAME.fullmatch(full):
        return GIVEN
    importable: object = sys.modules.get(module)
    for part in name.split("."):
        importable = getattr(importable, part, None)
    return full if importable is network else GIVEN


def called(
    factory: Callable[..., object], classes: int, options: Mapping[str, object], name: str = "`model.factory`"
) -> object:
    """Call a factory with its options and, if it has an argument of one of the names `CLASSES`, their number.

    Args:
        factory: The factory.
        classes: Number of classes.
        options: Its arguments by name.
        name: Name of the network that it makes, for messages.

    Raises:
        UserError: The factory raised an exception.
    """
    given = dict(options)
    arguments: Mapping[str, Parameter] = {}
    with suppress(TypeError, ValueError):  # of one that is written in C
        arguments = signature(factory).parameters
    kinds = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    for each in CLASSES:
        if each in arguments and arguments[each].kind in kinds and not set(CLASSES) & set(given):
            given[each] = classes
    try:
        return factory(**given)
    except Exception as error:  # a user's code may raise anything
        shown = ", ".join(f"{each}={value!r}" for each, value in given.items())
        raise UserError(f"{name}, called with ({shown}), failed: {in_words(error)}") from error


def _allowed() -> list[str]:
    return os.environ.get(VARIABLE, "").split()
