"""Factories of networks that a user names on the command line."""

from __future__ import annotations

from collections.abc import Mapping

from radgaze.models import factories

TRUST = (
    "import the code that a run names as `model.factory`, a network of its author's own; give this only for "
    "runs whose author you trust"
)
"""Help of --trust."""


def allow_given(fields: Mapping[str, object]) -> None:
    """Allow the factory among the fields that a user gave to be imported, here and in processes of a grid."""
    model = fields.get("model")
    name = model.get("factory") if isinstance(model, Mapping) else None
    if isinstance(name, str):
        factories.allow(name)
