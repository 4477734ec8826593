"""Kinds of confounders and their variants, one for each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from radgaze.options import FieldError

CLASSES = ("Normal", "CHF", "pneumonia")

VARIANTS: Mapping[str, tuple[str, str, str]] = {
    "marker": ("lead_letter", "portable_tag", "upright_plate"),
    "device": ("clips", "lead", "port"),
    "border": ("collimated", "framed", "barred"),
    "detector": ("soft", "sharp", "grainy"),
}
"""Variants of each kind of confounder, in the order of `CLASSES`."""

KINDS = tuple(VARIANTS)


def variant_of(kind: str, diagnosis: str) -> str:
    """Return the variant of a kind that belongs to a class."""
    return VARIANTS[kind][CLASSES.index(diagnosis)]


def class_of(kind: str, variant: str) -> str:
    """Return the class that a variant belongs to."""
    return CLASSES[VARIANTS[kind].index(variant)]


def strengths(words: Sequence[str]) -> dict[str, float]:
    """Read confounders given as KIND=STRENGTH, in the order of `KINDS`.

    Raises:
        FieldError: A word is malformed, a kind does not exist or is given twice, or a strength is not from 0
            to 1.
    """
    strength_of: dict[str, float] = {}
    for word in words:
        kind, equals, number = word.partition("=")
        if kind not in VARIANTS or not equals:
            raise FieldError("confounder", f"must be KIND=STRENGTH with KIND {_listed()}, got {word}")
        if kind in strength_of:
            raise FieldError("confounder", f"must name each kind once, got {kind} twice")
        try:
            strength = float(number)
        except ValueError:
            strength = float("nan")
        if not 0 <= strength <= 1:
            raise FieldError("confounder", f"must have a strength from 0 to 1, got {word}")
        strength_of[kind] = strength
    return {kind: strength_of[kind] for kind in KINDS if kind in strength_of}


def _listed() -> str:
    return f"{', '.join(KINDS[:-1])} or {KINDS[-1]}"
