"""The state of the caller's process that a training sets: generators of random numbers, and determinism."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

VARIABLES = ("PL_GLOBAL_SEED", "PL_SEED_WORKERS", "CUBLAS_WORKSPACE_CONFIG")
"""Environment variables that Lightning sets, and that a later training of the caller's own would read."""


@contextmanager
def kept() -> Iterator[None]:
    """Restore generators of random numbers, PyTorch's flags and `VARIABLES` when the context ends."""
    environment = {name: os.environ.get(name) for name in VARIABLES}
    of_python = random.getstate()
    of_numpy = np.random.get_state()  # noqa: NPY002  the generator that a caller without one of their own has
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    # To ask for the generator of a GPU that is not in use yet would take its memory.
    in_use = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = range(torch.cuda.device_count()) if in_use else ()
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            random.setstate(of_python)
            np.random.set_state(of_numpy)  # noqa: NPY002
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
            torch.backends.cudnn.benchmark = benchmark
            for name, value in environment.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
