"""Ray: imported only where it is asked for, and let go of afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from radgaze.errors import UserError


def load() -> Any:
    """Ray.

    Raises:
        UserError: It is not installed.
    """
    try:
        return import_module("ray")
    except ImportError as error:
        raise UserError(
            "--engine ray needs Ray: pip install 'radgaze[cluster]'; or leave --engine out to run here"
        ) from error


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """Ray, connected to a cluster or, without an address, to one that is made on this machine.

    Raises:
        UserError: Ray is not installed, or there is no cluster at the address.
    """
    ray = load()
    try:
        ray.init(address or "local", log_to_driver=False, include_dashboard=False, logging_level="error")
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise UserError(f"--ray-address {address}: {str(error).strip().splitlines()[0]}") from error
    try:
        yield ray
    finally:
        ray.shutdown()
