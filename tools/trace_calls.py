"""Count the functions of radgaze that `evaluate` and `report` enter, and the way between its layers.

    python tools/trace_calls.py RUN

A copy of RUN is evaluated and reported. Printed for each: `functions` and `modules` entered; `climbs`, calls
from a module into a higher layer of the import contract; and `returns`, calls into a module that the way had
already left for another one. The heatmap engine, the models, the objectives and gaze maps are left out: they
are what a run computes, not the way to it; so are the methods that `dataclass` generates. `own functions` and
`own returns` are those of the package of the function alone, without its formulas (`LEAVES`).
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ENGINE = ("radgaze.attribution.", "radgaze.models.", "radgaze.objectives.", "radgaze.gaze.")

LEAVES = ("radgaze.evaluation.metrics.", "radgaze.evaluation.statistics.", "radgaze.evaluation.baselines.")
"""Packages of formulas, which a way through the evaluation ends in."""


def layers() -> dict[str, int]:
    """Rank of each package in the import contract; the highest layer has rank 0."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = config["tool"]["importlinter"]["contracts"][0]["layers"]
    return {
        name.strip(): rank for rank, row in enumerate(contract) for name in row.replace(":", "|").split("|")
    }


class Trace:
    """Record the functions and modules entered while `call` runs, in the calling thread."""

    def __init__(self, rank: dict[str, int]) -> None:
        self.rank = rank
        self.functions: set[tuple[str, str]] = set()
        self.modules: set[str] = set()
        self.climbs: set[tuple[str, str]] = set()
        self.returns: set[tuple[str, str, str]] = set()
        self.left: set[str] = set()
        self.last = ""

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if event != "call":
            return
        module = frame.f_globals.get("__name__", "")
        code = frame.f_code
        if not module.startswith("radgaze.") or module.startswith(ENGINE):
            return
        if code.co_name[0] == "<" or code.co_filename[0] == "<":
            return
        self.functions.add((module, frame.f_code.co_qualname))
        self.modules.add(module)
        caller = self._caller(frame)
        if caller and self._rank(module) < self._rank(caller):
            self.climbs.add((caller, module))
        if module != self.last:
            if module in self.left:
                self.returns.add((self.last, module, frame.f_code.co_qualname))
            self.left.add(self.last)
            self.last = module

    def _caller(self, frame: FrameType) -> str:
        above = frame.f_back
        while above is not None:
            module = str(above.f_globals.get("__name__", ""))
            if module.startswith("radgaze."):
                return module
            above = above.f_back
        return ""

    def _rank(self, module: str) -> int:
        parts = module.split(".")
        names = [".".join(parts[:k]) for k in range(len(parts), 1, -1)]
        return next((self.rank[name] for name in names if name in self.rank), 0)

    def row(self, package: str) -> dict[str, int]:
        """The counts, and those of the package of the traced function."""

        def is_own(module: str) -> bool:
            return module.startswith(f"{package}.") and not module.startswith(LEAVES)

        return {
            "functions": len(self.functions),
            "modules": len(self.modules),
            "climbs": len(self.climbs),
            "returns": len(self.returns),
            "own functions": sum(is_own(module) for module, _ in self.functions),
            "own returns": sum(is_own(module) and is_own(last) for last, module, _ in self.returns),
        }


def traced(call: Callable[[], Any], rank: dict[str, int]) -> Trace:
    """Run a function and trace it."""
    trace = Trace(rank)
    sys.setprofile(trace)
    try:
        call()
    finally:
        sys.setprofile(None)
    return trace


def main() -> None:
    """Trace `evaluate` and `report` on a copy of a run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--list", action="store_true", help="Print the functions, too")
    arguments = parser.parse_args()

    from radgaze.evaluation.measuring import evaluate
    from radgaze.evaluation.options import EvaluationOptions
    from radgaze.reporting.run_page import report
    from radgaze.runs.run import Run

    rank = layers()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "run"
        shutil.copytree(arguments.run, copy)
        run = Run.open(copy)
        calls = {
            "radgaze.evaluation": lambda: evaluate(run, EvaluationOptions(resamples=50)),
            "radgaze.reporting": lambda: report(run),
        }
        for package, call in calls.items():
            trace = traced(call, rank)
            counts = ", ".join(f"{key} {value}" for key, value in trace.row(package).items())
            print(f"{package}: {counts}")
            if arguments.list:
                print(*(f"  {module}:{function}" for module, function in sorted(trace.functions)), sep="\n")


if __name__ == "__main__":
    main()
