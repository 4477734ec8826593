"""Set-up that all tests share.

Each process has one thread: small networks gain nothing from two, and are much slower where cores are busy.
SIGINT is restored: a shell ignores it in background processes, and so in all processes that the tests start.
The modules that read images are imported once for the few hundred pools of workers that the tests start.
The files that take longest come first, else one process would be busy with them when the other is done.
Figures are written with fewer pixels, and nothing waits until the disk has what was written.
Messages are shown as on the command line.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
signal.signal(signal.SIGINT, signal.default_int_handler)
if "forkserver" in multiprocessing.get_all_start_methods():
    multiprocessing.get_context("forkserver").set_forkserver_preload(
        ["__main__", "radgaze.store.pixels", "radgaze.store.dataset"]
    )

# The files that take more than twenty seconds, the longest first.
LONGEST = (
    *("attribution/test_contract.py", "reporting/paper/test_page.py", "runs/test_origin.py"),
    *("exporting/test_export.py", "tuning/test_search.py", "plugins/test_plugins.py"),
    *("training/test_terms.py", "reporting/test_report.py", "training/test_checkpoints.py"),
    *("store/test_prepare.py", "test_docs_commands.py", "runs/test_voting.py", "training/test_checks.py"),
    *("training/test_train.py", "explaining/test_explain.py", "api/test_functions.py"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the files that take longest come first; the order of the tests of a file stays."""
    here = Path(__file__).parent
    places = {here / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(autouse=True, scope="session")
def _messages() -> Iterator[None]:
    from radgaze.console import messages

    with messages():
        yield


@pytest.fixture(autouse=True, scope="session")
def _quick_writing() -> Iterator[None]:
    from radgaze.reporting import style

    defaults = style.save.__kwdefaults__
    assert defaults
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(defaults, "dpi", 60)
        patch.setattr(os, "fsync", lambda _: None)
        yield
