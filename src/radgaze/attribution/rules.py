"""What an activation passes back while a heatmap is read out: one line of mathematics each.

For an activation a(x) with incoming gradient g. For ReLU these are the textbook definitions; for SiLU, GELU
and the rest their extension, which keeps a'(x) (so a rule differs from plain back-propagation on every
network, not on ReLU networks only).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """A rule passes back r(g) · [x > 0 if `gate`] · [a'(x) if `slope`], with r the identity or max(·, 0).

    Attributes:
        rectify: Whether only positive gradients pass: r(g) = max(g, 0).
        gate: Whether they pass only where the input was positive.
        slope: Whether they are weighted by a'(x).
    """

    name: str
    rectify: bool
    gate: bool
    slope: bool


BACKPROP = Rule("backprop", rectify=False, gate=False, slope=True)
"""g · a'(x) (Simonyan et al. 2014)."""

DECONVNET = Rule("deconvnet", rectify=True, gate=False, slope=False)
"""max(g, 0) (Zeiler and Fergus 2014)."""

GUIDED = Rule("guided", rectify=True, gate=True, slope=True)
"""max(g, 0) · [x > 0] · a'(x) (Springenberg et al. 2015)."""
