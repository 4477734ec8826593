"""Whose turn it is: one thread at a time reads a model; of nested readings the running model's listens.

Readings are nested where a teacher is read beside its pupil, where two maps come out of one forward pass, and
where a map is looked at within a training step.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

PATIENCE = 600.0
"""Seconds to wait for another thread. Were it to wait for this one in turn, both would wait for ever."""


class Here(threading.local):
    """What is being read in this thread.

    Attributes:
        watches: Those entered, from the outermost to the innermost.
        running: Those of them whose model is running, likewise.
        listens: The interception that the torch functions called now belong to.
    """

    def __init__(self) -> None:
        self.watches: list[Any] = []
        self.running: list[Any] = []
        self.listens: Any = None


HERE = Here()


@contextmanager
def undisturbed(*watches: Any, listens: Any = None) -> Iterator[None]:
    """Run models that no capture of this thread takes for its own, but for the given ones."""
    kept = HERE.watches, HERE.running, HERE.listens
    HERE.watches, HERE.running, HERE.listens = list(watches), [], listens
    try:
        yield
    finally:
        HERE.watches, HERE.running, HERE.listens = kept


@contextmanager
def listening(interception: Any) -> Iterator[None]:
    """Have what is computed within belong to this capture."""
    before, HERE.listens = HERE.listens, interception
    try:
        yield
    finally:
        HERE.listens = before


_free = threading.Condition()
_taken: dict[int, tuple[int, int]] = {}  # of a module, by its id: the thread that has it, and how many times


@contextmanager
def alone(model: nn.Module) -> Iterator[None]:
    """Have the model and all its parts for this thread alone; another that wants one of them waits.

    Raises:
        RuntimeError: Another thread has not given it back for `PATIENCE` seconds.
    """
    modules, thread = list(model.modules()), threading.get_ident()

    def free() -> bool:
        return all(_taken.get(id(module), (thread,))[0] == thread for module in modules)

    with _free:
        if not _free.wait_for(free, PATIENCE):
            raise RuntimeError(
                f"another thread has been reading heatmaps of this model for {PATIENCE:.0f} s; do not "
                "wait for a thread that reads a model while you are within its `capture`"
            )
        for module in modules:
            _taken[id(module)] = (thread, _taken.get(id(module), (thread, 0))[1] + 1)
    try:
        yield
    finally:
        with _free:
            for module in modules:
                times = _taken.pop(id(module))[1]
                if times > 1:
                    _taken[id(module)] = (thread, times - 1)
            _free.notify_all()


_stance = threading.Lock()
_eager: list[Any] = []  # torch's stance, and who wants it


@contextmanager
def eagerly() -> Iterator[None]:
    """Run what torch.compile has made as it was written: what is compiled cannot be looked into.

    The stance is the process's, so that the first who wants it takes it, and the last one lays it down.
    """
    if "torch._dynamo" not in sys.modules:  # nothing has been compiled
        yield
        return
    with _stance:
        _eager.append(None if _eager else torch.compiler.set_stance("force_eager"))
    try:
        yield
    finally:
        with _stance:
            if len(_eager) == 1:
                _eager[0].__exit__(None, None, None)
                _eager.clear()
            else:
                _eager.pop()
