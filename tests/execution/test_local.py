"""Tasks on one machine: each alone in its process, so that nothing it does takes another down."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

import pytest

from radgaze.execution import local, process, shares
from radgaze.execution.process import Task
from radgaze.execution.shares import Share, divide

HEAD = "import os, pathlib, signal, sys, time\nout, name = sys.argv[1:3]\n"


def tasks(out: Path, code: str, *names: str, **options: int) -> list[Task]:
    """Tasks that run this code, which has `out` and `name`."""
    return [
        Task(name, name, ("-c", HEAD + code, str(out), name), out / "logs" / f"{name}.log", **options)
        for name in names
    ]


def quiet(running: object) -> None:
    """Watch nothing."""


def test_a_task_that_dies_takes_no_other_with_it(tmp_path: Path) -> None:
    code = (
        "if name == 'hungry': os.kill(os.getpid(), signal.SIGKILL)\n"
        "if name == 'wrong': raise ValueError('no such thing')\n"
        "if name == 'silent': sys.exit(3)\n"
    )
    outcomes = local.run(tasks(tmp_path, code, "hungry", "wrong", "silent", "good"), quiet)
    reasons = {outcome.name: outcome.reason for outcome in outcomes}
    assert reasons == {
        "hungry": "it was killed by SIGKILL (out of memory?)",
        "wrong": "ValueError: no such thing",
        "silent": "it ended with exit code 3 and wrote nothing",
        "good": None,
    }


def test_the_output_of_a_task_is_appended_to_its_log(tmp_path: Path) -> None:
    for word in ("first", "second"):
        (task,) = tasks(tmp_path, f"print('{word}'); sys.exit(1)", "talker")
        (outcome,) = local.run([task], quiet)
        assert outcome.reason == word
    written = task.log.read_text().splitlines()
    assert [written[1], written[3]] == ["first", "second"]


def test_tasks_run_one_after_another_or_side_by_side(tmp_path: Path) -> None:
    code = (
        "mine = pathlib.Path(out) / name\n"
        "other = pathlib.Path(out) / {'a': 'b', 'b': 'a'}[name]\n"
        "mine.touch()\n"
        "until = time.monotonic() + float((pathlib.Path(out) / 'wait').read_text())\n"
        "while not other.exists() and time.monotonic() < until: time.sleep(0.01)\n"
        "met = other.exists(); time.sleep(0.3); mine.unlink(); sys.exit(not met)"
    )
    for side_by_side, wait, met in ((2, 60, [True, True]), (1, 0.1, [False, False])):
        (tmp_path / "wait").write_text(str(wait))
        outcomes = local.run(tasks(tmp_path, code, "a", "b"), quiet, side_by_side=side_by_side)
        assert [outcome.reason is None for outcome in outcomes] == met


def test_a_task_sees_its_share_of_the_machine_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "print(os.environ['OMP_NUM_THREADS'], os.environ['CUDA_VISIBLE_DEVICES']); sys.exit(1)"
    monkeypatch.setattr(shares, "visible_gpus", lambda: ["5", "7"])
    monkeypatch.setattr(shares, "cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS")
    outcomes = local.run(tasks(tmp_path, code, "a", "b", gpus=1), quiet)
    assert sorted(str(outcome.reason) for outcome in outcomes) == ["4 5", "4 7"]


@pytest.mark.parametrize(
    ("each", "places", "gpus"),
    [
        (1, None, [("0",), ("1",), ("2",), ("3",)]),
        (1, 2, [("0",), ("1",)]),
        (1, 6, [("0",), ("1",), ("2",), ("3",), ("0",), ("1",)]),
        (2, None, [("0", "1"), ("2", "3")]),
        (2, 1, [("0", "1")]),
        (0, None, [None]),
        (0, 3, [None, None, None]),
    ],
)
def test_gpus_are_divided(
    each: int, places: int | None, gpus: list[tuple[str, ...] | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shares, "visible_gpus", lambda: ["0", "1", "2", "3"])
    assert [share.gpus for share in divide(places, gpus=each)] == gpus


def test_cores_are_divided_among_tasks_and_their_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "cores", lambda: 8)
    for places, processes, threads in ((1, 1, 8), (3, 1, 2), (2, 2, 2), (20, 1, 1)):
        found = divide(places, gpus=0, processes=processes)
        assert [share.threads for share in found] == [threads] * places


def test_a_lower_number_of_threads_set_by_the_user_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, threads in (("1", "1"), ("64", "4"), ("", "4"), ("many", "4")):
        monkeypatch.setenv("OMP_NUM_THREADS", limit)
        environment = Share(4).environment()
        assert {environment[name] for name in shares.THREADS} == {threads}


def test_closing_stops_what_runs_as_ctrl_c_does(tmp_path: Path) -> None:
    code = (
        "try:\n (pathlib.Path(out) / name).touch(); time.sleep(60)\n"
        "except KeyboardInterrupt: (pathlib.Path(out) / f'{name} stopped').touch()"
    )
    begun = time.monotonic()
    run_until_begun(tmp_path, code, "a", "b")
    assert time.monotonic() - begun < 30
    assert {path.name for path in tmp_path.iterdir()} >= {"a stopped", "b stopped"}


def test_a_task_that_does_not_stop_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE", 0.5)
    code = (
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "(pathlib.Path(out) / name).write_text(str(os.getpid())); time.sleep(60)"
    )
    run_until_begun(tmp_path, code, "a")
    assert is_gone(int((tmp_path / "a").read_text()))


def run_until_begun(out: Path, code: str, *names: str) -> None:
    """Run tasks that never end, and close once they have all begun."""

    class Begun(Exception):
        """They have."""

    def watch(running: Sequence[str]) -> None:
        if all((out / name).is_file() for name in names):
            time.sleep(0.2)
            raise Begun

    with (
        suppress(Begun),
        closing(local.run(tasks(out, code, *names), watch, side_by_side=len(names))) as outcomes,
    ):
        for _ in outcomes:
            pass


def is_gone(pid: int, within: float = 10.0) -> bool:
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":  # a zombie
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.05)
    return False


def test_a_process_dies_with_the_one_that_started_it(tmp_path: Path) -> None:
    job = (
        "import os, pathlib, sys, time\nfrom radgaze.execution.process import die_with\n"
        "die_with(int(sys.argv[1])); pathlib.Path(sys.argv[2]).write_text(str(os.getpid())); time.sleep(60)"
    )
    grid = (
        "import os, pathlib, signal, subprocess, sys, time\n"
        "subprocess.Popen([sys.executable, '-c', sys.argv[1], str(os.getpid()), sys.argv[2]])\n"
        "while not pathlib.Path(sys.argv[2]).is_file(): time.sleep(0.05)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    said = tmp_path / "pid"
    killed = subprocess.run([sys.executable, "-c", grid, job, str(said)], check=False)
    assert killed.returncode == -signal.SIGKILL
    time.sleep(0.1)
    assert is_gone(int(said.read_text()))
