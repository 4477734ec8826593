"""Which score of a model's output a heatmap explains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

Index = int | str | Tensor
Target = Index | Callable[[Any], Tensor]
"""A class, one per case (B,), "predicted", "true" (with labels), or a function of the model's output."""


def score_of(output: Any, target: Target) -> Tensor:
    """The score (B,) that is explained, for a target with "true" and "predicted" already looked up.

    Raises:
        ValueError: A function's scores are not one for each case.
    """
    if not callable(target):
        logits = logits_of(output)
        return logits.gather(1, target_index(logits, target)[:, None])[:, 0]
    score: Any = target(output)
    if not isinstance(score, Tensor) or score.dim() != 1:
        found = tuple(score.shape) if isinstance(score, Tensor) else type(score).__name__
        raise ValueError(f"a target function gives one score for each case, (B,); this one gave {found}")
    return score


def logits_of(output: Any) -> Tensor:
    """The logits (B, C) in an output: a tensor, an object with `logits`, or first in a tuple or mapping.

    Raises:
        ValueError: There are none.
    """
    found = output
    while not isinstance(found, Tensor):
        if hasattr(found, "logits"):
            found = found.logits
        elif isinstance(found, Mapping) and found:
            found = found.get("logits", next(iter(found.values())))
        elif isinstance(found, tuple | list) and found:
            found = found[0]
        else:
            raise ValueError(
                f"the model's output, a {type(output).__name__}, holds no logits: give a function as target"
            )
    if found.dim() != 2:
        raise ValueError(
            f"logits have the shape (B, C); those of the model's output have {tuple(found.shape)}"
        )
    return found


def target_index(logits: Tensor, target: Index, labels: Tensor | None = None) -> Tensor:
    """Class index (B,) of each case's target.

    Args:
        logits: (B, C).
        target: A `Target` that is no function.
        labels: For "true": class indices (B,), or (B, C) with 1 for each class a case has. Of several one is
            drawn at random, by torch's global generator; a case with none has its predicted class explained.

    Raises:
        ValueError: An unknown word, a class that there is not, or a tensor of another length than the batch.
    """
    batch, classes = logits.shape
    if isinstance(target, str):
        if target == "predicted":
            return logits.detach().argmax(1)
        if target != "true":
            raise ValueError(
                f"target is a class, one for each case, 'predicted', 'true' or a function; not {target!r}"
            )
        if labels is None:
            raise ValueError("target 'true' needs the cases' labels")
        return _true(logits, labels)
    index = torch.as_tensor(target, device=logits.device, dtype=torch.long)
    if index.dim() == 0:
        index = index.expand(batch)
    if index.shape != (batch,):
        raise ValueError(f"targets have the shape {tuple(index.shape)}, but the batch holds {batch} cases")
    if batch and (int(index.min()) < 0 or int(index.max()) >= classes):
        raise ValueError(f"targets are between 0 and {classes - 1}, for there are {classes} classes")
    return index


def _true(logits: Tensor, labels: Tensor) -> Tensor:
    labels = labels.to(logits.device)
    if labels.dim() == 1:
        return target_index(logits, labels)
    if labels.shape != logits.shape:
        raise ValueError(
            f"labels are (B,) or, like the logits, {tuple(logits.shape)}; these are {tuple(labels.shape)}"
        )
    has = labels > 0.5
    none = ~has.any(1, keepdim=True)
    draw = torch.rand(labels.shape, device=labels.device).masked_fill_(~(has | none), -1)
    return torch.where(none[:, 0], logits.detach().argmax(1), draw.argmax(1))
