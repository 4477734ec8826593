"""The reference of a training step with a heatmap loss: PyTorch's own nodes with hooks, and create_graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from radgaze import attribution

Loss = Callable[[Any, Tensor], Tensor]
Rule = Callable[[Any], Any]
"""A function that hooks an activation's node, and gives the hook's handle."""


class HeldNorms(TorchFunctionMode):
    """While `held`, batch norm passes back γ/σ·g, σ a number; else it is torch's own, also without `norms`.

    Hard sigmoid is written out, for torch's own cannot be differentiated twice.
    """

    def __init__(self, *, norms: bool = True) -> None:
        super().__init__()
        self.held, self.norms = False, norms

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.hardsigmoid:
            return F.relu6(args[0] + 3) / 6
        return self._norm(*args, **kwargs) if func is F.batch_norm and self.norms else func(*args, **kwargs)

    def _norm(
        self, x: Tensor, mean: Tensor | None, var: Tensor | None, weight: Tensor | None = None,
        bias: Tensor | None = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
    ) -> Tensor:  # fmt: skip
        y = F.batch_norm(x, mean, var, weight, bias, training, momentum, eps)
        if not training or not x.requires_grad:
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


class Forward:
    """A plain forward pass, which any number of maps are read out of.

    Args:
        model: The network.
        images: Images (B, C, H, W).
        held: Whether batch norms hold their statistics in the read-out.
        features: Where class-activation maps are made.
    """

    def __init__(
        self, model: nn.Module, images: Tensor, *, held: bool = True, features: Features | None = None
    ) -> None:
        self.model, self._held, self._features = model, held, features
        self._images = images.detach().requires_grad_()
        self._norms = HeldNorms(norms=held)
        in_parts = sdpa_kernel(SDPBackend.MATH)  # fused attention cannot be differentiated twice
        with torch.random.fork_rng(), in_parts, kept(model, features) as self._met, self._norms:
            self.output = model(self._images)

    def map(self, targets: Tensor, name: str = "backprop", *, create_graph: bool = True) -> Tensor:
        """The raw map (B, 1, H, W) of a generator, for a class of each case (B,)."""
        score = logits_of(self.output).gather(1, targets[:, None]).sum()
        at = self._met[0] if name in CAMS else self._images
        hooks = ruled(score, RULES[name]) if name in RULES else []
        self._norms.held = self._held
        (g,) = torch.autograd.grad(score, at, create_graph=create_graph, retain_graph=True)
        self._norms.held = False
        for hook in hooks:
            hook.remove()
        if name not in CAMS:
            return (g * at if name == "input_x_gradient" else g).abs().amax(1, keepdim=True)
        assert self._features is not None
        cam = CAMS[name](self._features.arrange(g), self._features.arrange(at)).sum(1, keepdim=True)
        size = self._images.shape[-2:]
        return F.interpolate(cam.clamp(min=0), size, mode="bilinear", align_corners=False)

    def gradients(self, loss: Tensor) -> dict[str, Tensor]:
        """The gradients of a loss of its output and maps in all parameters."""
        return _gradients(self.model, loss)


def step(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    loss: Loss,
    *,
    name: str = "backprop",
    held: bool = True,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The raw map of a generator, and the parameter gradients of loss(output, map)."""
    forward = Forward(model, images, held=held)
    heat = forward.map(targets, name)
    return heat.detach(), forward.gradients(loss(forward.output, heat))


def ours(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    loss: Loss,
    *,
    name: str = "backprop",
    **options: Any,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Compute the map and the gradients with the engine."""
    generator = attribution.create(name, model, normalise="none", **options)
    with torch.random.fork_rng(), generator.capture() as read:
        output = model(images)
        heat = read(output, targets)
        return heat.detach(), _gradients(model, loss(output, heat))


def logits_of(output: Any) -> Tensor:
    """The logits of an output: itself, its attribute, or its first item."""
    found: Tensor = output
    if not isinstance(output, Tensor):
        found = output.logits if hasattr(output, "logits") else output[0]
    return found


def assert_as_reference(
    model: nn.Module, images: Tensor, *, name: str = "backprop", tolerance: float = 1e-9, **options: Any
) -> None:
    """Map and parameter gradients of a loss of both logits and map are the reference's."""
    targets = torch.arange(len(images)) % 3
    held = options.get("batch_statistics", "held") == "held"
    scale = float(step(model, images, targets, lambda o, h: o.sum(), name=name, held=held)[0].max())

    def loss(output: Tensor, heat: Tensor) -> Tensor:
        return F.cross_entropy(output, targets) + (heat / scale).square().sum()

    expected = step(model, images, targets, loss, name=name, held=held)
    found = ours(model, images, targets, loss, name=name, **options)
    assert worst(found, expected) < tolerance


def worst(found: tuple[Tensor, dict[str, Tensor]], expected: tuple[Tensor, dict[str, Tensor]]) -> float:
    """The larger relative error, of the map and of all gradients together."""
    assert found[1].keys() == expected[1].keys()
    ours, theirs = (torch.cat([g.flatten() for g in each[1].values()]) for each in (found, expected))
    both = [(found[0].flatten(), expected[0].flatten()), (ours, theirs)]
    return max(float((a - b).norm() / b.norm()) for a, b in both)


def _gradients(model: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    named = {key: p for key, p in model.named_parameters() if p.requires_grad}
    found: Sequence[Tensor | None] = torch.autograd.grad(
        loss, list(named.values()), allow_unused=True, retain_graph=True
    )
    return {
        key: torch.zeros_like(p) if g is None else g for (key, p), g in zip(named.items(), found, strict=True)
    }


def ruled(score: Tensor, rule: Rule) -> list[Any]:
    """Hooks that lay a rule on each activation's node. A gate, σ or relu6(x + 3) / 6, is no activation."""
    hooks = []
    for node in _nodes(score):
        kind = node.name().rstrip("0123456789").removesuffix("Backward")
        if kind in ACTIVATIONS and not _is_hard_gate(node):
            hooks.append(rule(node))
    return hooks


def guide(node: Any) -> Any:
    """max(g, 0)·[x > 0] goes in, and the node multiplies by a'(x) itself. a(x) has the sign of x."""
    x = node._saved_self if hasattr(node, "_saved_self") else node._saved_result
    return node.register_prehook(lambda grads: (grads[0].clamp(min=0) * (x > 0),))


def deconvolve(node: Any) -> Any:
    """max(g, 0) comes out, whatever the node makes of g."""
    return node.register_hook(lambda made, grads: (grads[0].clamp(min=0), *made[1:]))


ACTIVATIONS: tuple[str, ...] = (
    "Relu",
    "Silu",
    "Gelu",
    "Hardswish",
    "Elu",
    "LeakyRelu",
    "Mish",
    "Hardtanh",
    "Softplus",
)
ACTIVATIONS += ("PreluKernel",)
RULES: dict[str, Rule] = {"guided_backprop": guide, "deconvnet": deconvolve}


def _is_hard_gate(node: Any) -> bool:
    """Whether a node is the relu6 of a number added to a tensor, as in relu6(x + 3) / 6."""
    (before, _), *_ = node.next_functions
    if not node.name().startswith("Hardtanh") or before is None or not before.name().startswith("Add"):
        return False
    return sum(source is not None for source, _ in before.next_functions) == 1


def _grad_cam_pp(g: Tensor, A: Tensor) -> Tensor:
    """A·Σ a·g⁺ with a = g² / (2g² + g³·ΣA), where that is not 0/0."""
    below = 2 * g.square() + g**3 * A.sum((2, 3), keepdim=True)
    a = torch.where(below == 0, 0.0, g.square() / torch.where(below == 0, 1.0, below))
    return (a * g.clamp(min=0)).sum((2, 3), keepdim=True) * A


CAMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "grad_cam": lambda g, A: g.mean((2, 3), keepdim=True) * A,
    "grad_cam_pp": _grad_cam_pp,
    "hires_cam": lambda g, A: g * A,
    "layer_cam": lambda g, A: g.clamp(min=0) * A,
}
"""What is summed over channels and cut at 0, of feature maps A (B, K, h, w) and g = ∂y/∂A."""


@dataclass(frozen=True)
class Features:
    """The feature maps that a classifier pools: the output, or the input, of a module.

    Attributes:
        module: Its name.
        entering: Whether it is its input.
        relu: Whether a ReLU that is no module follows, and `F.adaptive_avg_pool2d`, whose input the maps are.
        last: Whether the channels come last, (B, h, w, K).
        tokens: Number of prefix tokens, and rows and columns of the patches, of tokens (B, N, K).
    """

    module: str
    entering: bool = False
    relu: bool = False
    last: bool = False
    tokens: tuple[int, int, int] | None = None

    def arrange(self, made: Tensor) -> Tensor:
        """Maps (B, K, h, w)."""
        if self.tokens is not None:
            prefix, h, w = self.tokens
            return made[:, prefix:].mT.reshape(made.shape[0], -1, h, w)
        return made.movedim(-1, 1) if self.last else made


@contextmanager
def kept(model: nn.Module, features: Features | None) -> Iterator[list[Tensor]]:
    """The feature maps of a forward pass within, by a hook."""
    found: list[Tensor] = []

    def keep_input(module: nn.Module, args: tuple[Tensor, ...]) -> Any:
        found.append(args[0])
        return (args[0].clone(), *args[1:])  # the module may overwrite its input

    def keep_output(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        found.append(output)
        return output.clone()  # the model may overwrite it

    if features is None:
        yield found
        return
    module = model.get_submodule(features.module)
    if features.relu:
        pool = F.adaptive_avg_pool2d

        def keep_pooled(maps: Tensor, size: Any) -> Tensor:
            found.append(maps)
            return pool(maps, size)

        with patch.object(F, "adaptive_avg_pool2d", keep_pooled):
            yield found
        return
    if features.entering:
        hook = module.register_forward_pre_hook(keep_input)
    else:
        hook = module.register_forward_hook(keep_output)
    try:
        yield found
    finally:
        hook.remove()


def _nodes(score: Tensor) -> Iterator[Any]:
    seen, ahead = set(), [score.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        ahead.extend(before for before, _ in node.next_functions)
