"""The reference of a training step with a heatmap loss: PyTorch's own nodes with hooks, and create_graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from radgaze import attribution

Loss = Callable[[Any, Tensor], Tensor]


class HeldNorms(TorchFunctionMode):
    """While `held`, batch norm passes back γ/σ·g, σ a number; else it is torch's own, also without `norms`.

    Fused attention is written out, for it cannot be differentiated twice.
    """

    def __init__(self, *, norms: bool = True) -> None:
        super().__init__()
        self.held, self.norms = False, norms

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return _attention(*args, **kwargs)
        return self._norm(*args, **kwargs) if func is F.batch_norm and self.norms else func(*args, **kwargs)

    def _norm(
        self, x: Tensor, mean: Tensor | None, var: Tensor | None, weight: Tensor | None = None,
        bias: Tensor | None = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
    ) -> Tensor:  # fmt: skip
        y = F.batch_norm(x, mean, var, weight, bias, training, momentum, eps)
        if not training or x.grad_fn is None:
            return y
        wide = (1, -1, *[1] * (x.dim() - 2))
        with torch.no_grad():
            var, mu = torch.var_mean(x, [0, *range(2, x.dim())], correction=0)
        held = (x - mu.view(wide)) * (var + eps).rsqrt().view(wide)  # what the read-out passes through alone
        held = held if weight is None else held * weight.view(wide)
        held = held if bias is None else held + bias.view(wide)
        y, held = y.clone(), held.clone()
        assert y.grad_fn is not None
        assert held.grad_fn is not None
        y.grad_fn.register_prehook(lambda grads: _zero(grads) if self.held else grads)
        held.grad_fn.register_prehook(lambda grads: grads if self.held else _zero(grads))
        return y + (held - held.detach())


def _zero(grads: tuple[Tensor]) -> tuple[Tensor]:
    return (torch.zeros_like(grads[0]),)


def step(
    model: nn.Module, images: Tensor, targets: Tensor, loss: Loss, *, guided: bool = False, held: bool = True
) -> tuple[Tensor, dict[str, Tensor]]:
    """The raw map max_c |∂y/∂x_c|, and the parameter gradients of loss(logits, map)."""
    x = images.detach().requires_grad_()
    with torch.random.fork_rng(), HeldNorms(norms=held) as norms:
        output = model(x)
        score = output.gather(1, targets[:, None]).sum()
        hooks = _rectify(score) if guided else []
        norms.held = held
        (g,) = torch.autograd.grad(score, x, create_graph=True)
        norms.held = False
        for hook in hooks:
            hook.remove()
        heat = g.abs().amax(1, keepdim=True)
        return heat.detach(), _gradients(model, loss(output, heat))


def ours(
    model: nn.Module, images: Tensor, targets: Tensor, loss: Loss, *, guided: bool = False, **options: Any
) -> tuple[Tensor, dict[str, Tensor]]:
    """Compute the output and the gradients with the engine."""
    name = "guided_backprop" if guided else "backprop"
    generator = attribution.create(name, model, normalise="none", **options)
    with torch.random.fork_rng(), generator.capture() as read:
        output = model(images)
        heat = read(output, targets)
        return heat.detach(), _gradients(model, loss(output, heat))


def assert_as_reference(
    model: nn.Module, images: Tensor, *, guided: bool = False, tolerance: float = 1e-9, **options: Any
) -> None:
    """Map and parameter gradients of a loss of both logits and map are the reference's."""
    targets = torch.arange(len(images)) % 3
    held = options.get("batch_statistics", "held") == "held"
    scale = float(step(model, images, targets, lambda o, h: o.sum(), guided=guided, held=held)[0].max())

    def loss(output: Tensor, heat: Tensor) -> Tensor:
        return F.cross_entropy(output, targets) + (heat / scale).square().sum()

    expected = step(model, images, targets, loss, guided=guided, held=held)
    found = ours(model, images, targets, loss, guided=guided, **options)
    assert worst(found, expected) < tolerance


def worst(found: tuple[Tensor, dict[str, Tensor]], expected: tuple[Tensor, dict[str, Tensor]]) -> float:
    """The larger relative error, of the map and of all gradients together."""
    assert found[1].keys() == expected[1].keys()
    ours, theirs = (torch.cat([g.flatten() for g in each[1].values()]) for each in (found, expected))
    both = [(found[0].flatten(), expected[0].flatten()), (ours, theirs)]
    return max(float((a - b).norm() / b.norm()) for a, b in both)


def _gradients(model: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    named = {key: p for key, p in model.named_parameters() if p.requires_grad}
    found: Sequence[Tensor | None] = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {
        key: torch.zeros_like(p) if g is None else g for (key, p), g in zip(named.items(), found, strict=True)
    }


def _rectify(score: Tensor) -> list[Any]:
    """Hooks that let max(g, 0)·[x > 0] into each activation's node, which multiplies by a'(x) itself."""
    hooks = []
    for node in _nodes(score):
        kind = node.name().rstrip("0123456789").removesuffix("Backward")
        if kind in ("Relu", "Silu", "Gelu", "Hardswish", "Elu", "LeakyRelu", "Mish", "Hardtanh", "Softplus"):
            x = node._saved_result if kind == "Relu" else node._saved_self
            hooks.append(node.register_prehook(lambda grads, x=x: (grads[0].clamp(min=0) * (x > 0),)))
    return hooks


def _nodes(score: Tensor) -> Iterator[Any]:
    seen, ahead = set(), [score.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        ahead.extend(before for before, _ in node.next_functions)


def _attention(
    q: Tensor, k: Tensor, v: Tensor, attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False,
    scale: float | None = None, enable_gqa: bool = False,
) -> Tensor:  # fmt: skip
    assert not any((is_causal, enable_gqa, dropout_p))
    scores = q @ k.transpose(-2, -1) * (q.shape[-1] ** -0.5 if scale is None else scale)
    return (scores if attn_mask is None else scores + attn_mask).softmax(-1) @ v
