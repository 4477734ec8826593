"""The record of a study loses no row and doubles none: reloads, two tabs, repeated requests, kills."""

from __future__ import annotations

import multiprocessing
import os
import random
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from radgaze.errors import UserError
from radgaze.viewing.refusals import RefusedError
from radgaze.viewing.study.conduct import DAY, Showing, Waiting
from radgaze.viewing.study.order import trials
from radgaze.viewing.study.readings import readings
from radgaze.viewing.study.record import Piece, Recorder, opened
from tests.viewing.studies import answer, begun, design, known
from tests.viewing.study_app import CASES, STUDY, app_of, conducted, serve

ROOT = Path(__file__).parents[2]


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    made = begun(tmp_path / "record.sqlite", STUDY, CASES)
    yield made
    made.close()


def showing(found: Showing | Waiting | None) -> Showing:
    assert isinstance(found, Showing)
    return found


def test_a_study_is_read_back(recorder: Recorder) -> None:
    again = opened(recorder.path)
    assert again.design() == STUDY
    assert again.cases() == CASES
    trial = trials(STUDY, [c.case_id for c in CASES], [], "R1")[0]
    row = answer("R1", trial, "normal")
    assert recorder.add_answer(row) == "saved"
    assert again.answers() == [row]
    assert again.answers("R2") == []


def test_the_folder_of_a_record_is_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "record.sqlite"
    begun(path, STUDY, CASES).close()
    assert path.is_file()


def test_rows_are_only_added(recorder: Recorder) -> None:
    trial = trials(STUDY, [c.case_id for c in CASES], [], "R1")[0]
    recorder.add_answer(answer("R1", trial, "normal", view="v"), [Piece("v", 0, 0.0, 1.0, 0.0)])
    recorder.open_view("v", "R1", 1, 1)
    database = sqlite3.connect(recorder.path)
    for table in ("answers", "pieces", "views", "cases", "study"):
        for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET rowid = rowid + 1"):
            with pytest.raises(sqlite3.IntegrityError, match="only added"):
                database.execute(statement)
    assert len(recorder.answers()) == 1


def test_the_disk_is_waited_for(recorder: Recorder) -> None:
    assert recorder.rows("PRAGMA journal_mode")[0][0] == "wal"
    assert recorder.rows("PRAGMA synchronous")[0][0] == 2  # FULL


def test_a_second_answer_is_refused_and_a_repeated_one_changes_nothing(recorder: Recorder) -> None:
    conduct = conducted(recorder)
    first, second = (showing(conduct.next("R1")) for _ in range(2))  # two tabs, or a reload
    assert first.trial == second.trial
    assert first.view != second.view
    piece = Piece(first.view, 0, 0.0, 2.0, 0.5)
    assert conduct.answer(first.view, "normal", 3, pieces=[piece]) == "saved"
    assert conduct.answer(first.view, "normal", 3, pieces=[piece]) == "repeated"
    assert conduct.answer(second.view, "disease", 5) == "refused"
    (row,) = recorder.answers()
    assert (row.answer, row.confidence) == ("normal", 3)
    assert showing(conduct.next("R1")).trial.place == 2
    table = readings(recorder)
    assert table["views"].to_list() == [2]
    assert table["seconds"].to_list() == [2.0]
    assert table["hidden"].to_list() == [0.5]


def test_the_time_of_a_reading_is_the_sum_over_its_views(recorder: Recorder) -> None:
    conduct = conducted(recorder)
    first = showing(conduct.next("R1"))
    conduct.add_pieces([Piece(first.view, 0, 0.0, 5.0, 0.0), Piece(first.view, 1, 0.0, 7.0, 0.0)])
    second = showing(conduct.next("R1"))
    assert second.spent == 7.0
    conduct.answer(second.view, "normal", 1, pieces=[Piece(second.view, 0, 0.0, 4.0, 0.0)])
    assert readings(recorder)["seconds"].to_list() == [11.0]


def test_the_next_session_begins_after_the_washout(tmp_path: Path) -> None:
    study = design(2, 3, washout_days=7)
    conduct = conducted(begun(tmp_path / "record.sqlite", study, CASES), study)
    for place in range(1, len(CASES) + 1):
        shown = showing(conduct.next("R1"))
        assert (shown.trial.session, shown.trial.place) == (1, place)
        conduct.answer(shown.view, "normal", 3)
    waiting = conduct.next("R1")
    assert isinstance(waiting, Waiting)
    assert waiting.until == pytest.approx(time.time() + 7 * DAY, abs=60)
    assert showing(conduct.next("R1", now=waiting.until + 1)).trial.session == 2
    assert showing(conduct.next("R2")).trial.session == 1


def test_what_is_no_answer_is_refused(recorder: Recorder) -> None:
    conduct = conducted(recorder)
    shown = showing(conduct.next("R1"))
    for view, said, sure in ((shown.view, "maybe", 3), (shown.view, "normal", 6), ("none", "normal", 3)):
        with pytest.raises(RefusedError):
            conduct.answer(view, said, sure)
    recorder.open_view("ahead", "R1", 1, 3)
    with pytest.raises(RefusedError, match="not_next"):
        conduct.answer("ahead", "normal", 3)
    assert recorder.answers() == []
    assert conduct.reader(" r1 ") == "R1"
    with pytest.raises(RefusedError):
        conduct.reader("R9")


def test_a_record_is_that_of_one_study_to_which_readers_can_be_added(recorder: Recorder) -> None:
    begun(recorder.path, STUDY, CASES)
    longer = design(3, 3, washout_days=0)
    assert begun(recorder.path, longer, CASES).design().readers == ("R1", "R2", "R3")
    with pytest.raises(UserError, match="another design"):
        begun(recorder.path, STUDY, CASES)
    with pytest.raises(UserError, match="another design"):
        begun(recorder.path, design(3, 3, washout_days=0, seed=2), CASES)
    with pytest.raises(UserError, match="other cases"):
        begun(recorder.path, longer, known(4, 1))
    with pytest.raises(UserError, match="another model"):
        Recorder(recorder.path).begin(longer, {}, "other weights", CASES)


def test_a_record_is_its_owners_alone(recorder: Recorder) -> None:
    assert modes(recorder.path) == {0o600}


def test_a_record_that_others_may_read_becomes_its_owners_alone(recorder: Recorder) -> None:
    """As one that was restored from a copy."""
    recorder.close()
    recorder.path.chmod(0o644)
    again = begun(recorder.path, STUDY, CASES)
    assert modes(recorder.path) == {0o600}
    again.close()


def modes(record: Path) -> set[int]:
    """Permissions of an open record and its log."""
    files = [path for path in record.parent.iterdir() if path.name.startswith(record.name)]
    assert {record, record.with_name(f"{record.name}-wal")} <= set(files)
    return {stat.S_IMODE(path.stat().st_mode) for path in files}


def test_what_is_no_record_is_told(tmp_path: Path) -> None:
    (tmp_path / "text.sqlite").write_text("no database at all, but some text" * 50)
    sqlite3.connect(tmp_path / "empty.sqlite").close()
    for name in ("text.sqlite", "empty.sqlite", "missing.sqlite"):
        with pytest.raises(UserError, match="record of a study"):
            opened(tmp_path / name)


@pytest.mark.parametrize(
    "statement",
    [
        "",
        "CREATE TABLE mine (a)",
        "CREATE TABLE study (number); INSERT INTO study VALUES (1)",
        "CREATE TABLE study (number, schema, design, run, answers);"
        "INSERT INTO study VALUES (1, 'a', 1, 1, 1)",
    ],
)
def test_what_is_no_record_is_not_changed(statement: str, tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    database = sqlite3.connect(path)
    database.executescript(statement)
    database.close()
    path.chmod(0o644)
    before = path.read_bytes()
    with pytest.raises(UserError, match="record of a study"):
        opened(path)
    if statement:
        with pytest.raises(UserError, match="record of a study"):
            begun(path, STUDY, CASES)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (before, 0o644)


def test_the_pages_tell_nothing_that_a_condition_hides(recorder: Recorder) -> None:
    ids = [each.case_id for each in CASES]
    with TestClient(app_of(recorder), base_url="http://127.0.0.1") as client:
        assert client.get("/").status_code == 200
        assert client.get("/study/study.js").status_code == 200
        kinds = set()
        for _ in range(2 * len(CASES)):
            response = client.post("/api/study/next", json={"reader": "R1"})
            state = response.json()
            with_map = state["map"]
            kinds.add(with_map)
            assert (state["prediction"] is not None) == with_map
            assert not any(case_id in response.text for case_id in ids)
            assert "truth" not in response.text
            assert client.get(f"/api/study/{state['view']}/pixels").headers["x-rows"] == "100"
            assert client.get(f"/api/study/{state['view']}/map").status_code == (200 if with_map else 403)
            given = {"view": state["view"], "answer": "normal", "confidence": 2, "pieces": []}
            assert client.post("/api/study/answer", json=given).json() == {"outcome": "saved"}
            assert client.post("/api/study/answer", json=given).json() == {"outcome": "repeated"}
        assert kinds == {True, False}
        assert client.post("/api/study/next", json={"reader": "R1"}).json()["state"] == "finished"
        assert len(recorder.answers("R1")) == 2 * len(CASES)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("next", b"{", 422),
        ("next", b"[]", 422),
        ("next", b'{"reader": "R7"}', 404),
        ("answer", b'{"view": "x", "answer": "normal", "confidence": 3}', 404),
        ("answer", b'{"view": "x", "answer": "normal", "confidence": true}', 422),
        ("answer", b'{"view": "x", "answer": "normal", "confidence": 3, "pieces": [{"view": "x"}]}', 422),
        ("pieces", b'{"pieces": [{"view": "x", "number": 0, "began": NaN, "active": 1, "hidden": 0}]}', 422),
        ("pieces", b'{"pieces": [{"view": "x", "number": 0, "began": 1, "active": 1, "hidden": 0}]}', 404),
        ("pieces", b" " * 2**22, 413),
        ("answer", b"[" * 100_000, 422),
    ],
)
def test_malformed_requests_are_refused(recorder: Recorder, path: str, body: bytes, status: int) -> None:
    with TestClient(app_of(recorder), base_url="http://127.0.0.1") as client:
        response = client.post(f"/api/study/{path}", content=body)
        assert response.status_code == status
        assert response.json()["advice"]
    assert recorder.answers() == []


@pytest.mark.parametrize(
    "wrong",
    [
        '"active": 1e999',  # which Python reads as infinity
        '"active": 1e9',
        '"active": -60',
        '"began": -1e999',
        '"hidden": 1e999',
        '"number": 1180591620717411303424',
        '"number": -1',
        '"mouse": [[0, 1e999, 1]]',
        '"placements": [[1e999]]',
        '"view": "\\ud800"',
    ],
)
def test_a_piece_of_impossible_values_is_refused_and_the_case_stays_open(
    recorder: Recorder, wrong: str
) -> None:
    with TestClient(app_of(recorder), base_url="http://127.0.0.1") as client:
        view = client.post("/api/study/next", json={"reader": "R1"}).json()["view"]
        right = f'"view": "{view}", "number": 0, "began": 1, "active": 1, "hidden": 0'
        sent = f'{{"pieces": [{{{right}, {wrong}}}]}}'  # of two values of one name the last counts
        assert client.post("/api/study/pieces", content=sent).status_code == 422
        assert client.post("/api/study/next", json={"reader": "R1"}).json()["spent"] == 0


def test_a_page_that_was_hidden_from_the_start_may_count_a_moment_less_than_nothing(
    recorder: Recorder,
) -> None:
    with TestClient(app_of(recorder), base_url="http://127.0.0.1") as client:
        view = client.post("/api/study/next", json={"reader": "R1"}).json()["view"]
        piece = {"view": view, "number": 0, "began": 1, "active": -1e-4, "hidden": 60}
        assert client.post("/api/study/pieces", json={"pieces": [piece]}).status_code == 200


@contextmanager
def served(record: Path, port: int) -> Iterator[BaseProcess]:
    # Forked, since a new process would import torch for seconds; it starts no thread but its own.
    process = multiprocessing.get_context("fork").Process(target=serve, args=(record, port))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def test_a_server_killed_at_any_moment_loses_and_doubles_no_row(tmp_path: Path) -> None:
    """A reader's browser repeats each answer until it is told that it is saved, as the page does."""
    record, port, rng = tmp_path / "record.sqlite", free_port(), random.Random(5)
    told: dict[tuple[int, int], str] = {}
    finished = threading.Event()

    def read() -> None:
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=2)

        def ask(path: str, content: dict[str, object]) -> dict[str, object]:
            while True:
                with suppress(httpx.TransportError):
                    found: dict[str, object] = client.post(f"/api/study/{path}", json=content).json()
                    return found
                time.sleep(0.02)

        while (state := ask("next", {"reader": "R1"}))["state"] == "case":
            said = rng.choice(["normal", "disease"])
            piece = {"view": state["view"], "number": 0, "began": 1.0, "active": 0.1, "hidden": 0.0}
            given = {"view": state["view"], "answer": said, "confidence": 3, "pieces": [piece]}
            assert ask("answer", given)["outcome"] in ("saved", "repeated")
            key = (int(str(state["session"])), int(str(state["place"])))
            assert key not in told
            told[key] = said
        finished.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    kills = 0
    while not finished.is_set() and kills < 40:
        with served(record, port) as process:
            deadline = time.monotonic() + 60
            before = len(told)
            while len(told) == before and not finished.is_set() and time.monotonic() < deadline:
                time.sleep(0.002)
            finished.wait(rng.uniform(0, 0.03))
            process.kill()
            kills += 1
    reader.join(30)
    assert finished.is_set()
    assert kills >= 2
    rows = {(row.session, row.place): row.answer for row in opened(record).answers()}
    assert rows == told
    assert len(told) == 2 * len(CASES)
    assert readings(opened(record))["seconds"].to_list() == [0.1] * len(told)
    assert sqlite3.connect(record).execute("PRAGMA integrity_check").fetchone() == ("ok",)


WRITER = """
import sys
from pathlib import Path
from radgaze.viewing.study.record import Piece, Recorder
from tests.viewing.studies import answer
from radgaze.viewing.study.order import Trial
recorder = Recorder(Path(sys.argv[1]))
for k in range(int(sys.argv[2]), 10**6):
    row = answer("R1", Trial(1, k, "normal-00", "image"), "normal")
    recorder.open_view(row.view, "R1", 1, k)
    recorder.add_answer(row, [Piece(row.view, 0, 0.0, float(k), 0.0)])
    sys.stdout.write(f"{k}\\n")
    sys.stdout.flush()
"""


def test_a_row_that_was_acknowledged_survives_sigkill(tmp_path: Path) -> None:
    record, rng, following = tmp_path / "record.sqlite", random.Random(1), 1
    begun(record, STUDY, CASES).close()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    for _ in range(6):
        command = [sys.executable, "-c", WRITER, str(record), str(following)]
        writer = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE)
        assert writer.stdout is not None
        acknowledged = [int(writer.stdout.readline())]
        time.sleep(rng.uniform(0, 0.1))
        writer.kill()
        acknowledged += [int(line) for line in writer.stdout.read().split(b"\n")[:-1]]
        writer.wait()
        rows = [row.place for row in opened(record).answers()]
        assert len(set(rows)) == len(rows)
        assert set(acknowledged) <= set(rows)
        assert set(rows) <= set(range(1, acknowledged[-1] + 2))  # one more may be on the disk, not yet told
        following = max(rows) + 1


def test_a_damaged_record_is_told(recorder: Recorder, tmp_path: Path) -> None:
    recorder.close()
    content = bytearray(recorder.path.read_bytes())
    for start in range(4096, len(content), 4096):  # each page but the first
        content[start : start + 64] = b"\xff" * 64
    recorder.path.with_name(f"{recorder.path.name}-wal").unlink(missing_ok=True)
    damaged = tmp_path / "damaged.sqlite"
    damaged.write_bytes(content)
    with pytest.raises(UserError, match="record of a study"):
        opened(damaged)
    cell = sqlite3.connect(tmp_path / "cell.sqlite")
    cell.execute("CREATE TABLE study (number, schema, design)")
    cell.execute("INSERT INTO study VALUES (1, 1, '{')")
    cell.commit()
    with pytest.raises(UserError, match="damaged"):
        opened(tmp_path / "cell.sqlite")
