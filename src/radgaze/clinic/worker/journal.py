"""The journal of a worker: what became of each image, in a file that survives a kill at any moment.

It is a SQLite database that only its owner may read, synchronised to the disk at each change. Images and
studies stand in it as keyed hashes (HMAC-SHA256 with a random key of the journal), not as UIDs or paths.
"""

from __future__ import annotations

import hmac
import os
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from radgaze.errors import UserError
from radgaze.files import make_private
from radgaze.locks import exclusive

State = Literal["begun", "done", "refused", "failing", "failed"]
"""State of an image: in progress, results stored, not to be predicted, to be tried again, or given up."""

VERSION = 1
SHOWN = 12
"""Hexadecimal digits of a hash in a line of the log."""

TABLES = """
CREATE TABLE about (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE images (
  key BLOB PRIMARY KEY, state TEXT NOT NULL, reason TEXT NOT NULL, begun INTEGER NOT NULL,
  errors INTEGER NOT NULL, due REAL NOT NULL, changed REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE unchanged (key BLOB PRIMARY KEY, instances INTEGER NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Entry:
    """The record of an image.

    Attributes:
        state: State of the image.
        reason: Reason why it is refused or failed, "" for others.
        begun: How often work on it began and did not end, as after a kill.
        errors: How often an attempt on it failed.
        due: Time of the next attempt, in seconds since 1970; 0 unless it is failing.
    """

    state: State
    reason: str = ""
    begun: int = 0
    errors: int = 0
    due: float = 0.0

    @property
    def settled(self) -> bool:
        """Whether nothing is left to do for the image."""
        return self.state in ("done", "refused", "failed")


NEW = Entry("begun")


class Journal:
    """An open journal; see `opened`.

    Args:
        base: The database.
    """

    def __init__(self, base: sqlite3.Connection) -> None:
        self._base = base
        (self._secret,) = base.execute("SELECT value FROM about WHERE name = 'key'").fetchone()
        with base:  # which studies are unchanged holds only while one process watches them
            base.execute("DELETE FROM unchanged")

    def key(self, *words: str) -> bytes:
        """Return the keyed hash by which words, such as a UID, stand in the journal."""
        # A path whose bytes are not UTF-8, as on an old share, holds surrogates.
        content = "\n".join(words).encode("utf-8", "surrogatepass")
        return hmac.digest(self._secret, content, "sha256")

    def entry(self, key: bytes) -> Entry | None:
        """Return what there is about an image; None for a new one."""
        row = self._base.execute(
            "SELECT state, reason, begun, errors, due FROM images WHERE key = ?", (key,)
        ).fetchone()
        return None if row is None else Entry(*row)

    def begin(self, key: bytes) -> None:
        """Record that work on an image begins."""
        before = self.entry(key) or NEW
        self._set(key, Entry("begun", "", before.begun + 1, before.errors))

    def end(self, key: bytes, state: State, reason: str = "", *, due: float = 0.0) -> None:
        """Record what became of an image.

        Args:
            key: The image.
            state: Its new state; "failing" counts an error.
            reason: Reason, in words that do not identify a patient.
            due: Time of the next attempt.
        """
        before = self.entry(key) or NEW
        self._set(key, Entry(state, reason, 0, before.errors + (state == "failing"), due))

    def release(self, key: bytes) -> None:
        """Record that work on an image was stopped in good order, and does not count as interrupted."""
        before = self.entry(key)
        if before is not None and before.state == "begun":
            self._set(key, Entry("begun", before.reason, max(0, before.begun - 1), before.errors))

    def forget_refused(self) -> int:
        """Forget the images that were refused or failed, so that they are tried again; return how many."""
        with self._base:
            rows = self._base.execute("DELETE FROM images WHERE state IN ('refused', 'failing', 'failed')")
        return rows.rowcount

    def is_unchanged(self, key: bytes, instances: int | None) -> bool:
        """Whether a study has as many instances as when it was last complete."""
        if instances is None:
            return False
        row = self._base.execute("SELECT instances FROM unchanged WHERE key = ?", (key,)).fetchone()
        return row is not None and row[0] == instances

    def complete(self, key: bytes, instances: int | None) -> None:
        """Record that nothing is left to do in a study with so many instances."""
        if instances is not None:
            with self._base:
                self._base.execute("INSERT OR REPLACE INTO unchanged VALUES (?, ?)", (key, instances))

    def counts(self) -> dict[str, int]:
        """Return the number of images in each state."""
        return dict(self._base.execute("SELECT state, count(*) FROM images GROUP BY state").fetchall())

    def _set(self, key: bytes, entry: Entry) -> None:
        row = (key, entry.state, entry.reason, entry.begun, entry.errors, entry.due, time.time())
        try:
            with self._base:
                self._base.execute("INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        except sqlite3.OperationalError as error:  # such as a full disk
            raise UserError(f"the journal cannot be written: {error}") from error


def short(key: bytes) -> str:
    """Return the beginning of a hash, as a line of the log has it."""
    return key.hex()[:SHOWN]


@contextmanager
def opened(path: Path) -> Iterator[Journal]:
    """Open a journal, made where it is missing, as is its folder, for this process alone.

    Args:
        path: File of the journal; beside it lies a file for its lock.

    Raises:
        UserError: Another process uses it, or it is no journal.
        OSError: It cannot be written.
    """
    busy = f"another worker uses the journal {path}; name another one with `journal`"
    path.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(path.with_name(f"{path.name}.lock"), busy):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        with closing(_connected(path)) as base:
            yield Journal(base)


def _connected(path: Path) -> sqlite3.Connection:
    base = sqlite3.connect(path, timeout=30)
    try:
        base.execute("PRAGMA locking_mode = EXCLUSIVE")  # without a file of shared memory
        is_new = base.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
        version = "SELECT value FROM about WHERE name = 'version'"
        # Before anything is changed, since it may be the database of another program.
        if not is_new and base.execute(version).fetchone() != (VERSION,):
            raise UserError(f"the journal {path} is of another version of radgaze; name another one")
        make_private(path)
        base.execute("PRAGMA journal_mode = WAL")  # one synchronisation for a change, in place of four
        base.execute("PRAGMA synchronous = FULL")
        if is_new:
            with base:
                base.executescript(f"BEGIN; {TABLES}")
                about = {"version": VERSION, "key": secrets.token_bytes(32)}
                base.executemany("INSERT INTO about VALUES (?, ?)", about.items())
    except sqlite3.DatabaseError as error:
        base.close()
        raise UserError(
            f"{path} is no journal of a worker, or damaged; name another one with `journal`: no result is "
            "stored twice, since results that the PACS has are recognised"
        ) from error
    except BaseException:
        base.close()
        raise
    return base
