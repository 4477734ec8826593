"""The small store of the training's tests."""

from tests.training.conftest import store

__all__ = ["store"]
