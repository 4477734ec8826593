"""The state that the layers of one forward pass share, and what every layer's backward has to ask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge

from radgaze.attribution.engine import batch_norm
from radgaze.attribution.rules import Rule

Gradients = tuple[Tensor | None, ...]
Saved = tuple[Any, ...]


@dataclass
class Pass:
    """The state that the layers of one forward pass share.

    Attributes:
        rule: The rule in force while a heatmap is read out, else None.
        literal: Whether rules are laid on ReLU alone.
        gates: What sigmoid gates do in the read-out, see `generators.Generator`.
        only_looked_at: Whether nothing is differentiated but the images.
        compiled: Whether the rules' formulas are compiled.
        activations: How many activations the forward pass has met, by name.
        unruled: Names of the nonlinearities met that no rule speaks of.
        images: What the heatmap is made for, (B, C, H, W).
        own_leaf: Whether they are a leaf made here, so that nobody wants the loss's gradient in them.
        features: What the layer asked for gave.
        stages: Feature maps that something may have pooled, in order, see `feature_maps`.
        linear: Input, weight and output of the last linear layer.
        group: The processes over whose batches batch norm takes its statistics; None for this one alone.
        evaluating: Whether the model was in evaluation mode.
        inner: The passes of other readings that ran within this one: their layers are this one's, too.
    """

    rule: Rule | None = None
    literal: bool = False
    gates: str = "plain"
    only_looked_at: bool = False
    compiled: bool = False
    activations: dict[str, int] = field(default_factory=dict)
    unruled: set[str] = field(default_factory=set)
    images: Tensor | None = None
    own_leaf: bool = False
    features: Tensor | None = None
    stages: list[tuple[Tensor, Any]] = field(default_factory=list)
    linear: tuple[Tensor, Tensor, Tensor] | None = None
    group: batch_norm.Group = field(default_factory=batch_norm.current)
    evaluating: bool = False
    inner: list[Pass] = field(default_factory=list)

    def put_in_force(self, rule: Rule | None) -> None:
        """Lay the rule on this pass's layers, and on those of the passes that ran within it."""
        self.rule = rule
        for pass_ in self.inner:
            pass_.put_in_force(rule)

    def take_over(self, inner: Pass) -> None:
        """Know what another pass has met that ran within this one."""
        for name, count in inner.activations.items():
            self.activations[name] = self.activations.get(name, 0) + count
        self.unruled |= inner.unruled
        self.stages += inner.stages
        self.linear = inner.linear or self.linear

    def forget(self) -> None:
        """Let go of all tensors.

        The graph's nodes hold the pass: were it to hold tensors of the graph on, only the garbage collector
        would end that circle, steps later, and memory would fill up until then.
        """
        self.images = self.features = self.linear = None
        self.stages, self.inner = [], []


def untouched(backward: Callable[..., Gradients]) -> Callable[..., Gradients]:
    """A backward whose own operations no torch function mode sees: they are not part of the model.

    What was saved is asked for before: where the model recomputes its activations that runs it once more,
    and the mode has to see it. It can be asked for only once then.
    """

    @wraps(backward)
    def run(ctx: Any, *grads: Tensor) -> Gradients:
        saved = ctx.saved_tensors
        with torch._C.DisableTorchFunction():
            return backward(ctx, saved, *grads)

    return run


def asked(ctx: Any, position: int) -> bool:
    """Whether the read-out that runs now leads from a node's input on to what the heatmap is made at.

    A weight may be made from the image, and its gradient is part of the image's then. That of one that is
    learned is not computed while a heatmap is read out.
    """
    if not ctx.needs_input_grad[position]:
        return False
    node = ctx.next_functions[position][0]
    try:
        return torch._C._will_engine_execute_node(node)
    except RuntimeError:  # so it says of a leaf whose gradient is asked for
        return True


def asks_for(images: Tensor | None) -> bool:
    """Whether the backward that runs now is a `torch.autograd.grad` in the images, a leaf."""
    if images is None:
        return False
    try:
        torch._C._will_engine_execute_node(get_gradient_edge(images).node)
    except RuntimeError:
        return True
    return False
