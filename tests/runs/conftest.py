"""The small store of made cases, and the settings of quick runs."""

from __future__ import annotations

from tests.training.conftest import config, store

__all__ = ["config", "store"]
