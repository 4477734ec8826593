"""The state that the layers of one forward pass share, and helpers for the backward of each layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import torch
from torch import Tensor
from torch.autograd.graph import Node, get_gradient_edge

from radgaze.attribution.engine import batch_norm
from radgaze.attribution.rules import Rule

Gradients = tuple[Tensor | None, ...]


class Context(Protocol):
    """The object that autograd hands to a step's forward and backward; each step adds fields of its own."""

    @property
    def saved_tensors(self) -> Any:  # each step's backward says which tensors these are
        """The tensors that the forward saved."""

    @property
    def needs_input_grad(self) -> tuple[bool, ...]:
        """For each input, whether its gradient is needed."""

    @property
    def next_functions(self) -> tuple[tuple[Node | None, int], ...]:
        """For each input, the node that made it."""

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Save tensors for the backward."""

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Declare tensors as overwritten by the forward."""


@dataclass
class Pass:
    """The state that the layers of one forward pass share.

    Attributes:
        rule: The rule in force while a heatmap is read out, else None.
        literal: Whether rules are applied to ReLU alone.
        gates: Treatment of sigmoid gates in the read-out, see `Generator`.
        only_looked_at: Whether nothing is differentiated but the images.
        channels_last: Whether feature maps on a CPU get the layout that oneDNN is fastest in.
        compiled: Whether the rules' formulas are compiled.
        activations: Number of activations met in the forward pass, by name.
        unruled: Names of the nonlinearities met that no rule covers.
        images: The images (B, C, H, W) that the heatmap is made for.
        own_leaf: Whether they are a leaf made here, so that the loss's gradient in them is not needed.
        features: Output of the layer asked for.
        records: Whether attention matrices are recorded; fused attention is computed in separate operations.
        attention: Those matrices as the model made them, in order, see `attention`.
        norms: Number of layer norms met.
        normed: Tokens (B, N, C) that the last layer norm gave.
        tokens: Those of the norm in front of the last attention of all tokens to each other.
        stages: Feature maps that may have been pooled, in order, see `feature_maps`.
        linear: Input, weight and output of the last linear layer.
        group: The processes over whose batches batch norm takes its statistics; None for this one alone.
        evaluating: Whether the model was in evaluation mode.
        inner: The passes of other captures that ran within this one: their layers are part of this one, too.
    """

    rule: Rule | None = None
    literal: bool = False
    gates: str = "plain"
    only_looked_at: bool = False
    channels_last: bool = False
    compiled: bool = False
    activations: dict[str, int] = field(default_factory=dict)
    unruled: set[str] = field(default_factory=set)
    images: Tensor | None = None
    own_leaf: bool = False
    features: Tensor | None = None
    records: bool = False
    attention: list[Tensor] = field(default_factory=list)
    norms: int = 0
    normed: Tensor | None = None
    tokens: Tensor | None = None
    stages: list[tuple[Tensor, Node]] = field(default_factory=list)
    linear: tuple[Tensor, Tensor, Tensor] | None = None
    group: batch_norm.Group = field(default_factory=batch_norm.current)
    evaluating: bool = False
    inner: list[Pass] = field(default_factory=list)

    def put_in_force(self, rule: Rule | None) -> None:
        """Apply the rule to this pass's layers, and on those of the passes that ran within it."""
        self.rule = rule
        for pass_ in self.inner:
            pass_.put_in_force(rule)

    def take_over(self, inner: Pass) -> None:
        """Add what another pass that ran within this one has met."""
        for name, count in inner.activations.items():
            self.activations[name] = self.activations.get(name, 0) + count
        self.unruled |= inner.unruled
        self.stages += inner.stages
        self.linear = inner.linear or self.linear
        self.attention += inner.attention
        self.norms += inner.norms
        self.tokens = self.tokens if inner.tokens is None else inner.tokens

    def forget(self) -> None:
        """Release all tensors.

        The graph's nodes hold the pass. If it kept holding tensors of the graph, that cycle would live until
        the garbage collector ran, steps later, and memory would fill up until then.
        """
        self.images = self.features = self.linear = self.normed = self.tokens = None
        self.stages, self.inner, self.attention = [], [], []


Step = TypeVar("Step", bound=Context)
Saved = TypeVar("Saved")
Grads = ParamSpec("Grads")


def untouched(
    backward: Callable[Concatenate[Step, Saved, Grads], Gradients],
) -> Callable[Concatenate[Step, Grads], Gradients]:
    """Hide a backward's own operations from torch function modes: they are not part of the model.

    The saved tensors are read before that. Where the model recomputes its activations, reading them runs it
    once more, and the mode has to see that run. They can be read only once.
    """

    @wraps(backward)
    def run(ctx: Step, /, *grads: Grads.args, **kwargs: Grads.kwargs) -> Gradients:
        saved = ctx.saved_tensors
        with torch._C.DisableTorchFunction():
            return backward(ctx, saved, *grads, **kwargs)

    return run


def needed(ctx: Context, position: int) -> bool:
    """Whether the read-out that runs now passes from a node's input to the tensor the heatmap is made at.

    A weight may be made from the image, and its gradient is part of the image's then. The gradient of a
    learned weight is not computed while a heatmap is read out.
    """
    if not ctx.needs_input_grad[position]:
        return False
    node = ctx.next_functions[position][0]
    assert node is not None
    try:
        return torch._C._will_engine_execute_node(node)
    except RuntimeError:  # torch's answer for a leaf whose gradient is asked for
        return True


def differentiates_by(images: Tensor | None) -> bool:
    """Whether the backward that runs now is a `torch.autograd.grad` in the images, a leaf."""
    if images is None:
        return False
    try:
        torch._C._will_engine_execute_node(get_gradient_edge(images).node)
    except RuntimeError:
        return True
    return False
