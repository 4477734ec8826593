"""Let one thread at a time capture a model, and assign torch calls to one of several nested captures.

Captures are nested where a teacher is captured beside its student, where two maps come from one forward pass,
and where a map is made within a training step.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import nn

PATIENCE = 600.0
"""Seconds to wait for another thread, which may in turn wait for this one."""


class Here(threading.local):
    """The captures of this thread.

    Attributes:
        watches: The `Watch`es entered, from the outermost to the innermost.
        running: Those of them whose model is running, in the same order.
        listens: The `Interception` that the torch functions called now belong to.
        parts: The modules of each model, by its id, that a call of this thread holds, see `alone`.
    """

    def __init__(self) -> None:
        self.watches: list[object] = []
        self.running: list[object] = []
        self.listens: object = None
        self.parts: dict[int, list[nn.Module]] = {}


HERE = Here()


@contextmanager
def undisturbed(*watches: object, listens: object = None) -> Iterator[None]:
    """Run models that no capture of this thread, besides the given ones, takes for its model."""
    outer = HERE.watches, HERE.running, HERE.listens
    HERE.watches, HERE.running, HERE.listens = list(watches), [], listens
    try:
        yield
    finally:
        HERE.watches, HERE.running, HERE.listens = outer


@contextmanager
def listening(interception: object) -> Iterator[None]:
    """Assign the torch functions called within to this capture."""
    before, HERE.listens = HERE.listens, interception
    try:
        yield
    finally:
        HERE.listens = before


_free = threading.Condition()
_taken: dict[int, tuple[int, int]] = {}  # per module, by its id: the thread that has it, and how many times


def parts_of(model: nn.Module) -> list[nn.Module]:
    """The modules of a model, itself first, each once: `model.modules()` without the names that it makes.

    While a call holds a model, as `alone` says, they are those that it has found.
    """
    held = HERE.parts.get(id(model))
    return _found(model) if held is None else held


def _found(model: nn.Module) -> list[nn.Module]:
    met = {model}
    ahead = [model]
    for module in ahead:  # which grows
        for part in module._modules.values():
            if part is not None and part not in met:
                met.add(part)
                ahead.append(part)
    return ahead


@contextmanager
def alone(model: nn.Module, *, held: bool = False) -> Iterator[None]:
    """Reserve a model and all its parts for this thread; others that need one of them wait.

    Args:
        model: The model.
        held: Whether its parts stay the same meanwhile, so that they need not be looked for again.

    Raises:
        RuntimeError: Another thread has not released it within `PATIENCE` seconds.
    """
    if id(model) in HERE.parts:  # a call of this thread, which ends later, has reserved it
        yield
        return
    modules, thread = _found(model), threading.get_ident()
    parts = list(map(id, modules))

    def free() -> bool:
        return not _taken or all(_taken.get(part, (thread,))[0] == thread for part in parts)

    with _free:
        if not _free.wait_for(free, PATIENCE):
            raise RuntimeError(
                f"another thread has been reading heatmaps of this model for {PATIENCE:.0f} s; do not "
                "wait for a thread that reads a model while you are within its `capture`"
            )
        before = _taken.copy() if _taken else {}
        _taken.update(dict.fromkeys(parts, (thread, 1)))
        for part in before.keys() & set(parts) if before else ():
            _taken[part] = (thread, before[part][1] + 1)
    try:
        if held:
            HERE.parts[id(model)] = modules
        yield
    finally:
        HERE.parts.pop(id(model), None)
        with _free:
            for part in parts:
                times = _taken.pop(part)[1]
                if times > 1:
                    _taken[part] = (thread, times - 1)
            _free.notify_all()


_stance = threading.Lock()
_eager: list[AbstractContextManager[object] | None] = []  # torch's stance, then None for each further user


@contextmanager
def eagerly() -> Iterator[None]:
    """Run compiled functions uncompiled, as torch function modes do not see into compiled ones.

    The stance is one for the process: the first user sets it, and the last one resets it.
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
            stance = _eager.pop()
            if stance is not None:
                stance.__exit__(None, None, None)
