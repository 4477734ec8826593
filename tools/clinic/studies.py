"""Send DICOM files to a PACS over DICOMweb: `python tools/clinic/studies.py URL FOLDER`.

It needs only pydicom and dicomweb-client, so that a container without the rest of this folder can run it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pydicom
from dicomweb_client import DICOMwebClient
from requests import ConnectionError as Unreachable

PATIENCE = 60.0
"""Seconds that the PACS may take to start."""


def send(address: str, paths: Iterable[Path]) -> list[str]:
    """Store files in a PACS.

    Args:
        address: Address of its DICOMweb service.
        paths: DICOM files.

    Returns:
        The UIDs of their studies, each once.
    """
    client = DICOMwebClient(address)
    studies: dict[str, None] = {}
    for path in paths:
        image = pydicom.dcmread(path)
        client.store_instances([image])
        studies[image.StudyInstanceUID] = None
    return list(studies)


def main(arguments: list[str]) -> int:
    """Send the files of a folder, as soon as the PACS answers.

    Args:
        arguments: URL and FOLDER, see the module.
    """
    address, folder = arguments
    until = time.monotonic() + PATIENCE
    while True:
        try:
            print(f"{len(send(address, sorted(Path(folder).rglob('*.dcm'))))} studies sent")
        except Unreachable:
            if time.monotonic() > until:
                raise
            time.sleep(1)
        else:
            return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
