"""Nonlinear operations between a score and the images that no rule reaches, by the autograd graph."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import Tensor

from radgaze.attribution.engine.graph import before, name_of

NONLINEAR = {
    **{
        name: name.lower()
        for name in ("Tanh", "Relu", "Silu", "Gelu", "Sigmoid", "Mish", "Erf", "Sin", "Cos")
    },
    **{
        name: name.lower()
        for name in ("Softplus", "Elu", "Celu", "Threshold", "Hardtanh", "Maximum", "Minimum")
    },
    **{
        name: name.lower()
        for name in ("Hardswish", "Hardsigmoid", "Glu", "Softshrink", "Hardshrink", "Where")
    },
    **{name: name.lower() for name in ("Clamp", "Abs", "Atan", "Log1P", "Expm1", "Logit")},
    "ClampMin": "clamp",
    "ClampMax": "clamp",
    "LeakyRelu": "leaky_relu",
    "LogSigmoid": "logsigmoid",
    "RreluWithNoise": "rrelu",
    "PreluKernel": "prelu",
}
"""Nodes of torch's activations and of what they are written in, and how the user knows them."""


PARTS = {"softsign": "abs", "tanhshrink": "tanh"}
"""What torch computes an activation of, whose own name is known already."""


def unruled(score: Tensor, images: Tensor, known: Collection[str] = ()) -> list[str]:
    """Names of the nonlinear operations on the way from the images to the score, without our own steps.

    Normalisation, pooling and softmax are not among them.

    Args:
        score: What is differentiated.
        images: What it depends on.
        known: Names of operations that were met by their functions.
    """
    found = set(known)
    for node in _between(score.grad_fn, images):
        kind = name_of(node)
        if kind in NONLINEAR and not _is_of_a_norm(node):
            found.add(NONLINEAR[kind])
        elif kind == "DifferentiableGraph":
            found.add("a scripted part")
        elif _is_strange(node):
            found.add(f"{kind} (a function of its own)")
    return sorted(found - {PARTS[name] for name in known if name in PARTS})


def depends(score: Tensor, images: Tensor) -> bool:
    """Whether a score depends on the images at all."""
    return bool(_between(score.grad_fn, images))


def _between(start: Any, images: Tensor) -> list[Any]:
    """The nodes that the score depends on the images through; parameters have graphs of their own."""
    order: list[Any] = []
    seen: set[Any] = set()
    stack: list[tuple[Any, bool]] = [(start, False)]
    while stack:
        node, left = stack.pop()
        if left:
            order.append(node)
            continue
        if node is None or node in seen:
            continue
        seen.add(node)
        stack.append((node, True))
        stack.extend((ahead, False) for ahead in before(node))
    leads: set[Any] = set()
    for node in order:  # inputs first
        is_images = getattr(node, "variable", None) is images or (
            images.grad_fn is not None and node is images.grad_fn
        )
        if is_images or any(ahead in leads for ahead in before(node)):
            leads.add(node)
    return [node for node in order if node in leads and node is not images.grad_fn]


def _is_of_a_norm(node: Any) -> bool:
    """Whether it keeps a vector's length above 0, as `F.normalize` does."""
    return name_of(node) == "ClampMin" and any("Norm" in name_of(ahead) for ahead in before(node))


def _is_strange(node: Any) -> bool:
    """Whether a node is somebody's own `torch.autograd.Function`: neither torch's nor ours."""
    return hasattr(node, "_forward_cls") and not node._forward_cls.__module__.startswith(
        ("radgaze.", "torch.")
    )
