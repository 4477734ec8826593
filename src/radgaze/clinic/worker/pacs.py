"""Search (QIDO-RS), fetch (WADO-RS) and store (STOW-RS) in a PACS, a page and an image at a time."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from pydicom.dataset import Dataset

from radgaze.clinic.worker.address import session
from radgaze.clinic.worker.answers import judged
from radgaze.clinic.worker.faults import AttemptError, AwayError
from radgaze.clinic.worker.multipart import only_part
from radgaze.dicom.error import DicomError
from radgaze.dicom.read import HEADER_BYTES, MAX_PIXELS
from radgaze.errors import UserError

Value = TypeVar("Value")
Found = Mapping[str, Any]
Ask = Callable[[Callable[[], list[Found]]], list[Found]]

PAGE = 100
"""Results of a search that are asked for at a time."""
TIMEOUT = (10.0, 60.0)
"""Seconds to wait for a connection, and for each part of an answer."""
LARGEST = 4 * MAX_PIXELS + HEADER_BYTES
"""Bytes of the largest file that is fetched; the reader refuses larger ones."""
UID = re.compile(r"(?=.{1,64}\Z)\d+(\.\d+)*\Z", re.ASCII)
ANY_SYNTAX = 'multipart/related; type="application/dicom"; transfer-syntax=*'
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
        """Search studies with radiographs, a page at a time.

        Args:
            days: Age in days of the oldest study date; None for all.
            ask: Function that calls a search, again and again while the PACS is away.
        """
        for modality in ("DX", "CR"):
            filters = {"ModalitiesInStudy": modality}
            if days is not None:
                filters["StudyDate"] = f"{datetime.now(UTC) - timedelta(days=days):%Y%m%d}-"

            def page(offset: int, filters: dict[str, str] = filters) -> list[Found]:
                return self._search(
                    lambda: self._client.search_for_studies(
                        limit=PAGE,
                        offset=offset,
                        fields=["NumberOfStudyRelatedInstances"],
                        search_filters=filters,
                    )
                )

            for each in _pages(lambda offset, page=page: ask(lambda: page(offset)), "0020000D"):  # type: ignore[misc]
                count = _first(each, "00201208")
                yield Study(_uid(each, "0020000D"), _number(count))

    def instances(self, study: str) -> Iterator[Instance]:
        """Search the instances of a study, a page at a time; one without a valid UID is left out.

        Raises:
            AwayError: The PACS does not answer.
            AttemptError: It does not give them, as after the study was deleted.
        """

        def page(offset: int) -> list[Found]:
            return _dictionaries(
                self._ask(
                    lambda: self._client.search_for_instances(
                        study, limit=PAGE, offset=offset, fields=["SOPClassUID", "Modality"]
                    )
                )
            )

        for each in _pages(page, "00080018"):
            series = str(_first(each, "0020000E") or "")
            if UID.match(series):
                uid = _uid(each, "00080018")
                yield Instance(
                    study,
                    series,
                    uid,
                    str(_first(each, "00080016") or ""),
                    str(_first(each, "00080060") or "").upper(),
                )

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
            return _dictionaries(self._ask(call))
        except AttemptError as error:
            raise AwayError(str(error)) from error

    def _ask(self, call: Callable[[], Value]) -> Value:
        try:
            return call()
        except (AwayError, AttemptError, DicomError):
            raise
        except Exception as error:
            raise judged(error, self._address) from None  # its text may hold UIDs


def _pages(page: Callable[[int], list[Found]], tag: str) -> Iterator[Found]:
    """The results of a search until a page is empty, or equals the one before: some PACS know no offsets."""
    offset, before = 0, set[str]()
    while results := page(offset):
        uids = {_uid(each, tag) for each in results}
        if uids == before:
            return
        yield from (each for each in results if UID.match(_uid(each, tag)))
        offset, before = offset + len(uids), uids  # some servers give a result twice


def _dictionaries(results: object) -> list[Found]:
    return [each for each in results if isinstance(each, dict)] if isinstance(results, list) else []


def _first(item: Found, tag: str) -> object:
    """The first value of an attribute in DICOM JSON; None where there is none."""
    attribute = item.get(tag)
    values = attribute.get("Value") if isinstance(attribute, dict) else None
    return values[0] if isinstance(values, list) and values else None


def _number(value: object) -> int | None:
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() else None


def _uid(item: Found, tag: str) -> str:
    return str(_first(item, tag) or "")


def _reason(item: Dataset) -> int:
    value = item.get("FailureReason")
    return value if isinstance(value, int) else 0
