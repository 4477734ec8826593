"""Search (QIDO-RS), fetch (WADO-RS) and store (STOW-RS) in a PACS, a page and an image at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from pydicom.dataset import Dataset

from radgaze.clinic.worker.address import session
from radgaze.clinic.worker.answers import judged
from radgaze.clinic.worker.faults import AttemptError, AwayError
from radgaze.clinic.worker.multipart import only_part
from radgaze.clinic.worker.paging import UID, Found, dictionaries, first, pages, values
from radgaze.dicom.error import DicomError
from radgaze.dicom.read import HEADER_BYTES, MAX_PIXELS
from radgaze.errors import UserError

Value = TypeVar("Value")
Ask = Callable[[Callable[[], list[Found]]], list[Found]]

TIMEOUT = (10.0, 60.0)
"""Seconds to wait for a connection, and for each part of an answer."""
LARGEST = 4 * MAX_PIXELS + HEADER_BYTES
"""Bytes of the largest file that is fetched; the reader refuses larger ones."""
ANY_SYNTAX = 'multipart/related; type="application/dicom"; transfer-syntax=*'
MODALITIES = frozenset({"CR", "DX"})
DUPLICATE = 0x0111
"""Failure reason of STOW-RS: the instance is there already."""


@dataclass(frozen=True)
class Study:
    """A study that a search gave.

    Attributes:
        uid: Study Instance UID.
        instances: Number of its instances, if the PACS says it.
    """

    uid: str
    instances: int | None


@dataclass(frozen=True)
class Instance:
    """An instance that a search gave.

    Attributes:
        study, series, uid: UIDs of the study, series and instance.
        sop_class: SOP Class UID, "" where the PACS does not say it.
        modality: Modality, "" where the PACS does not say it.
    """

    study: str
    series: str
    uid: str
    sop_class: str
    modality: str


class Pacs:
    """A DICOMweb service.

    Args:
        address: Its address.
        ca: File of the certificate authority, see `address.session`.

    Raises:
        UserError: The extra clinic is not installed, or the credentials are incomplete.
    """

    def __init__(self, address: str, ca: Path | None = None) -> None:
        try:
            from dicomweb_client.web import DICOMwebClient
        except ImportError as error:
            raise UserError('a PACS needs the extra clinic: pip install "radgaze[clinic]"') from error
        for name in ("dicomweb_client", "urllib3"):  # their messages hold UIDs and addresses
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._address = address.rstrip("/")
        self._session = session(self._address, ca)
        # A body that is not chunked, since not every server takes one that is.
        self._client = DICOMwebClient(self._address, self._session, chunk_size=2**31, timeout=TIMEOUT)
        self._client.set_http_retry_params(retry=False)

    def check(self) -> None:
        """Check that the address is that of a service which lets this program search.

        Raises:
            AwayError: The PACS does not answer.
            UserError: It answers otherwise.
        """
        try:
            self._ask(lambda: self._client.search_for_studies(limit=1))
        except AttemptError as error:
            raise UserError(
                f"{self._address} does not search studies: {error}; is it the address of a DICOMweb service, "
                "such as https://pacs.example:8042/dicom-web?"
            ) from error

    def answers(self) -> None:
        """Ask for one study.

        Raises:
            AwayError: The PACS does not answer.
        """
        self._search(lambda: self._client.search_for_studies(limit=1))

    def studies(self, days: int | None, ask: Ask) -> Iterator[Study]:
        """Search studies that may have radiographs, a page at a time.

        Their modalities are compared here: with ModalitiesInStudy as a criterion, Orthanc 1.10 applies the
        limit of a page before its offset, and gives nothing after the first page.

        Args:
            days: Age in days of the oldest study date; None for all.
            ask: Function that calls a search, again and again while the PACS is away.
        """
        filters = dict[str, str]()
        if days is not None:
            today = datetime.now().astimezone()  # study dates are local
            filters["StudyDate"] = f"{today - timedelta(days=days):%Y%m%d}-"

        def page(offset: int, limit: int) -> list[Found]:
            return self._search(
                lambda: self._client.search_for_studies(
                    limit=limit,
                    offset=offset,
                    fields=["ModalitiesInStudy", "NumberOfStudyRelatedInstances"],
                    search_filters=filters,
                )
            )

        for each in pages(lambda offset, limit: ask(lambda: page(offset, limit)), "0020000D"):
            modalities = set(map(str, values(each, "00080061")))
            if not modalities or modalities & MODALITIES:
                yield Study(first(each, "0020000D"), _number(first(each, "00201208")))

    def instances(self, study: str) -> Iterator[Instance]:
        """Search the instances of a study, a page at a time; one without a valid UID is left out.

        Raises:
            AwayError: The PACS does not answer.
            AttemptError: It does not give them, as after the study was deleted.
        """

        def page(offset: int, limit: int) -> list[Found]:
            return dictionaries(
                self._ask(
                    lambda: self._client.search_for_instances(
                        study, limit=limit, offset=offset, fields=["SOPClassUID", "Modality"]
                    )
                )
            )

        for each in pages(page, "00080018"):
            series = first(each, "0020000E")
            if UID.match(series):
                sop_class, modality = first(each, "00080016"), first(each, "00080060").upper()
                yield Instance(study, series, first(each, "00080018"), sop_class, modality)

    def fetch(self, instance: Instance) -> bytes:
        """Return the file of an instance, in the transfer syntax in which it is stored.

        Raises:
            AwayError: The PACS does not answer.
            AttemptError: It does not give the file, or not all of it.
            DicomError: `too_large`.
        """
        path = f"studies/{instance.study}/series/{instance.series}/instances/{instance.uid}"

        def get() -> bytes:
            with self._session.get(
                f"{self._address}/{path}", headers={"Accept": ANY_SYNTAX}, stream=True, timeout=TIMEOUT
            ) as response:
                response.raise_for_status()
                body = bytearray()
                for part in response.iter_content(2**20):
                    body += part
                    if len(body) > LARGEST:
                        raise DicomError("too_large", f"the file has more than {LARGEST // 2**20} MiB")
                return only_part(body, response.headers.get("Content-Type", ""))

        return self._ask(get)

    def store(self, study: str, datasets: Sequence[Dataset]) -> set[str]:
        """Store instances in a study; one that is there already stays as it is.

        Returns:
            SOP Instance UIDs of those that the PACS says to have.

        Raises:
            AwayError: The PACS does not answer.
            AttemptError: It does not store all of them.
        """
        for each in datasets:
            if not getattr(each, "preamble", None):  # without it the bytes are no DICOM file
                each.preamble = bytes(128)
        answer = self._ask(lambda: self._client.store_instances(datasets, study))
        has, failed = list(answer.get("ReferencedSOPSequence") or ()), list[int]()
        for item in answer.get("FailedSOPSequence") or ():
            if _reason(item) == DUPLICATE:
                has.append(item)
            else:
                failed.append(_reason(item))
        if failed:
            codes = ", ".join(sorted({f"{code:04X}" for code in failed}))
            raise AttemptError(
                f"the PACS did not store {len(failed)} of {len(datasets)} objects (reason {codes})"
            )
        return {str(item.get("ReferencedSOPInstanceUID") or "") for item in has}

    def _search(self, call: Callable[[], list[dict[str, Any]]]) -> list[Found]:
        """Return the results of a search of studies; whatever is wrong with them, the PACS counts as away."""
        try:
            return dictionaries(self._ask(call))
        except AttemptError as error:
            raise AwayError(str(error)) from error

    def _ask(self, call: Callable[[], Value]) -> Value:
        try:
            return call()
        except (AwayError, AttemptError, DicomError):
            raise
        except Exception as error:
            raise judged(error, self._address) from None  # its text may hold UIDs


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


def _reason(item: Dataset) -> int:
    value = item.get("FailureReason")
    return value if isinstance(value, int) else 0
