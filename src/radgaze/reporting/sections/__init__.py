"""The sections of a run's page, one in each file."""

from radgaze.reporting.sections import (  # noqa: F401 - they register themselves
    agreement,
    cases,
    class_agreement,
    data,
    decisions,
    discrimination,
    headline,
    limits,
    localisation,
    referral,
    reliance,
    training_images,
    votes,
)
from radgaze.reporting.sections.section import EvaluatedRun, Section, register, sections

__all__ = ["EvaluatedRun", "Section", "register", "sections"]
