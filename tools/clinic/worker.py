"""`radgaze worker` as a process beside the PACS of the demo."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from dicomweb_client import DICOMwebClient

from radgaze.errors import UserError
from tools.clinic.orthanc import end

PATIENCE = 300.0
"""Seconds that the worker may take for a study."""
RESULTS = frozenset(("SR", "SEG", "OT"))
"""Modalities of the series that it adds; a Secondary Capture has OT."""


@dataclass(frozen=True)
class Worker:
    """A running worker.

    Attributes:
        process: Its process.
        log: File of its messages.
        address: Address of the PACS's DICOMweb service.
    """

    process: subprocess.Popen[bytes]
    log: Path
    address: str

    def wait(self) -> NoReturn:
        """Wait until the worker ends, which it does not do by itself.

        Raises:
            UserError: It ended.
        """
        self.process.wait()
        raise UserError(f"the worker ended: {self.last_words()}")

    def wait_for_results(self, study: str) -> None:
        """Wait until a study has the series of the worker.

        Raises:
            UserError: The worker ended, or takes too long.
        """
        client = DICOMwebClient(self.address)
        until = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < until:
            series = client.search_for_series(study)
            if {each["00080060"]["Value"][0] for each in series} >= RESULTS:
                return
            time.sleep(0.5)
        raise UserError(f"the worker has no results for the first study: {self.last_words()}")

    def last_words(self) -> str:
        """The last line of the log, and where it is."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").split("\n")
        written = [line.strip() for line in lines if line.strip()] or ["it wrote nothing"]
        return f"{written[-1]}; see {self.log}"


@contextmanager
def working(run: Path, address: str, folder: Path) -> Iterator[Worker]:
    """Run the worker beside a PACS within the block; its log and its journal are in a folder.

    Args:
        run: Folder of the run.
        address: Address of the PACS's DICOMweb service.
        folder: Folder for the log and the journal.
    """
    command = (sys.executable, "-m", "radgaze", "worker", str(run), "--dicomweb", address, "--watch")
    options = ("--interval", "2", "--journal", str(folder / "worker.sqlite"), "--device", "cpu")
    path = folder / "worker.log"
    with path.open("wb") as log:
        process = subprocess.Popen(
            (*command, *options),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        try:
            yield Worker(process, path, address)
        finally:
            end(process)
