"""Checks that refuse inputs and models that no heatmap can be made of, with a reason."""

from __future__ import annotations

from torch import Tensor, nn

from radgaze.attribution.engine.graph import name_of, walk


def check_model(model: object) -> None:
    """Refuse what is no network, and one that `torch.compile` made as a whole.

    The compiled parts of a network run uncompiled, see `eagerly`.

    Raises:
        ValueError: The model is no module, or is compiled as a whole.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"heatmaps are made of a network, a torch.nn.Module, got {type(model).__name__}")
    if hasattr(model, "_orig_mod") or model._compiled_call_impl is not None:
        raise ValueError("no rule reaches what torch.compile has made of the model: give the model itself")


_WITHOUT_DERIVATIVE = ("WarnNotImplemented", "NotImplemented")
"""Nodes of operations without a derivative in autograd."""


def check_images(images: object) -> None:
    """Refuse what is no batch of images, an empty batch and integer images.

    Raises:
        ValueError: The images are no tensor (B, C, H, W), the batch is empty, or not of floating point.
    """
    if not isinstance(images, Tensor):
        raise ValueError(f"images are a tensor (B, C, H, W), got {type(images).__name__}")
    if images.dim() != 4:
        raise ValueError(f"images are a tensor (B, C, H, W); these are {tuple(images.shape)}")
    if images.shape[0] == 0:  # `len` would fix it in a trace
        raise ValueError("the batch holds no images")
    if not images.is_floating_point():
        raise ValueError(
            f"images are floating-point numbers, scaled as the model is used to; these are {images.dtype}"
        )


def refuse_without_derivative(score: Tensor) -> None:
    """Raise a RuntimeError where an operation of the score has no derivative, and would pass zero."""
    if any(name_of(node) in _WITHOUT_DERIVATIVE for node in walk(score.grad_fn)):
        raise RuntimeError(why_independent(score))


def why_independent(score: Tensor) -> str:
    """The message for a score without a gradient in the tensor it is differentiated by."""
    text = "the class score does not depend on what its gradient is asked for"
    if any(name_of(node) in _WITHOUT_DERIVATIVE for node in walk(score.grad_fn)):
        return f"{text}: an operation has no gradient, as those of quantised layers; use the float model"
    if not score.requires_grad:
        return f"{text}: the model, or what makes its score, ran under torch.no_grad() or detached it"
    return f"{text}: it ran beside it, under torch.no_grad(), or was detached"
