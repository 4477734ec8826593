"""Locks on files that keep two processes from working in one folder."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import lock_descriptor

from radgaze.errors import UserError

PAUSE = 0.2
"""Seconds between two attempts to take a lock."""

WITHOUT_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}
"""Errors of a file system that has no locks, as those of some clusters."""

_held: set[int] = set()


@contextmanager
def exclusive(path: Path, message: str, *, patience: float = 0.0, required: bool = True) -> Iterator[int]:
    """Hold a lock while the block runs; yields the descriptor of the lock's file.

    The lock belongs to the open file, so who holds the descriptor holds the lock:

    - A forked child of this process does not: the descriptor is closed in it. A worker that outlives its
      killed parent therefore does not keep the lock.
    - A program that is started with the descriptor (`subprocess.Popen(pass_fds=...)`) does, until it ends,
      also after this process was killed.

    `filelock.FileLock` provides only the first of the two (its descriptor is private), `fcntl.lockf` as well
    (its locks belong to the process); hence `filelock.lock_descriptor` on a descriptor of our own.

    Args:
        path: File of the lock, created where it is missing and left behind.
        message: Message of the error where another process holds the lock.
        patience: Seconds to wait for the lock.
        required: Whether it is an error that the file system has no locks; otherwise the block runs without.

    Raises:
        UserError: Another process holds the lock.
        OSError: The file cannot be opened or locked.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    _held.add(descriptor)
    try:
        until = time.monotonic() + patience
        while not _locked(descriptor, required=required):
            if time.monotonic() >= until:
                raise UserError(message)
            time.sleep(PAUSE)
        yield descriptor
    finally:
        if descriptor in _held:  # not so in a forked child that leaves the block
            _held.discard(descriptor)
            os.close(descriptor)


def _locked(descriptor: int, *, required: bool) -> bool:
    try:
        return lock_descriptor(descriptor, blocking=False)
    except OSError as error:
        if required or error.errno not in WITHOUT_LOCKS:
            raise
        return True


@contextmanager
def temporary(path: Path, message: str) -> Iterator[None]:
    """Hold a lock while the block runs, as `exclusive` does, and remove its file at the end.

    Only a killed process leaves the file behind, which locks nothing then. Where the file system has no
    locks, the block runs without one.

    Args:
        path: File of the lock.
        message: Message of the error where another process holds the lock.

    Raises:
        UserError: Another process holds the lock.
        OSError: The file cannot be opened or locked.
    """
    with exclusive(path, message, required=False) as descriptor:
        if not _is_at(path, descriptor):  # removed since it was opened; another may lock one of that name
            raise UserError(message)
        try:
            yield
        finally:
            if descriptor in _held and _is_at(path, descriptor):
                with suppress(OSError):  # Windows removes no open file
                    path.unlink()


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether a path is that of an open file, which may have been removed."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _close_in_child() -> None:
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
