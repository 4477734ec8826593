"""Division of a machine among parallel processes."""

from __future__ import annotations

import os
from dataclasses import dataclass

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Share:
    """Share of the machine that one process may use.

    Attributes:
        threads: Number of computing threads.
        gpus: Names of its GPUs, as in CUDA_VISIBLE_DEVICES; None for all visible GPUs.
    """

    threads: int
    gpus: tuple[str, ...] | None = None

    def environment(self) -> dict[str, str]:
        """Return the environment variables of this process, restricted to the share.

        A lower number of threads that the user has set is kept.
        """
        limit = os.environ.get(THREADS[0], "")
        threads = min(self.threads, int(limit)) if limit.isdecimal() else self.threads
        restricted = {**os.environ, **dict.fromkeys(THREADS, str(threads))}
        if self.gpus is not None:
            restricted["CUDA_VISIBLE_DEVICES"] = ",".join(self.gpus)
        return restricted


def divide(places: int | None, *, gpus: int, processes: int = 1) -> list[Share]:
    """Divide the machine into shares with equal numbers of cores; more shares than GPUs share GPUs.

    Args:
        places: Number of shares; None for as many as there are GPUs for, or one without GPUs.
        gpus: Number of GPUs of each share; 0 for computations on the CPU.
        processes: Number of processes in each share.
    """
    visible = visible_gpus() if gpus else []
    count = places or max(1, len(visible) // max(1, gpus))
    threads = max(1, cores() // (count * processes))
    if not visible:
        return [Share(threads)] * count
    each = min(gpus, len(visible))
    return [
        Share(threads, tuple(visible[(place * each + k) % len(visible)] for k in range(each)))
        for place in range(count)
    ]


def cores() -> int:
    """Count the processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """Return the names of the visible GPUs, as in CUDA_VISIBLE_DEVICES."""
    import torch

    count = torch.cuda.device_count()
    names = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return (names or [str(k) for k in range(count)])[:count]
