"""The memory that is available to a process."""

from __future__ import annotations

import os
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
CONTAINERS = (
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file"),
    (
        Path("/sys/fs/cgroup/memory"),
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
)
"""Control groups of version 2 and 1: folder, file with the limit and file with the use of a container's
memory, and the entry of the use that is due to cached files."""


def available_memory() -> int:
    """Compute the memory in bytes that is available without swapping, within the limit of a container."""
    return max(
        0, min([_of_machine(), *(free for free in map(_of_container, CONTAINERS) if free is not None)])
    )


def _of_machine() -> int:
    kibibytes = _entry(MEMINFO, "MemAvailable:")
    if kibibytes is not None:
        return kibibytes * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _of_container(names: tuple[Path, str, str, str]) -> int | None:
    folder, limit, used, files = names
    try:
        free = int((folder / limit).read_text(encoding="ascii")) - int(
            (folder / used).read_text(encoding="ascii")
        )
    except (OSError, ValueError):  # there is no limit, or it is "max"
        return None
    return free + (_entry(folder / "memory.stat", files) or 0)


def _entry(path: Path, name: str) -> int | None:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.split()[0] == name)
    except (OSError, StopIteration, ValueError, IndexError):
        return None
