"""Inputs and models that no heatmap can be read out of, refused with a reason."""

from __future__ import annotations

from torch import Tensor, nn

from radgaze.attribution.engine.graph import name_of, walk


def refuse_compiled(model: nn.Module) -> None:
    """Refuse a model that torch.compile has made.

    Raises:
        ValueError: It is one. Of one with compiled parts these run as they were written instead.
    """
    if hasattr(model, "_orig_mod") or model._compiled_call_impl is not None:
        raise ValueError("no rule reaches what torch.compile has made of the model, or of a part of it")


_WITHOUT_DERIVATIVE = ("WarnNotImplemented", "NotImplemented")
"""Nodes of operations that autograd knows no derivative of."""


def check_images(images: Tensor) -> None:
    """Refuse what is no batch of images.

    Raises:
        ValueError: There are none, or they are whole numbers.
    """
    if not len(images):
        raise ValueError("the batch holds no images")
    if not images.is_floating_point():
        raise ValueError(
            f"images are floating-point numbers, scaled as the model is used to; these are {images.dtype}"
        )


def refuse_without_derivative(score: Tensor) -> None:
    """Raise an error where an operation that a score is made by has no derivative, and would pass zero."""
    if any(name_of(node) in _WITHOUT_DERIVATIVE for node in walk(score.grad_fn)):
        raise RuntimeError(why_independent(score))


def why_independent(score: Tensor) -> str:
    """What to say where a score has no gradient in what it is asked for."""
    text = "the class score does not depend on what its gradient is asked for"
    if any(name_of(node) in _WITHOUT_DERIVATIVE for node in walk(score.grad_fn)):
        return f"{text}: an operation has no gradient, as those of quantised layers; use the float model"
    if not score.requires_grad:
        return f"{text}: the model, or what makes its score, ran under torch.no_grad() or detached it"
    return f"{text}: it ran beside it, under torch.no_grad(), or was detached"
