"""The record of a study: an SQLite database to which rows are added, and never changed or removed.

A row is on the disk before the reader is told so (write-ahead log, synchronous FULL). The key of an answer is
the reader, the session and the place of the case, so that a second answer, of a reload, of another tab or of
a browser that did not hear of the first one, is refused by the database itself.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from radgaze.errors import UserError
from radgaze.files import make_private
from radgaze.records import plain
from radgaze.viewing.study.design import Design, checked

SCHEMA = 1
TABLES = """
CREATE TABLE study (
    number INTEGER PRIMARY KEY, schema INTEGER NOT NULL, design TEXT NOT NULL, run TEXT NOT NULL,
    answers TEXT NOT NULL, created REAL NOT NULL
);
CREATE TABLE cases (
    case_id TEXT PRIMARY KEY, patient INTEGER NOT NULL, truth TEXT NOT NULL, model TEXT NOT NULL,
    probabilities TEXT NOT NULL, rows INTEGER NOT NULL, columns INTEGER NOT NULL, practice INTEGER NOT NULL
);
CREATE TABLE views (
    view TEXT PRIMARY KEY, reader TEXT NOT NULL, session INTEGER NOT NULL, place INTEGER NOT NULL,
    opened REAL NOT NULL
);
CREATE TABLE answers (
    reader TEXT NOT NULL, session INTEGER NOT NULL, place INTEGER NOT NULL, case_id TEXT NOT NULL,
    condition TEXT NOT NULL, practice INTEGER NOT NULL, answer TEXT NOT NULL, confidence INTEGER NOT NULL,
    over_time INTEGER NOT NULL, view TEXT NOT NULL, answered REAL NOT NULL,
    PRIMARY KEY (reader, session, place)
);
CREATE TABLE pieces (
    view TEXT NOT NULL, number INTEGER NOT NULL,
    began REAL NOT NULL, active REAL NOT NULL, hidden REAL NOT NULL,
    mouse TEXT NOT NULL, placements TEXT NOT NULL, received REAL NOT NULL,
    PRIMARY KEY (view, number)
);
"""
TRIGGERS = "".join(
    f"CREATE TRIGGER {table}_no_{word} BEFORE {word.upper()} ON {table} "
    f"BEGIN SELECT RAISE(ABORT, 'rows of {table} are only added'); END;\n"
    for table in ("study", "cases", "views", "answers", "pieces")
    for word in ("update", "delete")
)

_NEW_STUDY = "INSERT INTO study (schema, design, run, answers, created) VALUES (?, ?, ?, ?, ?)"

Outcome = Literal["saved", "repeated", "refused"]
Seconds = Annotated[float, Field(ge=-1, le=1e7)]
"""A time within a view. A browser reads its clock twice: a page hidden all the time counts just below 0."""
Placement = tuple[float, float, float, float, float, float, float] | tuple[float]


@dataclass(frozen=True)
class Answer:
    """The answer of a reader to a case: a row of the table `answers`.

    Attributes:
        reader: Code of the reader.
        session: Number of the session.
        place: Number of the case within the session.
        case_id: Id of the case.
        condition: Name of the condition.
        practice: Whether the case is for practice.
        answer: The answer.
        confidence: The reader's confidence in it.
        over_time: Whether it was given after the time limit.
        view: Key of the view of the page in which it was given.
        answered: Wall-clock time of the server, in seconds since 1970.
    """

    reader: str
    session: int
    place: int
    case_id: str
    condition: str
    practice: bool
    answer: str
    confidence: int
    over_time: bool
    view: str
    answered: float


@dataclass(frozen=True)
class Piece:
    """A part of what happened in a view of a page, sent while the case is read and with the answer.

    Attributes:
        view: Key of the view.
        number: Number of the piece within the view, from 0.
        began: Wall-clock time of the browser when the image appeared, in seconds since 1970.
        active: Seconds since the image appeared during which the page was visible.
        hidden: Seconds since then during which it was hidden, as behind another tab.
        mouse: Samples (ms since the image appeared, x, y) in pixels of the original image.
        placements: Where the image lay: (ms, CSS pixels per pixel of the image, x and y of the image's corner
            in the window, x and y of the window's corner on the screen, device pixels per CSS pixel); or
            (ms,), from when on it could not be seen, since the page was hidden or the time was over.
    """

    view: str
    number: Annotated[int, Field(ge=0, le=10**6)]
    began: Annotated[float, Field(ge=0, le=1e11)]
    active: Seconds
    hidden: Seconds
    mouse: tuple[tuple[float, float, float], ...] = ()
    placements: tuple[Placement, ...] = ()


@dataclass(frozen=True)
class Known:
    """A case and the model's answer to it: a row of the table `cases`.

    Attributes:
        case_id: Id of the case.
        patient: Number of the patient in the store.
        truth: The true answer.
        model: The answer of the model.
        probabilities: Probability of each answer.
        rows, columns: Size of the original image, in pixels.
        practice: Whether the case is for practice.
    """

    case_id: str
    patient: int
    truth: str
    model: str
    probabilities: Mapping[str, float]
    rows: int
    columns: int
    practice: bool = False


class Recorder:
    """An open record. Its methods may be called from several threads.

    Args:
        path: The database.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # its owner's alone, as the log beside it
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
        try:
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.execute("PRAGMA foreign_keys = ON")
        except sqlite3.DatabaseError as error:
            self._database.close()
            raise UserError(f"{path} is not the record of a study: {error}") from error

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._database.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it is on the disk when the block ends, or nothing."""
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """The rows of a query.

        Raises:
            UserError: The database is damaged, or something else.
        """
        try:
            with self._lock:
                cursor = self._database.execute(query, values)
                cursor.row_factory = sqlite3.Row
                return cursor.fetchall()
        except sqlite3.DatabaseError as error:
            raise UserError(f"{self.path} cannot be read as the record of a study: {error}") from error

    def parsed(self, text: str) -> Any:
        """The values of a cell that holds JSON.

        Raises:
            UserError: It is damaged.
        """
        try:
            return json.loads(text)
        except ValueError as error:
            raise UserError(f"{self.path} is damaged: a cell holds no JSON") from error

    @property
    def is_empty(self) -> bool:
        """Whether the database holds nothing yet, neither a study nor what another program made."""
        return not self.rows("SELECT 1 FROM sqlite_master")

    def begin(
        self, design: Design, answers: Mapping[str, Sequence[str]], run: str, cases: Sequence[Known]
    ) -> None:
        """Set up the record of a study, or check that it is that of the same study.

        Args:
            design: The design.
            answers: Classes that each answer stands for.
            run: Hash of the weights of the model.
            cases: What the model says of the cases.

        Raises:
            UserError: The record is of another design, model or other cases, or the file is something else;
                it is then left as it is.
        """
        row = (SCHEMA, _as_json(design), run, _as_json(answers), time.time())
        if self.is_empty:
            self._prepare()
            with self._writing() as database:
                for statement in (TABLES + TRIGGERS).split(";\n"):
                    database.execute(statement)
                database.execute(_NEW_STUDY, row)
                database.executemany(
                    "INSERT INTO cases VALUES (?, ?, ?, ?, ?, ?, ?, ?)", map(_case_row, cases)
                )
            return
        before = self.design()
        is_same = replace(before, readers=design.readers) == design
        if not is_same or design.readers[: len(before.readers)] != before.readers:
            raise UserError(
                f"{self.path} is the record of a study with another design: give another `record`, or put "
                "the design back as it was; readers can be added at the end"
            )
        if self._study()["run"] != run:
            raise UserError(f"{self.path} is the record of a study with another model; give another `record`")
        if [(c.case_id, c.truth) for c in cases] != [(c.case_id, c.truth) for c in self.cases()]:
            raise UserError(f"{self.path} is the record of a study on other cases; give another `record`")
        self._prepare()
        if len(design.readers) > len(before.readers):
            with self._writing() as database:
                database.execute(_NEW_STUDY, row)

    def _prepare(self) -> None:
        """Make the database private, and have it write ahead, when it is known not to be something else."""
        make_private(self.path)
        self.rows("PRAGMA journal_mode = WAL")

    def _study(self) -> sqlite3.Row:
        """The newest row of the study: it has several where readers were added."""
        # By name: a table of another program may be named so too, with other columns and values.
        rows = self.rows("SELECT schema, design, run, answers FROM study ORDER BY number")
        version = rows[-1]["schema"] if rows else None
        if not isinstance(version, int) or version > SCHEMA:
            raise UserError(f"{self.path} is not the record of a study, or that of a later radgaze")
        return rows[-1]

    def design(self) -> Design:
        """The design of the recorded study."""
        return checked(self.parsed(self._study()["design"]))

    def answer_texts(self) -> dict[str, tuple[str, ...]]:
        """Classes that each answer stands for."""
        return {text: tuple(classes) for text, classes in self.parsed(self._study()["answers"]).items()}

    def cases(self) -> list[Known]:
        """The cases, with the model's answers."""
        return [
            Known(
                *(row["case_id"], row["patient"], row["truth"], row["model"]),
                *(self.parsed(row["probabilities"]), row["rows"], row["columns"], bool(row["practice"])),
            )
            for row in self.rows("SELECT * FROM cases ORDER BY rowid")
        ]

    def open_view(self, view: str, reader: str, session: int, place: int) -> None:
        """Note that a page shows a case."""
        with self._writing() as database:
            database.execute(
                "INSERT OR IGNORE INTO views VALUES (?, ?, ?, ?, ?)",
                (view, reader, session, place, time.time()),
            )

    def add_pieces(self, pieces: Sequence[Piece]) -> None:
        """Add pieces; those that are there already, as a browser repeats them, are passed over."""
        with self._writing() as database:
            _insert_pieces(database, pieces)

    def add_answer(self, answer: Answer, pieces: Sequence[Piece] = ()) -> Outcome:
        """Add an answer with the last pieces of its view; it is on the disk when this returns.

        Returns:
            "saved"; "repeated" where the same view sent it before; or "refused" where the case was answered
            in another view, whose answer stays.
        """
        with self._writing() as database:
            key = (answer.reader, answer.session, answer.place)
            before = database.execute(
                "SELECT view FROM answers WHERE reader = ? AND session = ? AND place = ?", key
            ).fetchone()
            if before is not None:
                return "repeated" if before[0] == answer.view else "refused"
            _insert_pieces(database, pieces)
            marks = ", ".join("?" * len(fields(Answer)))
            database.execute(f"INSERT INTO answers VALUES ({marks})", astuple(answer))  # noqa: S608
        return "saved"

    def answers(self, reader: str | None = None) -> list[Answer]:
        """The answers of a reader, or of all, in the order in which they were given."""
        rows = self.rows("SELECT * FROM answers WHERE ? IS NULL OR reader = ? ORDER BY rowid", reader, reader)
        named = ({name: row[name] for name in row.keys()} for row in rows)  # noqa: SIM118 - of a Row
        return [
            Answer(**row | {"practice": bool(row["practice"]), "over_time": bool(row["over_time"])})
            for row in named
        ]


def opened(path: Path) -> Recorder:
    """Open the record of a study that there is.

    Raises:
        UserError: There is none, or the file is something else.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no record of a study")
    recorder = Recorder(path)
    try:
        if recorder.is_empty:
            raise UserError(f"{path} is not the record of a study")
        recorder.design()
    except BaseException:
        recorder.close()
        raise
    return recorder


def _insert_pieces(database: sqlite3.Connection, pieces: Sequence[Piece]) -> None:
    database.executemany(
        "INSERT OR IGNORE INTO pieces VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                *(each.view, each.number, each.began, each.active, each.hidden),
                *(json.dumps(each.mouse), json.dumps(each.placements), time.time()),
            )
            for each in pieces
        ],
    )


def _case_row(known: Known) -> tuple[object, ...]:
    return (
        *(known.case_id, known.patient, known.truth, known.model, _as_json(known.probabilities)),
        *(known.rows, known.columns, known.practice),
    )


def _as_json(value: object) -> str:
    return json.dumps(plain(value), ensure_ascii=False)
