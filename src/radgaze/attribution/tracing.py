"""Whether a map is recorded as a graph, in which no value is known, rather than computed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_TRACING: ContextVar[bool] = ContextVar("tracing", default=False)


@contextmanager
def tracing() -> Iterator[None]:
    """Make maps without looking at values or at the number of cases, so that a tracer can record them.

    A map that consists of rounding errors alone is then scaled like any other.
    """
    token = _TRACING.set(True)
    try:
        yield
    finally:
        _TRACING.reset(token)


def is_traced() -> bool:
    """Whether maps are recorded."""
    return _TRACING.get()
