"""Kill the worker at random moments while it works through the studies of an Orthanc.

    python -m tests.clinic.kills RUN FOLDER STUDIES KILLS SEED

runs within a namespace beside Orthanc (see `orthanc.py`) and prints what Orthanc holds in the end, as JSON.
With "-" in place of RUN, the worker's objects are small ones that need no model, and kills take little time.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np

from radgaze.clinic.worker.options import WorkerOptions
from radgaze.clinic.worker.running import run_worker
from tests.clinic.fake_pacs import maker, radiograph
from tests.clinic.orthanc import URL, asked, send

AHEAD = 18
"""Largest number of studies after which the worker is killed, in each of its lives."""


def main(run: str, folder: str, studies: int, kills: int, seed: int) -> None:
    draw, noise = random.Random(seed), np.random.default_rng(seed)
    for k in range(studies):
        image = radiograph(f"study {seed} {k}", Rows=64, Columns=64)
        image.PixelData = noise.integers(0, 256, (64, 64), dtype=np.uint8).tobytes()
        data = BytesIO()
        image.save_as(data, enforce_file_format=True)
        send(data.getvalue())
    command = [sys.executable, "-m", "radgaze", "worker", run, "--dicomweb", URL, "--device", "cpu"]
    if run == "-":
        command = [sys.executable, "-m", "tests.clinic.kills"]
    command += ["--journal", f"{folder}/journal.sqlite"]
    longest = 2.0 if run == "-" else 12.0
    moments = [_killed(command, draw, longest) for _ in range(kills)]
    began = time.monotonic()
    last = subprocess.run(command, capture_output=True, text=True)
    counted = [_modalities(study) for study in asked("/studies")]  # type: ignore[attr-defined]
    report = {
        "kills": moments,
        "code": last.returncode,
        "said": (last.stdout + last.stderr).splitlines()[-1],
        "seconds of the last life": round(time.monotonic() - began, 1),
        "studies": Counter(json.dumps(each, sort_keys=True) for each in counted),
        "left": sorted(path.name for path in Path(folder).glob("journal.*")),
        "processes": _left(),
    }
    print(json.dumps(report))


def without_model(journal: str) -> None:
    """Run the worker with a maker that needs no model."""
    options = WorkerOptions(dicomweb=URL, journal=Path(journal))
    tally = run_worker(maker, options, tell_study=_told, tell_file=_told)
    print(tally.in_words())


def _told(*words: object) -> None:
    print(*words, flush=True)


def _killed(command: list[str], draw: random.Random, longest: float) -> dict[str, Any]:
    """Start the worker, kill it at a random moment, and return what it had done."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    lines = _lines(process.stdout, draw.randrange(AHEAD))
    wait = draw.uniform(0, 0.5) if lines else draw.uniform(0, longest)
    time.sleep(wait)
    running = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    return {"studies": lines + process.stdout.read().count("study "), "wait": round(wait, 2), "ran": running}


def _lines(output: IO[str], most: int) -> int:
    """Read lines until so many tell of a study."""
    found = 0
    while found < most and (line := output.readline()):
        found += line.startswith("study ")
    return found


def _modalities(study: str) -> dict[str, int]:
    series: Any = asked(f"/studies/{study}/series")
    counts = Counter[str]()
    for each in series:
        counts[each["MainDicomTags"]["Modality"]] += len(each["Instances"])
    return dict(counts)


def _left() -> list[str]:
    """Commands of processes in this namespace that outlived their worker."""
    time.sleep(3)
    here, found = Path("/proc/self/ns/net").readlink(), list[str]()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "ns/net").readlink() == here:
                words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
                if ("radgaze" in words and "tests.clinic" not in words) or "forkserver" in words:
                    found.append(words[:80])
        except OSError:
            continue
    return found


if __name__ == "__main__":
    if sys.argv[1] == "--journal":
        without_model(sys.argv[2])
        sys.exit()
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6]))
