"""Nonlinear operations between a score and the images that no rule reaches, by the autograd graph."""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor
from torch.autograd.graph import Node

from radgaze.attribution.engine.graph import before, leaf_of, name_of

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
"""Nodes of torch's activations and of the operations they are written in, with the names users know."""


PARTS = {"softsign": "abs", "tanhshrink": "tanh"}
"""Operations that torch computes an activation of which is named already."""


def unruled(score: Tensor, images: Tensor, named: Collection[str] = ()) -> list[str]:
    """Names of the nonlinear operations between the images and the score, without the steps of this engine.

    Normalisation, pooling and softmax are not among them.

    Args:
        score: The score that is differentiated.
        images: Images (B, C, H, W) that it depends on.
        named: Names of operations that were met by their functions.
    """
    names = set(named)
    for node in _between(score.grad_fn, images):
        kind = name_of(node)
        if kind in NONLINEAR and not _is_of_a_norm(node):
            names.add(NONLINEAR[kind])
        elif kind == "DifferentiableGraph":
            names.add("a scripted part")
        elif _is_foreign(node):
            names.add(f"{kind} (a function of its own)")
    return sorted(names - {PARTS[name] for name in named if name in PARTS})


def depends(score: Tensor, images: Tensor) -> bool:
    """Whether a score depends on the images at all."""
    return bool(_between(score.grad_fn, images))


def _between(start: Node | None, images: Tensor) -> list[Node]:
    """The nodes between the images and the score; parameters have graphs of their own."""
    order: list[Node] = []
    seen: set[Node] = set()
    stack: list[tuple[Node | None, bool]] = [(start, False)]
    while stack:
        node, left = stack.pop()
        if node is None:
            continue
        if left:
            order.append(node)
            continue
        if node in seen:
            continue
        seen.add(node)
        stack.append((node, True))
        stack.extend((ahead, False) for ahead in before(node))
    leads: set[Node] = set()
    for node in order:  # inputs first
        is_images = leaf_of(node) is images or (images.grad_fn is not None and node is images.grad_fn)
        if is_images or any(ahead in leads for ahead in before(node)):
            leads.add(node)
    return [node for node in order if node in leads and node is not images.grad_fn]


def _is_of_a_norm(node: Node) -> bool:
    """Whether a node keeps a vector's length above 0, as `F.normalize` does."""
    return name_of(node) == "ClampMin" and any("Norm" in name_of(ahead) for ahead in before(node))


def _is_foreign(node: Node) -> bool:
    """Whether a node is a `torch.autograd.Function` of another package: neither of torch nor of this one."""
    function: type | None = getattr(node, "_forward_cls", None)
    return function is not None and not function.__module__.startswith(("radgaze.", "torch."))
