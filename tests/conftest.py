"""Set-up that all tests share.

Each process has one thread: small networks gain nothing from two, and are much slower where cores are busy.
SIGINT is restored: a shell ignores it in background processes, and so in all processes that the tests start.
The modules that read images are imported once for the few hundred pools of workers that the tests start.
Messages are shown as on the command line.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
signal.signal(signal.SIGINT, signal.default_int_handler)
if "forkserver" in multiprocessing.get_all_start_methods():
    multiprocessing.get_context("forkserver").set_forkserver_preload(["__main__", "radgaze.store.pixels"])


@pytest.fixture(autouse=True, scope="session")
def _messages() -> Iterator[None]:
    from radgaze.console import messages

    with messages():
        yield
