"""One thread a process: small networks gain nothing from two, and lose much where the cores are taken."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
