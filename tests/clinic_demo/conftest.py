"""A PACS with phantom studies and a worker beside it, once for all tests that need them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from dicomweb_client import DICOMwebClient
from tools.clinic import ohif, orthanc, site
from tools.clinic.model import TEST, run_and_images
from tools.clinic.programs import missing
from tools.clinic.studies import send
from tools.clinic.worker import working

CACHE = Path(__file__).parents[2] / ".clinic"
"""Folder for OHIF's files, outside of git."""


@dataclass(frozen=True)
class Clinic:
    """A PACS behind the site of the demo, with studies that a worker has seen.

    Attributes:
        address: Address of the site.
        studies: UIDs of the studies.
        images: The files of their radiographs.
    """

    address: str
    studies: list[str]
    images: list[Path]

    @property
    def pacs(self) -> DICOMwebClient:
        return DICOMwebClient(f"{self.address}/dicom-web")


@pytest.fixture(scope="session")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    reason = missing("Orthanc", "unshare", "npm", "chromium")
    if reason is not None:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("clinic")
    run, images = run_and_images(folder, TEST)
    images = images[:1]
    with (
        orthanc.running(folder / "pacs") as pacs,
        site.serving(site.app(ohif.unpacked(CACHE), pacs)) as address,
        working(run, f"{address}/dicom-web", folder) as worker,
    ):
        studies = send(f"{address}/dicom-web", images)
        for study in studies:
            worker.wait_for_results(study)
        yield Clinic(address, studies, images)
