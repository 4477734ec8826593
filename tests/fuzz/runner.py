"""Tries of a kind, in a process of their own that is watched for faults, deaths and hangs."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import random
import resource
import shutil
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path

HANG = 60.0
"""Seconds that a try may take."""
SETUP = 300.0
"""Seconds that making the originals of a kind may take."""
MEMORY = 16 * 2**30
"""Bytes of address space that a process may take."""
TRACEBACK = "Traceback (most recent call last)"
KINDS = ("dicom", "pictures", "tables", "stores", "runs", "commands")
CONTEXT = multiprocessing.get_context("spawn")


class Fault(Exception):
    """Failure of a check that belongs to one kind of input, such as different pixels."""


@dataclass
class Tally:
    """Results of the tries of a kind: the count of each outcome, and the faults by number."""

    tries: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: dict[int, str] = field(default_factory=dict)


def fuzz(
    kind: str, folder: Path, *, seed: int, seconds: float, numbers: Sequence[int], keep: Path | None = None
) -> Tally:
    """Try inputs of a kind until the time or the numbers are used up.

    Args:
        kind: One of `KINDS`; its module has `setup(folder)` and `attempt(folder, draw) -> outcome`.
        folder: Folder for the originals and for the changed inputs, which lie in `folder/input`.
        seed: Random seed; seed and number determine an input.
        seconds: Time limit: no try begins later than this after the originals are made.
        numbers: Numbers of the inputs.
        keep: Folder where the inputs of faults are kept.
    """
    tally, left, end = Tally(), list(numbers), None
    while left:
        ours, theirs = CONTEXT.Pipe()
        process = CONTEXT.Process(target=_child, args=(theirs, kind, folder, seed, left), daemon=False)
        process.start()
        theirs.close()
        word = _next(ours, process, SETUP)
        if word != "ready":
            tally.faults[-1] = f"the originals cannot be made: {word}"
            break
        end = end or time.monotonic() + seconds
        while left and time.monotonic() < end:
            number = left.pop(0)
            ours.send(number)
            word = _next(ours, process, HANG)
            tally.tries += 1
            tally.outcomes[word if word in ("read", "refused") else "fault"] += 1
            if word not in ("read", "refused"):
                tally.faults[number] = word
                if keep is not None:
                    _keep(folder, keep / f"{kind}-{seed}-{number}", word)
                if process.exitcode is not None:
                    break
        else:
            left = []
        with contextlib.suppress(OSError):
            ours.send(None)
        process.join(HANG)
        process.kill()
    return tally


def _next(pipe: Connection, process: multiprocessing.process.BaseProcess, limit: float) -> str:
    """The child's next word, or what became of the child."""
    try:
        if pipe.poll(limit):
            return str(pipe.recv())
        process.kill()
        process.join()
        return f"no answer within {limit:.0f} s"
    except (EOFError, ConnectionError):
        process.join()
        return f"the process died, exit code {process.exitcode}"


def _keep(folder: Path, place: Path, word: str) -> None:
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    if (folder / "input").exists():
        shutil.copytree(folder / "input", place / "input", symlinks=True)
    (place / "fault.txt").write_text(word, encoding="utf-8", errors="backslashreplace")


def _child(pipe: Connection, kind: str, folder: Path, seed: int, numbers: Sequence[int]) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    module = import_module(f"tests.fuzz.{kind}")
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log.txt"
    shown = os.open(log, os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_APPEND)
    os.dup2(shown, 1)
    os.dup2(shown, 2)
    if not (folder / "made").exists():
        try:
            module.setup(folder)
        except BaseException:
            pipe.send(traceback.format_exc())
            return
        (folder / "made").touch()
    pipe.send("ready")
    while (number := pipe.recv()) is not None:
        shutil.rmtree(folder / "input", ignore_errors=True)
        (folder / "input").mkdir()
        os.chdir(folder / "input")
        os.ftruncate(shown, 0)
        try:
            word = module.attempt(folder, random.Random(f"{seed}/{kind}/{number}"))
        except Fault as fault:
            word = f"fault: {fault}"
        except BaseException:  # whatever leaves a try is what is looked for
            word = f"fault: {traceback.format_exc()}"
        said = log.read_text(encoding="utf-8", errors="replace")
        pipe.send(f"fault: printed {said}" if TRACEBACK in said and not word.startswith("fault") else word)


def command(arguments: Sequence[str]) -> str:
    """Run a command line in this process; a code other than those that are documented is a fault."""
    from radgaze.cli import main

    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            code = main(arguments)
    except SystemExit as left:
        code = int(left.code or 0)
    except Exception:
        raise Fault(f"{list(arguments)}\n{traceback.format_exc()}") from None
    said = errors.getvalue()
    if TRACEBACK in said or code not in (0, 1, 2):
        raise Fault(f"{list(arguments)}: exit code {code}\n{said}")
    if arguments and code == 2 and not said.strip():
        raise Fault(f"{list(arguments)}: refused without a word")
    return "refused" if code == 2 else "read"
