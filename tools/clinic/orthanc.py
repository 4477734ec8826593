"""Orthanc in a network namespace of its own, reached through a Unix socket."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from radgaze.errors import UserError
from tools.clinic.programs import dicomweb_plugin, program

PORT = 8042
"""Orthanc's port inside its namespace; several may run at a time, each in its own."""
PATIENCE = 30.0
"""Seconds that Orthanc may take to answer."""
GRACE = 10.0
"""Seconds that it may take to end."""
ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def running(folder: Path) -> Iterator[Path]:
    """Run Orthanc, with its database in a folder, and end it after the block.

    Yields:
        The Unix socket at which its HTTP server answers. It lies in a folder that no other user may enter.

    Raises:
        UserError: A program is missing, or Orthanc does not start.
    """
    command = (*_alone(), sys.executable, "-m", "tools.clinic.inside")
    folder.mkdir(parents=True, exist_ok=True)
    config, log = folder / "orthanc.json", folder / "orthanc.log"
    config.write_text(json.dumps(settings(folder), indent=2), encoding="utf-8")
    # The name of a Unix socket has at most about 100 characters; the folder's own may be longer.
    with tempfile.TemporaryDirectory(prefix="radgaze-") as private, log.open("wb") as output:
        address = Path(private) / "orthanc"
        process = subprocess.Popen(
            (*command, str(address), str(config), str(PORT)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            start_new_session=True,  # Ctrl-C reaches this program alone, which then ends Orthanc
        )
        try:
            _await(address, process, log)
            yield address
        finally:
            end(process)


def settings(folder: Path) -> dict[str, object]:
    """The settings of an Orthanc that has only HTTP and DICOMweb, and its files in a folder."""
    return {
        "Name": "radgaze demo",
        "StorageDirectory": str((folder / "files").resolve()),
        "IndexDirectory": str((folder / "index").resolve()),
        "Plugins": [str(dicomweb_plugin())],
        "DicomServerEnabled": False,
        "HttpPort": PORT,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": False},
    }


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process by SIGTERM; kill it where it takes longer than `GRACE`."""
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _alone() -> tuple[str, ...]:
    """The command that gives another one a network namespace: as root, or as root of a new user namespace."""
    program("Orthanc")
    unshare = str(program("unshare"))
    return (unshare, "--net") if os.geteuid() == 0 else (unshare, "--map-root-user", "--net")


def _await(address: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until Orthanc answers.

    Raises:
        UserError: It ended, or does not answer in time.
    """
    until = time.monotonic() + PATIENCE
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(address))) as client:
        while time.monotonic() < until and process.poll() is None:
            try:
                client.get("http://orthanc/dicom-web/studies", params={"limit": 1}).raise_for_status()
            except httpx.HTTPError:
                time.sleep(0.1)
            else:
                return
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() or ["it wrote nothing"]
    raise UserError(f"Orthanc does not start: {lines[-1]}; see {log}")
