"""Checks of the folders that a verb reads, before it imports what reads them.

torch and what stands on it take seconds to import, and polars half a second: a wrong folder is told before.
"""

from __future__ import annotations

from pathlib import Path


def check_run(path: str | Path) -> None:
    """Check that a folder is a run.

    Raises:
        UserError: It is missing or not a run, or its configuration is damaged.
    """
    from radgaze.runs import settings

    settings.of_run(Path(path))


def check_store(path: str | Path) -> None:
    """Check that a folder is a store.

    Raises:
        UserError: It is missing, not a store, or lacks files.
    """
    from radgaze.store.opening import open_manifest

    open_manifest(Path(path))
