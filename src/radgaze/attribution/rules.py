"""Rules: the gradient that an activation passes back while a heatmap is made.

Each rule defines the gradient p that an activation a(x) passes back, given the incoming gradient g. For ReLU
these are the published definitions. For SiLU, GELU and other activations they are extended: guided
back-propagation keeps the factor a'(x), so that the rules differ from plain back-propagation on every
network, not only on ReLU networks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

if TYPE_CHECKING:
    from radgaze.attribution.engine.activations import Activation


class Rule:
    """The base class of rules, each of which is defined by its formula `backward`.

    A subclass needs to define only `backward`: autograd then computes its derivatives, which the backward
    pass of a loss through the heatmap needs. A subclass that also overrides `adjoint` avoids that cost.
    """

    name: ClassVar[str] = ""

    def backward(self, g: Tensor, x: Tensor, activation: Activation) -> Tensor:
        """Compute the gradient p that is passed back, in the shape of g.

        Args:
            g: Incoming gradient.
            x: Input of the activation; of a ReLU, and of a sigmoid under `gates="plain"`, its output.
            activation: The activation; `activation.backward(g, x)` is g · a'(x).
        """
        raise NotImplementedError

    def adjoint(
        self, c: Tensor, g: Tensor, x: Tensor, activation: Activation, *, curved: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Compute the gradients of Σ c · p, for p as returned by `backward`.

        Args:
            c: Gradient of the loss with respect to p, in the shape of p.
            g: Incoming gradient, see `backward`.
            x: Input of the activation, see `backward`.
            activation: The activation.
            curved: Whether the gradient with respect to x is needed.

        Returns:
            The gradients with respect to g and to x; the latter is None unless `curved`.
        """
        with torch.enable_grad():
            g, x = g.detach().requires_grad_(), x.detach().requires_grad_(curved)
            p = self.backward(g, x, activation)
        sources = (g, x) if curved else (g,)
        grads = torch.autograd.grad(p, sources, c, materialize_grads=True)
        return grads[0], grads[1] if curved else None

    def only_masks(self, activation: Activation) -> bool:
        """Whether p equals g where p > 0 and is 0 elsewhere, so that only p has to be stored."""
        return False


class Backprop(Rule):
    """p = g · a'(x) (Simonyan et al. 2014)."""

    name = "backprop"

    def backward(self, g: Tensor, x: Tensor, activation: Activation) -> Tensor:
        return activation.backward(g, x)

    def adjoint(
        self, c: Tensor, g: Tensor, x: Tensor, activation: Activation, *, curved: bool
    ) -> tuple[Tensor, Tensor | None]:
        return activation.adjoint(c, g, x) if curved else (activation.backward(c, x), None)


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
        if activation.rectifier:
            return passed, activation.bend(passed, g, x) if curved else None
        return activation.adjoint(passed, g, x) if curved else (activation.backward(passed, x), None)

    def only_masks(self, activation: Activation) -> bool:
        return activation.rectifier


def where_positive(g: Tensor, x: Tensor) -> Tensor:
    """g · [x > 0]."""
    masked: Tensor = torch.ops.aten.threshold_backward(g, x, 0)
    return masked


BACKPROP, DECONVNET, GUIDED = Backprop(), DeconvNet(), Guided()
