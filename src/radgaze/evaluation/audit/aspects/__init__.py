"""Aspects of an audit: questions about maps, one in each file."""

# Each module registers its aspect; tables and figures show them in this order.
from radgaze.evaluation.audit.aspects import (  # noqa: F401, I001
    agreement,
    localisation,
    faithfulness,
    reliance,
    sanity,
    stability,
    cost,
)
from radgaze.evaluation.audit.aspects.aspect import (
    ASPECTS,
    Aspect,
    AspectFigure,
    Curve,
    Measurement,
    Panel,
    Shading,
    register,
)
from radgaze.evaluation.audit.aspects.audited_maps import AuditedMaps, AuditedMethod

__all__ = [
    "ASPECTS",
    "Aspect",
    "AspectFigure",
    "AuditedMaps",
    "AuditedMethod",
    "Curve",
    "Measurement",
    "Panel",
    "Shading",
    "register",
]
