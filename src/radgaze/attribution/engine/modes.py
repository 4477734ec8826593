"""A model in evaluation mode for a while, and then as it was found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def evaluating(model: nn.Module, *, parameters: bool = False) -> Iterator[None]:
    """Evaluation mode and, with `parameters`, none with gradient; all is put back as it was.

    Modules with a `train` of their own get to know: LeViT's attention, for one, keeps a tensor in evaluation
    and drops it when training begins. What such a module keeps is put back as well.
    """
    modules = list(model.modules())
    modes = [(module, module.training) for module in modules]
    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()] if parameters else []
    minded = [module for module in modules if type(module).train is not nn.Module.train]
    caches = [(cache, dict(cache)) for module in minded for cache in _caches(module)]
    told = bool(minded) and any(module.training for module in modules)
    try:
        if told:
            model.train(False)
        _set(dict.fromkeys(modules, False))
        for parameter, _ in wanted:
            parameter.requires_grad_(False)
        yield
    finally:
        if told:
            model.train(True)
        _set(dict(modes))
        for cache, kept in caches:
            if cache.keys() != kept.keys() or any(cache[key] is not kept[key] for key in kept):
                cache.clear()
                cache.update(kept)
        for parameter, flag in wanted:
            parameter.requires_grad_(flag)


def compares_cases(model: nn.Module) -> bool:
    """Whether a case's output depends on its neighbours in evaluation: a norm has no running statistics."""
    return any(isinstance(m, _BatchNorm) and m.running_mean is None for m in model.modules())


def _set(modes: dict[nn.Module, bool]) -> None:
    for module, mode in modes.items():
        if module.training != mode:
            module.training = mode


def _caches(module: nn.Module) -> list[dict[Any, Any]]:
    """What a module may keep tensors in: its own dictionaries, and not those of every module."""
    return [value for key, value in vars(module).items() if type(value) is dict and not key.startswith("_")]
