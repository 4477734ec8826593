"""Targets: the score of a model's output that a heatmap explains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from numbers import Integral
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from radgaze.attribution.tracing import is_traced

Index = int | str | Tensor
Target = Index | Callable[..., Tensor]
"""A class, one for each case (B,), "predicted", "true" (with labels), or a function of the model's output
that gives the scores (B,)."""


@runtime_checkable
class Indexable(Protocol):
    """An object with items."""

    def __getitem__(self, key: object, /) -> object: ...


@runtime_checkable
class ByCase(Protocol):
    """A function as target that differs between cases: `target[cases]` is that of cases (N,) by number."""

    def __getitem__(self, cases: Tensor, /) -> Callable[..., Tensor]: ...


def score_of(output: object, target: Target, which: str | int | None = None) -> Tensor:
    """Select the scores (B,) that a heatmap explains.

    Args:
        output: Output of the model.
        target: A class for each case (B,), or a function of the output.
        which: Key, attribute or index of the logits in the output, see `logits_of`.

    Raises:
        ValueError: The result of the function is not of shape (B,), the output holds no logits, or the target
            is no class.
    """
    if not callable(target):
        logits = logits_of(output, which)
        return logits.gather(1, target_index(logits, target)[:, None])[:, 0]
    return _checked(target(output))


def _checked(score: object) -> Tensor:
    if not isinstance(score, Tensor) or score.dim() != 1:
        given = tuple(score.shape) if isinstance(score, Tensor) else type(score).__name__
        raise ValueError(f"a target function must give one score for each case, (B,); this one gave {given}")
    return score


def logits_of(output: object, which: str | int | None = None) -> Tensor:
    """Find the logits (B, C) in a model's output.

    The output is the logits themselves, an object or mapping that has them as `logits`, a tuple or list whose
    first item holds them, or a mapping with exactly one tensor (B, C).

    Args:
        output: Output of the model.
        which: Key, attribute or index of the logits in the output; None means that they are found as above.

    Raises:
        ValueError: The output holds no logits, no item `which`, or several tensors that may be the logits.
    """
    logits = output if which is None else _chosen(output, which)
    while not isinstance(logits, Tensor):
        if hasattr(logits, "logits"):
            logits = logits.logits
        elif isinstance(logits, Mapping) and logits:
            logits = logits["logits"] if "logits" in logits else _only(logits)
        elif isinstance(logits, tuple | list) and logits:
            logits = logits[0]
        else:
            raise ValueError(
                f"the model's output, a {type(output).__name__}, holds no logits: give a function as target"
            )
    if logits.dim() != 2:
        raise ValueError(
            f"logits must have the shape (B, C); those of the model's output have {tuple(logits.shape)}"
        )
    return logits


def _chosen(output: object, which: str | int) -> object:
    with suppress(AttributeError, IndexError, KeyError, TypeError):
        if isinstance(which, str) and not isinstance(output, Mapping):
            return getattr(output, which)
        if isinstance(output, Indexable):
            return output[which]
    raise ValueError(
        f"the model's output, a {type(output).__name__}, has no {which!r}: output names its logits"
    )


def _only(mapping: Mapping[object, object]) -> object:
    """The one value of a mapping that may be logits; its first where none is a tensor (B, C)."""
    able = [key for key, value in mapping.items() if isinstance(value, Tensor) and value.dim() == 2]
    if len(able) > 1:
        keys = ", ".join(repr(key) for key in able)
        raise ValueError(
            f"which of the model's outputs are the logits? {keys} have the shape (B, C): say "
            f"output={able[0]!r}, or give a function as target"
        )
    return mapping[able[0]] if able else next(iter(mapping.values()))


def target_index(
    logits: Tensor, target: Index, labels: Tensor | None = None, *, drawn: Tensor | None = None
) -> Tensor:
    """Class index (B,) of each case's target.

    Args:
        logits: Class scores (B, C).
        target: A `Target` that is no function.
        labels: Labels for "true": class indices (B,), or (B, C) with 1 for each class that a case has. Of
            several classes one is drawn at random; for a case without any, the predicted class is taken.
        drawn: Random numbers (B, C) in [0, 1): of several classes that with the largest is taken. None takes
            them from torch's global generator.

    Raises:
        ValueError: The target is an unknown word, a class that does not exist, or a tensor of another length
            than the batch; or the labels are no numbers, or (B,) and no whole ones.
    """
    batch, classes = logits.shape
    if not _is_index(target):
        raise ValueError(
            f"target is a class, one for each case, 'predicted', 'true' or a function; not {_shown(target)}"
        )
    if isinstance(target, str):
        if target == "predicted":
            return logits.detach().argmax(1)
        if target != "true":
            raise ValueError(
                f"target is a class, one for each case, 'predicted', 'true' or a function; not {target!r}"
            )
        if labels is None:
            raise ValueError("target 'true' needs the cases' labels")
        return _true(logits, labels, drawn)
    index = torch.as_tensor(target, device=logits.device, dtype=torch.long)
    if index.dim() == 0:
        index = index.expand(batch)
    if index.shape != (batch,):
        raise ValueError(f"targets have the shape {tuple(index.shape)}, but the batch holds {batch} cases")
    if is_traced():  # no value is known
        return index
    if batch and (int(index.min()) < 0 or int(index.max()) >= classes):
        raise ValueError(f"targets are between 0 and {classes - 1}, for there are {classes} classes")
    return index


def as_labels(labels: object) -> Tensor:
    """Convert labels, a tensor, an array or a list of numbers, to a tensor.

    Raises:
        ValueError: They are no numbers, or a single one.
    """
    refused = f"labels are class indices (B,), or (B, C) of 0 and 1, got {type(labels).__name__}"
    try:
        tensor = torch.as_tensor(labels)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(refused) from error
    if not tensor.dim():
        raise ValueError(refused)
    return tensor


def runner_up(logits: Tensor, labels: Tensor, true: Tensor) -> Tensor:
    """The most probable class (B,) that each case does not have; the least probable where it has all.

    Args:
        logits: Class scores (B, C) of at least two classes.
        labels: Labels (B, C), 1 for each class that a case has.
        true: The class (B,) with which it is contrasted, and which it never is: that of the target "true",
            which a case need not have.
    """
    scores = logits.detach().float()
    itself = nn.functional.one_hot(true, scores.shape[1]) > 0
    lacks = ~itself & (labels.to(scores.device) <= 0.5)
    likely, unlikely = scores.masked_fill(~lacks, -torch.inf), scores.masked_fill(itself, torch.inf)
    return torch.where(lacks.any(1), likely.argmax(1), unlikely.argmin(1))


def _is_index(target: object) -> bool:
    """Whether a target is a word or an integer, or a tensor of integers."""
    if isinstance(target, Tensor):
        return not target.is_floating_point() and target.dtype != torch.bool
    return isinstance(target, str | Integral) and not isinstance(target, bool)


def _shown(target: object) -> str:
    return f"a tensor of {target.dtype}" if isinstance(target, Tensor) else repr(target)


def _true(logits: Tensor, labels: Tensor, drawn: Tensor | None) -> Tensor:
    labels = as_labels(labels).to(logits.device)
    if labels.dim() == 1:
        if labels.is_floating_point() and not is_traced():
            broken = labels[labels != labels.long()]
            if len(broken):
                raise ValueError(f"labels (B,) are class indices, not {float(broken[0]):.4g}")
        return target_index(logits, labels.long())
    if labels.shape != logits.shape:
        raise ValueError(
            f"labels are (B,) or, like the logits, {tuple(logits.shape)}; these are {tuple(labels.shape)}"
        )
    has = labels > 0.5
    none = ~has.any(1, keepdim=True)
    if drawn is None:
        drawn = torch.rand(labels.shape, device=labels.device)
    return torch.where(none[:, 0], logits.detach().argmax(1), drawn.masked_fill(~has, -1).argmax(1))
