"""The aspects of an audit: what it asks of a map, one aspect a file."""

# Each registers its aspect; this is the order in which they are shown.
from radgaze.evaluation.audit.aspects import agreement, localisation, faithfulness, sanity, stability, cost  # noqa: F401, I001
from radgaze.evaluation.audit.aspects.aspect import ASPECTS, Aspect, Course, Curve, Measured, Panel, register
from radgaze.evaluation.audit.aspects.subject import Effort, Method, Subject

__all__ = [
    "ASPECTS",
    "Aspect",
    "Course",
    "Curve",
    "Effort",
    "Measured",
    "Method",
    "Panel",
    "Subject",
    "register",
]
