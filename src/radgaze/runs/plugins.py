"""The plugins that a run uses: the modules of the generators, distances and the like of its settings."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping

from radgaze.plugins import of_module

REGISTRIES = {
    "generator": ("radgaze.attribution.registry", "REGISTRY"),
    "distance": ("radgaze.objectives.distance", "REGISTRY"),
    "kind": ("radgaze.objectives.terms.base", "REGISTRY"),
    "architecture": ("radgaze.models.registry", "_REGISTRY"),
}
"""The registry of the names that a setting can have, by the setting. Those not imported hold no plugin's."""


def used(settings: Mapping[str, object]) -> tuple[str, ...]:
    """Names of the plugins that nested settings use, sorted.

    An experiment's plugin is none of them: a run has all settings of its experiment.
    """
    modules = {_module(setting, name) for setting, name in _named(settings)}
    return tuple(sorted({plugin for module in modules if (plugin := of_module(module)) is not None}))


def _named(settings: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _named(value)
        elif name in REGISTRIES and isinstance(value, str):
            yield name, value


def _module(setting: str, name: str) -> str:
    """The module that defines what a setting names, or radgaze where that is not known."""
    module, registry = REGISTRIES[setting]
    entry = getattr(sys.modules.get(module), registry, {}).get(name)
    for attribute in ("formula", "network"):  # of a `Distance`, and of an `Architecture`
        entry = getattr(entry, attribute, entry)
    return getattr(entry, "__module__", None) or "radgaze"
