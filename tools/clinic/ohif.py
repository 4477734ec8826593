"""OHIF's viewer as static files: the package `@ohif/app` of npm, unpacked into a folder once."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from radgaze.errors import UserError
from tools.clinic.programs import program

VERSION = "3.13.2"
CONFIG = Path(__file__).with_name("app-config.js")


def unpacked(cache: Path) -> Path:
    """Return the folder of OHIF's files in a cache; fetch them with npm where they are missing.

    Raises:
        UserError: npm is missing or fails.
    """
    folder = cache / f"ohif-{VERSION}"
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            archive = _fetch(Path(temporary))
            with tarfile.open(archive) as files:
                files.extractall(temporary, filter="data")
            shutil.move(Path(temporary) / "package" / "dist", folder)
    return folder


def _fetch(folder: Path) -> Path:
    package = f"@ohif/app@{VERSION}"
    done = subprocess.run(
        (str(program("npm")), "pack", "--silent", package), cwd=folder, capture_output=True, text=True
    )
    archives = list(folder.glob("*.tgz"))
    if done.returncode or not archives:
        raise UserError(f"npm cannot fetch {package}: {' '.join(done.stderr.split())[-300:]}")
    return archives[0]
