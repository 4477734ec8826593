"""Put a model into evaluation mode for a while, then restore it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from radgaze.attribution.engine.turns import parts_of


@contextmanager
def evaluating(model: nn.Module, *, parameters: bool = False) -> Iterator[None]:
    """Switch to evaluation mode and, with `parameters`, turn their gradients off; restore all afterwards.

    The `train` method of modules that override it is called: LeViT's attention, for example, keeps a tensor
    in evaluation and drops it when training begins. Such a cache is restored as well.
    """
    modules = parts_of(model)
    modes = [(module, module.training) for module in modules]
    required = (
        [(parameter, parameter.requires_grad) for parameter in _parameters_of(modules)] if parameters else []
    )
    kinds: set[type[nn.Module]] = {type(module) for module in modules}
    minding = {kind for kind in kinds if kind.train is not nn.Module.train}
    overriding = [module for module in modules if type(module) in minding] if minding else []
    caches = [(cache, dict(cache)) for module in overriding for cache in _caches(module)]
    notified = bool(overriding) and any(module.training for module in modules)
    try:
        if notified:
            model.train(False)
        _set((module, False) for module in modules)
        for parameter, flag in required:
            if flag:
                parameter.requires_grad_(False)
        yield
    finally:
        if notified:
            model.train(True)
        _set(modes)
        for cache, content in caches:
            if cache.keys() != content.keys() or any(cache[key] is not content[key] for key in content):
                cache.clear()
                cache.update(content)
        for parameter, flag in required:
            if parameter.requires_grad != flag:
                parameter.requires_grad_(flag)


def compares_cases(model: nn.Module) -> bool:
    """Whether outputs depend on other cases of the batch in evaluation: a norm has no running statistics."""
    parts = parts_of(model)
    norms = {kind for kind in set(map(type, parts)) if issubclass(kind, _BatchNorm)}
    return bool(norms) and any(type(m) in norms and m.running_mean is None for m in parts)


def _parameters_of(modules: Iterable[nn.Module]) -> list[nn.Parameter]:
    met: dict[int, nn.Parameter] = {}
    for module in modules:
        for parameter in module._parameters.values():
            if parameter is not None:
                met[id(parameter)] = parameter
    return list(met.values())


def _set(modes: Iterable[tuple[nn.Module, bool]]) -> None:
    for module, mode in modes:
        if module.training != mode:
            module.training = mode


def _caches(module: nn.Module) -> list[dict[object, object]]:
    """The dictionaries of a module, beside those of every `nn.Module`, in which it may keep tensors."""
    return [value for key, value in vars(module).items() if type(value) is dict and not key.startswith("_")]
