"""Rules: the gradient that an activation passes back while a heatmap is read out.

For an activation a(x) with incoming gradient g. For ReLU these are the textbook definitions; for SiLU, GELU
and the others their extension, which keeps a'(x) (so a rule differs from plain back-propagation on every
network, not on ReLU networks only).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

if TYPE_CHECKING:
    from radgaze.attribution.engine.activations import Activation


class Rule:
    """A rule is its formula, `backward`.

    A rule that has no more is complete: its derivatives, which the loss's backward through the heatmap needs,
    are autograd's. A rule that overrides `adjoint` as well saves that cost.
    """

    name: ClassVar[str] = ""

    def backward(self, g: Tensor, x: Tensor, activation: Activation) -> Tensor:
        """The gradient p that is passed back, in the shape of g.

        Args:
            g: Incoming gradient.
            x: Input of the activation; of a ReLU, and of a sigmoid under `gates="plain"`, its output.
            activation: The activation; `activation.backward(g, x)` is g · a'(x).
        """
        raise NotImplementedError

    def adjoint(
        self, c: Tensor, g: Tensor, x: Tensor, activation: Activation, *, curved: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Gradients of Σ c · p in g and, if `curved`, in x."""
        with torch.enable_grad():
            g, x = g.detach().requires_grad_(), x.detach().requires_grad_(curved)
            p = self.backward(g, x, activation)
        sources = (g, x) if curved else (g,)
        grads = torch.autograd.grad(p, sources, c, materialize_grads=True)
        return grads[0], grads[1] if curved else None

    def only_masks(self, activation: Activation) -> bool:
        """Whether p is g where p > 0 and zero elsewhere, so that p alone has to be kept."""
        return False


class Backprop(Rule):
    """p = g · a'(x) (Simonyan et al. 2014)."""

    name = "backprop"

    def backward(self, g: Tensor, x: Tensor, activation: Activation) -> Tensor:
        return activation.backward(g, x)

    def adjoint(
        self, c: Tensor, g: Tensor, x: Tensor, activation: Activation, *, curved: bool
    ) -> tuple[Tensor, Tensor | None]:
        return activation.backward(c, x), activation.bend(c, g, x) if curved else None


class DeconvNet(Rule):
    """p = max(g, 0) (Zeiler and Fergus 2014)."""

    name = "deconvnet"

    def backward(self, g: Tensor, x: Tensor, activation: Activation) -> Tensor:
        return g.clamp(min=0)

    def adjoint(
        self, c: Tensor, g: Tensor, x: Tensor, activation: Activation, *, curved: bool
    ) -> tuple[Tensor, Tensor | None]:
        return where_positive(c, g), torch.zeros_like(g) if curved else None

    def only_masks(self, activation: Activation) -> bool:
        return True


class Guided(Rule):
    """p = max(g, 0) · [x > 0] · a'(x) (Springenberg et al. 2015)."""

    name = "guided"

    def backward(self, g: Tensor, x: Tensor, activation: Activation) -> Tensor:
        passed = where_positive(g.clamp(min=0), x)
        return passed if activation.rectifier else activation.backward(passed, x)

    def adjoint(
        self, c: Tensor, g: Tensor, x: Tensor, activation: Activation, *, curved: bool
    ) -> tuple[Tensor, Tensor | None]:
        passed = where_positive(where_positive(c, g), x)
        dg = passed if activation.rectifier else activation.backward(passed, x)
        return dg, activation.bend(passed, g, x) if curved else None

    def only_masks(self, activation: Activation) -> bool:
        return activation.rectifier


def where_positive(g: Tensor, x: Tensor) -> Tensor:
    """g · [x > 0]."""
    masked: Tensor = torch.ops.aten.threshold_backward(g, x, 0)
    return masked


BACKPROP, DECONVNET, GUIDED = Backprop(), DeconvNet(), Guided()
