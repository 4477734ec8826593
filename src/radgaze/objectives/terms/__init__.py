"""The terms of the loss beside the classification: distances of maps, and outputs on perturbed images."""

from radgaze.objectives.terms import edge, outputs, perturbed  # noqa: F401 - each registers its kinds
from radgaze.objectives.terms.base import (
    REGISTRY,
    Term,
    compares,
    create,
    further,
    needs_boxes,
    needs_parts,
    register,
)

__all__ = ["REGISTRY", "Term", "compares", "create", "further", "needs_boxes", "needs_parts", "register"]
