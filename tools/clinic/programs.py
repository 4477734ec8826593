"""Programs of the system that the demo and its tests need, and what to install where one is missing."""

from __future__ import annotations

import shutil
from pathlib import Path

from radgaze.errors import UserError

PACKAGES = {
    "Orthanc": "orthanc",
    "unshare": "util-linux",
    "npm": "npm",
    "chromium": "chromium",
    "dciodvfy": "dicom3tools",
    "dcmdump": "dcmtk",
}
"""Debian's package of each program."""

PLUGIN = "libOrthancDicomWeb.so"
PLUGIN_FOLDERS = (
    Path("/usr/share/orthanc/plugins"),
    Path("/usr/local/share/orthanc/plugins"),
    Path("/usr/lib/orthanc"),
)


def program(name: str) -> Path:
    """Find a program.

    Raises:
        UserError: It is not installed.
    """
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        raise UserError(f"{name} is missing: `apt-get install {PACKAGES[name]}` on Debian and Ubuntu")
    return Path(path)


def dicomweb_plugin() -> Path:
    """Find Orthanc's plug-in for DICOMweb.

    Raises:
        UserError: It is not installed.
    """
    for folder in PLUGIN_FOLDERS:
        if (folder / PLUGIN).is_file():
            return folder / PLUGIN
    raise UserError(
        "Orthanc's plug-in for DICOMweb is missing: `apt-get install orthanc-dicomweb` on Debian and Ubuntu"
    )


def missing(*names: str) -> str | None:
    """State the first of these programs that is missing, and what to install; None where all are there.

    The plug-in belongs to `Orthanc`.
    """
    try:
        for name in names:
            program(name)
            if name == "Orthanc":
                dicomweb_plugin()
    except UserError as error:
        return str(error)
    return None
