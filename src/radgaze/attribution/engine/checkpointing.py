"""Activation checkpointing: recompute a part of a model in the backward under the modes of its forward.

`torch.utils.checkpoint` (not re-entrant) drops a part's saved tensors and runs that part once more when the
backward asks for them. The steps of an intercepted forward pass save other tensors than the plain layers do,
so the second run has to be intercepted like the first, also after `capture` is over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import ParamSpec, TypeVar

import torch
from torch.utils import checkpoint

from radgaze.attribution.engine.turns import eagerly

Mode = Callable[[], AbstractContextManager[object]]
Args = ParamSpec("Args")
Result = TypeVar("Result")


def recompute_within(*modes: Mode) -> None:
    """Have the checkpointed part that is running, if one is, run within all `mode()` when it is run again.

    PyTorch has no public way to reach that part; where a later version keeps it elsewhere, this does nothing,
    and the backward stops with PyTorch's own `CheckpointError`.
    """
    hooks = torch._C._autograd._top_saved_tensors_default_hooks(True)
    if hooks is None:
        return
    for cell in getattr(hooks[0], "__closure__", None) or ():
        frame = cell.cell_contents
        kind = getattr(checkpoint, "_CheckpointFrame", ())
        if isinstance(frame, kind) and not hasattr(frame.recompute_fn, "intercepted"):
            frame.recompute_fn = _within(modes, frame.recompute_fn)


def _within(modes: Sequence[Mode], recompute: Callable[Args, Result]) -> Callable[Args, Result]:
    def run(*args: Args.args, **kwargs: Args.kwargs) -> Result:
        with ExitStack() as stack:
            for mode in modes:
                stack.enter_context(mode())
            stack.enter_context(eagerly())
            return recompute(*args, **kwargs)

    run.intercepted = True  # type: ignore[attr-defined]
    return run
