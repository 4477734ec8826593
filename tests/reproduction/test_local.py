"""Jobs on one machine: each alone in its process, so that nothing it does takes another down."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from radgaze.reproduction import local, process
from radgaze.reproduction.plan import Job
from radgaze.reproduction.state import log_file
from radgaze.runs.config import Config

HEAD = "import os, pathlib, signal, sys, time\nout, experiment = sys.argv[1:3]\n"


def jobs(*names: str, **trainer: object) -> list[Job]:
    found = [Job(name, 42, "seed 42", Config(experiment=name)) for name in names]
    for job in found:
        for key, value in trainer.items():
            setattr(job.config.trainer, key, value)
    return found


@pytest.fixture
def does(monkeypatch):
    """`does(code)`: jobs run this, with `out` and `experiment`, instead of training."""

    def patch(code: str) -> None:
        monkeypatch.setattr(process, "ENTRY", (sys.executable, "-c", HEAD + code))
        monkeypatch.setattr(local, "visible_gpus", list)

    return patch


def quiet(running: object) -> None:
    """Watch nothing."""


def test_a_job_that_dies_takes_no_other_with_it(does, tmp_path):
    does(
        "if experiment == 'hungry': os.kill(os.getpid(), signal.SIGKILL)\n"
        "if experiment == 'wrong': raise ValueError('no such thing')\n"
        "if experiment == 'silent': sys.exit(3)\n"
    )
    outcomes = local.run(jobs("hungry", "wrong", "silent", "good"), tmp_path, quiet)
    reasons = {outcome.job.experiment: outcome.reason for outcome in outcomes}
    assert reasons == {
        "hungry": "killed by SIGKILL, perhaps for want of memory",
        "wrong": "ValueError: no such thing",
        "silent": "it ended with exit code 3 and said nothing",
        "good": None,
    }


def test_what_a_job_says_is_in_its_log_after_what_it_said_before(does, tmp_path):
    (job,) = jobs("talker")
    for word in ("first", "second"):
        does(f"print('{word}'); sys.exit(1)")
        (outcome,) = local.run([job], tmp_path, quiet)
        assert outcome.reason == word
    said = log_file(tmp_path, job).read_text().splitlines()
    assert [said[1], said[3]] == ["first", "second"]


def test_jobs_run_one_after_another_or_side_by_side(does, tmp_path):
    does(
        "mine = pathlib.Path(out) / experiment\n"
        "other = pathlib.Path(out) / {'a': 'b', 'b': 'a'}[experiment]\n"
        "mine.touch()\n"
        "until = time.monotonic() + float((pathlib.Path(out) / 'wait').read_text())\n"
        "while not other.exists() and time.monotonic() < until: time.sleep(0.01)\n"
        "met = other.exists(); time.sleep(0.3); mine.unlink(); sys.exit(not met)"
    )
    for side_by_side, wait, met in ((2, 60, [True, True]), (1, 0.1, [False, False])):
        (tmp_path / "wait").write_text(str(wait))
        outcomes = local.run(jobs("a", "b"), tmp_path, quiet, side_by_side=side_by_side)
        assert [outcome.reason is None for outcome in outcomes] == met


def test_a_job_sees_its_share_of_the_machine_alone(does, tmp_path, monkeypatch):
    does("print(os.environ['OMP_NUM_THREADS'], os.environ['CUDA_VISIBLE_DEVICES']); sys.exit(1)")
    monkeypatch.setattr(local, "visible_gpus", lambda: ["5", "7"])
    monkeypatch.setattr(local, "cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS")
    outcomes = local.run(jobs("a", "b"), tmp_path, quiet)
    assert sorted(str(outcome.reason) for outcome in outcomes) == ["4 5", "4 7"]


@pytest.mark.parametrize(
    ("trainer", "side_by_side", "gpus"),
    [
        ({}, None, [("0",), ("1",), ("2",), ("3",)]),  # one each: more would make batches larger
        ({}, 2, [("0",), ("1",)]),
        ({}, 6, [("0",), ("1",), ("2",), ("3",), ("0",), ("1",)]),
        ({"devices": 2}, None, [("0", "1"), ("2", "3")]),
        ({"devices": "2"}, 1, [("0", "1")]),
        ({"accelerator": "cpu"}, None, [None]),
        ({"accelerator": "cpu"}, 3, [None, None, None]),
    ],
)
def test_gpus_are_divided_among_jobs(trainer, side_by_side, gpus, monkeypatch):
    monkeypatch.setattr(local, "visible_gpus", lambda: ["0", "1", "2", "3"])
    found = local.shares(jobs("a", "b", **trainer), side_by_side)
    assert [share.gpus for share in found] == gpus


def test_cores_are_divided_among_jobs_and_their_processes(monkeypatch):
    monkeypatch.setattr(local, "cores", lambda: 8)
    for side_by_side, devices, threads in ((1, 1, 8), (3, 1, 2), (2, 2, 2), (20, 1, 1)):
        found = local.shares(jobs("a", devices=devices, accelerator="cpu"), side_by_side)
        assert [share.threads for share in found] == [threads] * side_by_side


def test_a_lower_number_of_threads_that_the_user_asked_for_stays(monkeypatch):
    for asked, threads in (("1", "1"), ("64", "4"), ("", "4"), ("many", "4")):
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
        found = process.Share(4).environment()
        assert {found[name] for name in process.THREADS} == {threads}


def test_closing_stops_what_runs_as_ctrl_c_does(does, tmp_path):
    does(
        "try:\n (pathlib.Path(out) / experiment).touch(); time.sleep(60)\n"
        "except KeyboardInterrupt: (pathlib.Path(out) / f'{experiment} stopped').touch()"
    )
    begun = time.monotonic()
    run_until(tmp_path, "a", "b")
    assert time.monotonic() - begun < 30
    assert {path.name for path in tmp_path.iterdir()} >= {"a stopped", "b stopped"}


def test_a_job_that_does_not_stop_is_killed(does, tmp_path, monkeypatch):
    monkeypatch.setattr(process, "GRACE", 0.5)
    does(
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "(pathlib.Path(out) / experiment).write_text(str(os.getpid())); time.sleep(60)"
    )
    run_until(tmp_path, "a")
    assert is_gone(int((tmp_path / "a").read_text()))


def run_until(out: Path, *names: str) -> None:
    """Run jobs that never end, and close once they have all begun."""

    class Begun(Exception):
        """They have."""

    def watch(running: object) -> None:
        if all((out / name).is_file() and time.sleep(0.2) is None for name in names):  # type: ignore[func-returns-value]
            raise Begun

    with suppress(Begun), closing(local.run(jobs(*names), out, watch, side_by_side=len(names))) as outcomes:
        for _ in outcomes:
            pass


def is_gone(pid: int, within: float = 10.0) -> bool:
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":  # nobody's child
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.05)
    return False


def test_a_job_dies_with_the_grid_that_started_it(tmp_path):
    job = (
        "import os, pathlib, sys, time\nfrom radgaze.reproduction.job import _die_with\n"
        "_die_with(int(sys.argv[1])); pathlib.Path(sys.argv[2]).write_text(str(os.getpid())); time.sleep(60)"
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
