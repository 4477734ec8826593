"""Options of the worker. Does not import torch, pydicom or a client of DICOMweb."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from radgaze.clinic.objects.options import KINDS, Kind
from radgaze.clinic.worker.address import check_address
from radgaze.devices import check_device
from radgaze.errors import UserError
from radgaze.options import Options, option

PATIENCE = 600.0
"""Seconds that a PACS may stay away while nothing is watched."""


@dataclass(frozen=True)
class WorkerOptions(Options):
    """Options of a worker beside a PACS or a folder.

    Attributes:
        dicomweb: Address of the PACS's DICOMweb service, such as https://pacs.example:8042/dicom-web, without
            credentials: these come from the environment, RADGAZE_DICOMWEB_USER and RADGAZE_DICOMWEB_PASSWORD,
            or RADGAZE_DICOMWEB_TOKEN.
        folder: Folder of DICOM files, in place of a PACS; its subfolders belong to it.
        out: Folder for the results of a folder's files.
        watch: Look for new images again and again, until Ctrl-C.
        interval: Seconds between two looks.
        journal: File that records what became of each image (default: radgaze-worker.sqlite, in the current
            folder or in the folder for the results).
        objects: Results of an image, separated by commas: sr, a structured report; seg, a segmentation of the
            regions above a threshold; seg_fractional, one of the maps themselves; sc, a picture.
        days: Age in days of the oldest study date that is searched for (default: all studies).
        assume_chest: Predict images too of which the header does not state the part of the body.
        retry: Try again, once, the images that were refused or given up.
        attempts: Failed attempts after which an image is given up.
        patience: Seconds that the PACS may be away before the worker ends (default: 600, or for ever with
            `watch`).
        ca: File of the certificate authority to trust, in place of the public ones (default:
            RADGAZE_DICOMWEB_CA).
        device: Device: auto (default), a GPU if there is one; cpu; cuda, or one of several such as cuda:1; or
            mps.
    """

    dicomweb: str | None = option(None, metavar="URL", check=check_address)
    folder: Path | None = option(None, metavar="IN")
    out: Path | None = option(None, metavar="OUT")
    watch: bool = False
    interval: float = option(30.0, at_least=1, at_most=86_400)
    journal: Path | None = option(None, metavar="FILE")
    objects: tuple[Kind, ...] = option(("sr", "seg", "sc"), comma=True)
    days: int | None = option(None, at_least=0, at_most=36_500)
    assume_chest: bool = False
    retry: bool = False
    attempts: int = option(8, at_least=1, at_most=1000)
    patience: float | None = option(None, at_least=0)
    ca: Path | None = option(None, metavar="FILE")
    device: str = option("auto", check=check_device)

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            UserError: It is not clear whether images come from a PACS or a folder, or an option belongs to
                the other of the two.
        """
        super().__post_init__()
        if (self.dicomweb is None) == (self.folder is None):
            raise UserError(
                "name a PACS with `dicomweb`, or a folder with `folder` and `out`; one of the two"
            )
        if not self.objects:
            raise UserError(f"`objects` must name at least one of {', '.join(KINDS)}")
        if self.folder is None and self.out is not None:
            raise UserError("`out` goes with `folder`; results of a PACS's images are stored in the PACS")
        if self.folder is not None:
            if self.out is None:
                raise UserError("`folder` needs `out`, the folder for the results")
            given = {"days": self.days, "patience": self.patience, "ca": self.ca}
            for name, value in given.items():
                if value is not None:
                    raise UserError(f"`{name}` goes with `dicomweb`")

    @property
    def longest_absence(self) -> float | None:
        """Seconds that the PACS may be away; None for any time."""
        if self.patience is not None:
            return self.patience
        return None if self.watch else PATIENCE

    @property
    def journal_file(self) -> Path:
        """File of the journal."""
        name = "radgaze-worker.sqlite"
        return self.journal or (Path(name) if self.out is None else self.out / name)
