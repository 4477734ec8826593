"""Orthanc with its DICOMweb plug-in, in a network namespace of its own, since it listens on all interfaces.

    unshare --net --map-root-user python -m tests.clinic.orthanc FOLDER COMMAND…

starts it within a namespace, waits until it answers, runs the command there, and ends it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PORT = 8042
URL = f"http://127.0.0.1:{PORT}/dicom-web"
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


def missing() -> str | None:
    """Why tests with Orthanc cannot run here; None if they can."""
    for program in ("Orthanc", "unshare", "ip"):
        if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
            return f"{program} is not installed"
    if not PLUGIN.is_file():
        return "orthanc-dicomweb is not installed"
    if subprocess.run(["unshare", *NAMESPACE, "true"], capture_output=True).returncode:
        return "a network namespace is not permitted here"
    return None


NAMESPACE = ["--net"] if os.geteuid() == 0 else ["--net", "--map-root-user"]


def within(folder: Path, *command: str, timeout: float = 280) -> subprocess.CompletedProcess[str]:
    """Run a command of Python beside a new Orthanc, in a namespace where nothing else is reached."""
    words = ["unshare", *NAMESPACE, sys.executable, "-m", "tests.clinic.orthanc", str(folder), *command]
    return subprocess.run(words, capture_output=True, text=True, timeout=timeout)


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Run Orthanc with its data in a folder, within a namespace; yields the address of its DICOMweb."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    settings = {
        "Name": "radgaze tests",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "index"),
        "Plugins": [str(PLUGIN)],
        "HttpPort": PORT,
        "DicomServerEnabled": False,
        "AuthenticationEnabled": False,
        "RemoteAccessAllowed": False,
        "OverwriteInstances": False,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings), encoding="utf-8")
    program = shutil.which("Orthanc", path=f"{os.environ['PATH']}:/usr/sbin") or "Orthanc"
    with (folder / "orthanc.log").open("w") as log:
        process = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=log)
        try:
            _wait(process)
            yield URL
        finally:
            process.terminate()
            process.wait(30)


def send(data: bytes) -> None:
    """Give Orthanc a file by its own interface."""
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}/instances", data=data, method="POST")
    with urllib.request.urlopen(request, timeout=30):
        pass


def asked(path: str) -> object:
    """An answer of Orthanc's own interface."""
    with urllib.request.urlopen(f"http://127.0.0.1:{PORT}{path}", timeout=60) as answer:
        value: object = json.load(answer)
    return value


def _wait(process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        if process.poll() is not None:
            raise RuntimeError("Orthanc ended; its log is beside its settings")
        try:
            asked("/system")
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("Orthanc does not answer")


def main(arguments: list[str]) -> int:
    with running(Path(arguments[0])):
        return subprocess.run(arguments[1:]).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
