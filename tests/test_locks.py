"""Locks: who goes on holding one when the process that took it is killed."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import filelock
import pytest

from radgaze import locks
from radgaze.errors import UserError

BUSY = "somebody is at work"

FORKED = """
import os, signal, sys, time
from pathlib import Path
from radgaze import locks
with locks.exclusive(Path(sys.argv[1]), "busy") as descriptor:
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    print(child, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""

POOLED = """
import multiprocessing, os, signal, sys, time
from pathlib import Path
from radgaze import locks
def work(said):
    said.put(os.getpid())
    time.sleep(60)
if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    with locks.exclusive(Path(sys.argv[1]), "busy") as descriptor:
        said = context.Queue()
        context.Process(target=work, args=(said,)).start()
        print(said.get(), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""

STARTED = """
import os, signal, subprocess, sys
from pathlib import Path
from radgaze import locks
with locks.exclusive(Path(sys.argv[1]), "busy") as descriptor:
    job = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], pass_fds=[descriptor],
                           stdout=subprocess.DEVNULL)
    print(job.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(code: str, path: Path) -> int:
    """Run a program that takes the lock, starts another process and kills itself; return that process."""
    program = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    assert program.stdout is not None
    child = int(program.stdout.readline())
    assert program.wait(30) == -signal.SIGKILL
    os.kill(child, 0)  # it outlives its parent
    return child


def is_free(path: Path, patience: float = 0.0) -> bool:
    try:
        with locks.exclusive(path, BUSY, patience=patience):
            return True
    except UserError:
        return False


@pytest.mark.parametrize("code", [FORKED, POOLED])
def test_forked_children_of_a_killed_process_do_not_hold_its_lock(code: str, tmp_path: Path) -> None:
    child = killed(code, tmp_path / "lock")
    try:
        assert is_free(tmp_path / "lock", patience=10.0)  # the child may still be about to let go
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_program_that_was_given_the_descriptor_holds_the_lock_of_a_killed_process(tmp_path: Path) -> None:
    job = killed(STARTED, tmp_path / "lock")
    try:
        assert not is_free(tmp_path / "lock")
    finally:
        os.kill(job, signal.SIGKILL)
    assert is_free(tmp_path / "lock", patience=10.0)


def test_the_lock_is_free_after_the_block_whatever_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locks.exclusive(path, BUSY), pytest.raises(UserError, match=BUSY), locks.exclusive(path, BUSY):
        pass
    with pytest.raises(ZeroDivisionError), locks.exclusive(path, BUSY):
        raise ZeroDivisionError
    assert is_free(path)
    assert path.is_file()  # a removed file would let two processes lock two files of one name


def test_a_temporary_lock_removes_its_own_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locks.temporary(path, BUSY), pytest.raises(UserError, match=BUSY), locks.temporary(path, BUSY):
        pass
    assert not path.exists()
    with locks.temporary(path, BUSY):
        path.unlink()
        path.touch()  # of another process, in a new folder of that name
    assert path.exists()


def test_a_temporary_lock_is_not_held_on_a_file_that_was_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"

    def late(descriptor: int, *, blocking: bool) -> bool:
        path.unlink()  # who held the lock is done just then
        return filelock.lock_descriptor(descriptor, blocking=blocking)

    monkeypatch.setattr(locks, "lock_descriptor", late)
    with pytest.raises(UserError, match=BUSY), locks.temporary(path, BUSY):
        pass


def test_patience_waits_for_the_lock(tmp_path: Path) -> None:
    begun = time.monotonic()
    with locks.exclusive(tmp_path / "lock", BUSY):
        assert not is_free(tmp_path / "lock", patience=0.5)
    assert 0.5 <= time.monotonic() - begun < 10
    job = killed(STARTED, tmp_path / "lock")
    ended = subprocess.Popen([sys.executable, "-c", "import os, signal, sys, time; time.sleep(0.5); "
                              "os.kill(int(sys.argv[1]), signal.SIGKILL)", str(job)])  # fmt: skip
    assert is_free(tmp_path / "lock", patience=30.0)
    ended.wait()


def test_a_child_leaves_the_block_without_harm(tmp_path: Path) -> None:
    with locks.exclusive(tmp_path / "lock", BUSY):
        child = os.fork()
        if child:
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            assert not is_free(tmp_path / "lock")
    if not child:
        os._exit(0)


def test_a_temporary_lock_is_done_without_where_the_file_system_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(number: int) -> Callable[..., bool]:
        def lock(*_: object, **__: object) -> bool:
            raise OSError(number, "no locks")

        return lock

    monkeypatch.setattr(locks, "lock_descriptor", failing(errno.ENOLCK))
    with locks.temporary(tmp_path / "lock", "busy"):
        pass
    with pytest.raises(OSError, match="no locks"), locks.exclusive(tmp_path / "other", "busy"):
        pass
    monkeypatch.setattr(locks, "lock_descriptor", failing(errno.EIO))
    with pytest.raises(OSError, match="no locks"), locks.temporary(tmp_path / "lock", "busy"):
        pass
