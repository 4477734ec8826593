"""CPU time of imports, of help, and of telling a mistake, verb by verb, now and at an earlier revision."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from compileall import compile_dir
from contextlib import contextmanager
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.results import Cell, Result
from radgaze.cli import VERBS

ROOT = Path(__file__).parent.parent

IMPORTS = (
    *("torch", "radgaze", "radgaze.attribution", "radgaze.models.architectures", "radgaze.runs.run"),
    *("radgaze.evaluation.measuring", "radgaze.training.train", "radgaze.training.fitting"),
)
BEFORE = {"radgaze.training.train": "radgaze.training.fitting"}
"""The name of a module in revisions that have not yet the present one."""

MISTAKES = {
    "demo": "--out out --seed -1",
    "phantom": "out --patients 1",
    "prepare": "egd --egd nowhere --mimic neither --out out",
    "verify": "nowhere",
    "inspect": "nowhere",
    "experiments": "set9",
    "train": "--experiment baseline --data nowhere --out out",
    "tune": "--experiment baseline --data nowhere --out out",
    "evaluate": "nowhere",
    "audit": "nowhere --out out",
    "compare": "nowhere neither --out out",
    "reproduce": "--data nowhere --out out",
    "vote": "nowhere neither --out out",
    "pseudo": "nowhere --out out",
    "paste": "nowhere --overlay a=B --out out",
    "explain": "nowhere image.png --out out",
    "report": "nowhere",
}
"""A typical mistake of each verb: what it reads is not there, or a value is out of range."""


def run(*, before: str = "", repeats: int = 3, only: str = "") -> Result:
    """Measure the CPU time of processes that import a module, show a help or tell a mistake.

    Args:
        before: Git revision to compare with, checked out into a temporary folder; empty for none.
        repeats: Number of times that each is measured; the median counts.
        only: Regular expression of the processes to measure; empty for all.
    """
    with checked_out(before) as earlier, TemporaryDirectory() as place:
        sides = {"now (s)": ROOT} if earlier is None else {f"{before} (s)": earlier, "now (s)": ROOT}
        for root in sides.values():
            compile_dir(root / "src", quiet=2)  # else the first process of a fresh checkout compiles it
        rows = []
        for name, command in commands().items():
            if not re.search(only, name):
                continue
            taken: dict[str, list[float]] = {side: [] for side in sides}
            for _ in range(repeats):
                for side, root in sides.items():  # in turns, since other work on the machine slows both
                    taken[side].append(cpu_time(command(root), root, Path(place)))
            rows.append(row(name, {side: median(values) for side, values in taken.items()}))
            print(*rows[-1].values(), file=sys.stderr)
    return Result(
        title="Start-up",
        about="CPU time, of user and system, of a process of its own: one that imports a module, that shows "
        "the help of a verb, or that tells a typical mistake and ends with exit code 2. One thread; the "
        "median of the repeats, in which the revisions take turns.",
        rows=rows,
        parameters={"repeats": repeats, **({"before": before} if before else {})},
        notes=[
            "`import torch` is the floor of whatever computes. `radgaze.training.train` is compared with "
            "`radgaze.training.fitting` where a revision has only that; training imports it in any case, "
            "after the first checks."
        ],
    )


def commands() -> dict[str, Callable[[Path], list[str]]]:
    """The processes by name: each makes the arguments of Python for the revision in a folder."""
    made: dict[str, Callable[[Path], list[str]]] = {}
    for module in IMPORTS:
        made[f"import {module}"] = lambda root, module=module: ["-c", f"import {named(module, root)}"]
    for verb in ("", *VERBS):
        words = [*verb.split(), "--help"]
        made[f"radgaze {' '.join(words)}"] = lambda root, words=words: ["-m", "radgaze", *words]
    for verb, mistake in MISTAKES.items():
        words = [verb, *mistake.split()]
        made[f"radgaze {' '.join(words)}"] = lambda root, words=words: ["-m", "radgaze", *words]
    return made


def named(module: str, root: Path) -> str:
    """The name of a module in the revision in a folder."""
    is_there = (root / "src" / module.replace(".", "/")).with_suffix(".py").is_file()
    return module if is_there else BEFORE.get(module, module)


def row(name: str, taken: Mapping[str, float]) -> dict[str, Cell]:
    """The times of a process, and where there are two, the ratio of the first to the second."""
    first, *_, last = taken.values()
    ratio: dict[str, Cell] = {"ratio": first / last} if len(taken) > 1 else {}
    return {"process": name, **taken, **ratio}


def cpu_time(arguments: list[str], root: Path, place: Path) -> float:
    """CPU time in seconds of a Python process with the sources of a folder."""
    environment = {**os.environ, "PYTHONPATH": str(root / "src"), "OMP_NUM_THREADS": "1"}
    before = getrusage(RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, *arguments], cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    after = getrusage(RUSAGE_CHILDREN)
    if done.returncode not in (0, 2) or "Traceback" in done.stderr:
        raise RuntimeError(f"{' '.join(arguments)} failed: {done.stderr[-500:]}")
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


@contextmanager
def checked_out(revision: str) -> Iterator[Path | None]:
    """Check a revision out into a temporary folder, which is removed in the end; None for no revision."""
    if not revision:
        yield None
        return
    with TemporaryDirectory() as folder:
        there = Path(folder) / "before"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--detach", str(there), revision], check=True, capture_output=True)
        try:
            yield there
        finally:
            subprocess.run([*git, "remove", "--force", str(there)], check=True, capture_output=True)
