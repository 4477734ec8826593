"""dciodvfy of dicom3tools, which checks an object against its definition in the standard."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from radgaze.clinic.objects import Result
from radgaze.clinic.objects.files import save

DCIODVFY = shutil.which("dciodvfy")
needs_dciodvfy = pytest.mark.skipif(DCIODVFY is None, reason="dciodvfy (dicom3tools) is not installed")


def errors(results: list[Result], folder: Path) -> list[str]:
    """Return the errors and warnings of dciodvfy.

    Warnings about the private coding scheme are left out, and those about values for a table of contents,
    which an image may lack too.
    """
    assert DCIODVFY is not None
    save(results, folder)
    found = []
    for result in results:
        words = [DCIODVFY, str(folder / f"{result.kind}.dcm")]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        lines = (done.stdout + done.stderr).splitlines()
        assert lines, "dciodvfy said nothing"
        found += [
            f"{result.kind}: {line}"
            for line in lines
            if line.startswith(("Error", "Warning"))
            and "<99RADGAZE>" not in line
            and "needed to build DICOMDIR" not in line
        ]
    return found
