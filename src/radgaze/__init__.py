"""Train chest-radiograph classifiers that look where the radiologist looked, and measure whether they did.

    import radgaze as rg

    store = rg.prepare("table", table="cases.csv", images="images", out="store")
    run = rg.train(rg.config("set3_guided", data=store, seed=1), out="run")
    results = rg.evaluate(run)

Names are imported when they are first used: `import radgaze` alone imports neither torch nor Polars.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import TYPE_CHECKING

from radgaze.version import __version__ as __version__

if TYPE_CHECKING:
    from radgaze import attribution, gaze, metrics
    from radgaze.api.functions import (
        audit,
        card,
        compare,
        config,
        evaluate,
        export,
        inspect,
        phantom,
        plugin,
        prepare,
        report,
        train,
    )
    from radgaze.api.run import Run
    from radgaze.errors import UserError
    from radgaze.runs.config import Config
    from radgaze.store.store import Store

# tqdm, which other libraries import, says in a notebook that it would rather have widgets.
warnings.filterwarnings("ignore", message="IProgress not found")

__all__ = [
    "Config",
    "Run",
    "Store",
    "UserError",
    "attribution",
    "audit",
    "card",
    "compare",
    "config",
    "evaluate",
    "export",
    "gaze",
    "inspect",
    "metrics",
    "phantom",
    "plugin",
    "prepare",
    "report",
    "train",
]

_MODULES = {
    **dict.fromkeys(
        (
            *("audit", "card", "compare", "config", "evaluate", "export", "inspect", "phantom", "plugin"),
            *("prepare", "report", "train"),
        ),
        "api.functions",
    ),
    "Config": "runs.config",
    "Run": "api.run",
    "Store": "store.store",
    "UserError": "errors",
}
"""Modules of the names that are no modules themselves."""


def __getattr__(name: str) -> object:
    if name in __all__ and name not in ("UserError", "plugin"):
        import_module(f"{__name__}.plugins").ready()
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
