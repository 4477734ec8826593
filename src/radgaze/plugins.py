"""Plugins: modules from outside of radgaze that register generators, distances, metrics and the like.

A module is a plugin by being imported: its decorators register what it has. Imported are the modules that the
user names (`radgaze.plugin("MODULE")`, or the option of the command line) and those that installed packages
name as entry points of the group `radgaze.plugins`; never one that a run, a store or a configuration names.

Does not import torch, nor a plugin before it is needed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from radgaze.errors import UserError, in_words, shortened

GROUP = "radgaze.plugins"
"""Group of the entry points of installed packages."""

ASKED = "RADGAZE_PLUGINS"
"""Environment variable with the plugins that the user named, for the processes that this one starts."""

_loaded: list[str] = []
_begun = False


class PluginMissingError(UserError):
    """Settings need a plugin that was not imported."""


def load(plugin: str) -> str:
    """Import a plugin that the user names.

    Args:
        plugin: Name of a module, which may lie in the working folder, or path of a file that ends with .py.

    Returns:
        The name of the module.

    Raises:
        UserError: It cannot be imported.
    """
    is_file = plugin.endswith(".py")
    name = Path(plugin).stem if is_file else plugin
    if name in _loaded:
        return name
    try:
        _import_file(name, Path(plugin)) if is_file else _import(name)
    except Exception as error:  # a plugin may raise anything
        why = shortened(" ".join(in_words(error).split()), 300)
        raise UserError(f"the plugin {shortened(plugin)} cannot be imported: {why}") from error
    _loaded.append(name)
    before = [each for each in os.environ.get(ASKED, "").split(os.pathsep) if each]
    os.environ[ASKED] = os.pathsep.join([*before, str(Path(plugin).resolve()) if is_file else name])
    return name


def ready() -> None:
    """Import, once, the plugins that the process which started this one had, and those of installed packages.

    An installed one that cannot be imported is told, and left out.

    Raises:
        UserError: A plugin that the user named cannot be imported.
    """
    global _begun
    if _begun:
        return
    _begun = True  # before the imports: a plugin imports radgaze
    for plugin in filter(None, os.environ.get(ASKED, "").split(os.pathsep)):
        load(plugin)
    from importlib.metadata import entry_points

    for entry in entry_points(group=GROUP):
        try:
            entry.load()
        except Exception as error:  # a plugin may raise anything
            from radgaze.console import say

            package = entry.dist.name if entry.dist is not None else "unknown"
            why = shortened(" ".join(in_words(error).split()), 300)
            say(f"The plugin {entry.name} of the package {package} is left out, it cannot be imported: {why}")
        else:
            _loaded.append(entry.module)


def loaded() -> tuple[str, ...]:
    """Names of the modules that were imported as plugins."""
    return tuple(_loaded)


def of_module(module: str) -> str | None:
    """The plugin that a module belongs to; None for one of radgaze, and for an interactive one.

    Args:
        module: Name of the module that defines what is used.
    """
    if module.split(".")[0] in ("radgaze", "__main__", "builtins"):
        return None
    return next((name for name in _loaded if f"{module}.".startswith(f"{name}.")), module)


def check(names: Iterable[str]) -> None:
    """Check that plugins were imported, without importing them.

    Raises:
        PluginMissingError: One of them was not.
    """
    for name in names:
        if name not in sys.modules:
            short = shortened(name)
            raise PluginMissingError(
                f"it needs the plugin {short}, which radgaze does not import of itself: if you trust it, "
                f"give `plugin={short}`, or install the package that has it"
            )


def _import(name: str) -> None:
    """Import a module, also from the working folder, where Python looks last."""
    here = str(Path.cwd())
    added = here not in sys.path and "" not in sys.path
    if added:
        sys.path.append(here)
    try:
        import_module(name)
    finally:
        if added and here in sys.path:
            sys.path.remove(here)


def _import_file(name: str, path: Path) -> None:
    spec = spec_from_file_location(name, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise FileNotFoundError("there is no such file")
    if name in sys.modules:
        raise ImportError(f"a module {name} exists already; rename the file")
    sys.modules[name] = module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
