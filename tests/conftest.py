"""What holds for all tests.

One thread a process: small networks gain nothing from two, and lose much where cores are taken. And Ctrl-C
works: a shell leaves it ignored in what it starts in the background, and so in all that the tests start. What
reads images is imported once for all the pools of workers that they start, a few hundred.
"""

from __future__ import annotations

import multiprocessing
import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
signal.signal(signal.SIGINT, signal.default_int_handler)
if "forkserver" in multiprocessing.get_all_start_methods():
    multiprocessing.get_context("forkserver").set_forkserver_preload(["__main__", "radgaze.store.pixels"])
