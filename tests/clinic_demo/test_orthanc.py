"""Orthanc of the demo: alone in its network, reached through a socket, and gone with the demo."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from tools.clinic import orthanc
from tools.clinic.__main__ import main
from tools.clinic.programs import missing, program

from radgaze.errors import UserError

ROOT = Path(__file__).parents[2]

needs_orthanc = [
    pytest.mark.clinic,
    pytest.mark.skipif(missing("Orthanc", "unshare") is not None, reason=str(missing("Orthanc", "unshare"))),
]
HOLD = """
import sys, time
from pathlib import Path
from tools.clinic import orthanc
with orthanc.running(Path(sys.argv[1])) as address:
    print(address, flush=True)
    time.sleep(60)
"""


def _listeners() -> set[str]:
    """Local addresses of this network namespace at which somebody listens, as /proc/net/tcp writes them."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return {line.split()[1] for line in lines if line.split()[3] == "0A"}


def _processes_with(word: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if any(word.encode() in each for each in words):
            found.append(path.parent.name)
    return found


@pytest.mark.parametrize("name", ["Orthanc", "npm", "chromium"])
def test_a_missing_program_is_named_with_its_package(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(UserError, match=rf"{name} is missing: `apt-get install {name.lower()}`"):
        program(name)


def test_the_demo_says_at_once_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    assert main(["--folder", str(tmp_path)]) == 2
    assert "apt-get install orthanc" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.clinic
class TestRunning:
    """With Orthanc."""

    pytestmark = needs_orthanc

    def test_nobody_can_reach_it_but_through_a_socket_of_this_user(self, tmp_path: Path) -> None:
        before = _listeners()
        with orthanc.running(tmp_path) as address:
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(address))) as client:
                assert client.get("http://pacs/system").json()["Name"] == "radgaze demo"
            assert _listeners() == before
            assert stat.S_IMODE(address.parent.stat().st_mode) == 0o700
            with (
                pytest.raises(OSError, match="refused"),
                socket.create_connection(("127.0.0.1", orthanc.PORT), 1),
            ):
                pass
        assert not address.parent.exists()
        assert _processes_with(str(tmp_path)) == []

    def test_it_ends_when_its_program_is_killed(self, tmp_path: Path) -> None:
        holder = subprocess.Popen(
            (sys.executable, "-c", HOLD, str(tmp_path)), stdout=subprocess.PIPE, cwd=ROOT, text=True
        )
        assert holder.stdout is not None
        holder.stdout.readline()
        assert len(_processes_with(str(tmp_path / "orthanc.json"))) == 2  # the relay and Orthanc
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        holder.stdout.close()
        until = time.monotonic() + 15
        while (left := _processes_with(str(tmp_path / "orthanc.json"))) and time.monotonic() < until:
            time.sleep(0.1)
        assert left == []

    def test_an_orthanc_that_cannot_start_says_why(self, tmp_path: Path) -> None:
        (tmp_path / "index").write_text("no folder")
        with (
            pytest.raises(UserError, match=r"Orthanc does not start: .*orthanc\.log"),
            orthanc.running(tmp_path),
        ):
            pass
