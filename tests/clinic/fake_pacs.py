"""A PACS for tests, with QIDO-RS, WADO-RS and STOW-RS, and faults on demand."""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, urlsplit

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    BasicTextSRStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    generate_uid,
)

from radgaze.clinic.worker.making import Made, Maker
from radgaze.dicom.error import DicomError

Kind = Literal["status", "reset", "slow", "cut", "after", "partial", "nonsense"]
CLASS_OF = {"sr": BasicTextSRStorage, "seg": SegmentationStorage, "sc": SecondaryCaptureImageStorage}


@dataclass
class Fault:
    """A fault that happens to requests in place of an answer.

    Attributes:
        kind: "status" (an answer with it), "reset" (of the connection), "slow" (a second), "cut" (half of the
            answer, without a length), "after" (the request is carried out and the connection then reset),
            "partial" (the last object is not stored) or "nonsense" (an answer that cannot be read).
        on: Beginning of the method and path of the requests, such as "POST /studies".
        times: Number of requests.
        status: The status.
        headers: Headers of an answer with a status.
    """

    kind: Kind
    on: str = ""
    times: int = 1
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)


class FakePacs:
    """Instances with their bytes; `stows` counts how often each was sent."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.order: list[str] = []
        self.headers: dict[str, Dataset] = {}
        self.stows: Counter[str] = Counter()
        self.requests: list[str] = []
        self.authorizations: list[str] = []
        self.faults: list[Fault] = []
        self.needs: str | None = None
        self.most = 1000
        self.knows_offsets = True
        self.limits_first = False
        self.sorts_by_change = False
        self.repeats = False
        self.confirms = True
        self.lock = threading.Lock()
        self.url = ""

    def add(self, dataset: Dataset) -> None:
        data = BytesIO()
        dataset.save_as(data, enforce_file_format=True)
        self.put(data.getvalue())

    def put(self, data: bytes) -> str:
        header = dcmread(BytesIO(data), stop_before_pixels=True)
        uid = str(header.SOPInstanceUID)
        with self.lock:
            if uid not in self.files:
                self.order.append(uid)
            self.files[uid], self.headers[uid] = data, header
            if self.sorts_by_change:
                self.order.sort(
                    key=lambda each: self.headers[each].StudyInstanceUID == header.StudyInstanceUID
                )
        return uid

    def of_study(self, study: str) -> list[Dataset]:
        return [self.headers[uid] for uid in self.order if self.headers[uid].StudyInstanceUID == study]

    def studies(self) -> list[str]:
        return list(dict.fromkeys(str(self.headers[uid].StudyInstanceUID) for uid in self.order))

    def results(self) -> Counter[tuple[str, str]]:
        """How many instances of each modality each study has."""
        return Counter((str(each.StudyInstanceUID), str(each.Modality)) for each in self.headers.values())

    def fault(self, request: str) -> Fault | None:
        with self.lock:
            for each in self.faults:
                if each.times > 0 and request.startswith(each.on):
                    each.times -= 1
                    return each
        return None


def json_of(dataset: Dataset, study: list[Dataset]) -> dict[str, object]:
    found = Dataset()
    found.ModalitiesInStudy = sorted({each.Modality for each in study})
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "Modality"):
        setattr(found, name, dataset.get(name))
    found.NumberOfStudyRelatedInstances = len(study)
    made: dict[str, object] = found.to_json_dict()
    return made


class _Handler(BaseHTTPRequestHandler):
    pacs: FakePacs
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer in one packet, for which the client's acknowledgement is not waited

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if self._stopped(f"GET {parts.path}"):
            return
        words = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/studies":
            self._json(self._studies(words))
        elif match := re.fullmatch(r"/studies/([\d.]+)/instances", parts.path):
            self._json(self._paged([json_of(each, []) for each in self.pacs.of_study(match[1])], words))
        elif match := re.fullmatch(r"/studies/[\d.]+/series/[\d.]+/instances/([\d.]+)", parts.path):
            self._file(match[1])
        else:
            self._answer(404, b"", "text/plain")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if len(body) < int(self.headers["Content-Length"]) or self._stopped(f"POST {self.path}"):
            return
        boundary = re.search(r'boundary="?([^";]+)', self.headers["Content-Type"])
        assert boundary is not None
        files = [part.partition(b"\r\n\r\n")[2] for part in body.split(f"\r\n--{boundary[1]}".encode())[1:-1]]
        fault = self.pacs.fault("stow")
        failed = files.pop() if fault is not None and fault.kind == "partial" else None
        stored = [self.pacs.put(data) for data in files]
        self.pacs.stows.update(stored)
        if fault is not None and fault.kind == "after":
            self._reset()
            return
        answer = Dataset()
        if self.pacs.confirms:
            answer.ReferencedSOPSequence = [Dataset() for _ in stored]
            for item, uid in zip(answer.ReferencedSOPSequence, stored, strict=True):
                item.ReferencedSOPInstanceUID = uid
        if failed is not None:
            item = Dataset()
            item.ReferencedSOPInstanceUID = dcmread(BytesIO(failed)).SOPInstanceUID
            item.FailureReason = 0xA700
            answer.FailedSOPSequence = [item]
        self._json(answer.to_json_dict(), 200 if failed is None else 202)

    def _stopped(self, request: str) -> bool:
        """Whether the request ends here: by a fault, or because it lacks the credentials."""
        self.pacs.requests.append(request)
        self.pacs.authorizations.append(self.headers.get("Authorization", ""))
        fault = self.pacs.fault(request)
        if fault is None or fault.kind in ("after", "partial"):
            if self.pacs.needs is None or self.headers.get("Authorization") == self.pacs.needs:
                return False
            self._answer(401, b"", "text/plain")
            return True
        match fault.kind:
            case "status":
                self._answer(fault.status, b"no", "text/plain", fault.headers)
            case "reset":
                self._reset()
            case "slow":
                time.sleep(1)
                return False
            case "nonsense":
                self._answer(200, b"<html>", "text/html")
            case "cut":
                self._file(request.rpartition("/")[2], cut=True)
        return True

    def _studies(self, words: dict[str, str]) -> list[dict[str, object]]:
        found = []
        for uid in self.pacs.studies():
            study = self.pacs.of_study(uid)
            if str(study[0].get("StudyDate", "")) >= words.get("StudyDate", "").removesuffix("-"):
                found.append(json_of(study[0], study))
        return self._paged(found, words)

    def _paged(self, found: list[dict[str, object]], words: dict[str, str]) -> list[dict[str, object]]:
        start = int(words.get("offset", 0)) if self.pacs.knows_offsets else 0
        limit = min(self.pacs.most, int(words.get("limit", self.pacs.most)))
        page = found[start:limit] if self.pacs.limits_first else found[start : start + limit]
        return [*page, *page] if self.pacs.repeats else page

    def _file(self, uid: str, *, cut: bool = False) -> None:
        data = self.pacs.files.get(uid)
        if data is None:
            self._answer(404, b"", "text/plain")
            return
        kind = 'multipart/related; type="application/dicom"; boundary=b0undary'
        body = b"--b0undary\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n--b0undary--"
        if not cut:
            self._answer(200, body, kind)
            return
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        self.close_connection = True

    def _json(self, value: object, status: int = 200) -> None:
        self._answer(status, json.dumps(value).encode(), "application/dicom+json")

    def _answer(self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _reset(self) -> None:
        """Close the connection as a process that dies does."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@contextmanager
def served(
    pacs: FakePacs, wrap: Callable[[socket.socket], socket.socket] | None = None
) -> Iterator[FakePacs]:
    """Serve a PACS on a free port of this machine alone."""
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"pacs": pacs}))
    if wrap is not None:
        server.socket = wrap(server.socket)
    pacs.url = f"http{'s' if wrap else ''}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield pacs
    finally:
        server.shutdown()
        server.server_close()


def radiograph(study: str, name: str = "image", **changes: object) -> Dataset:
    """A small DX image of a chest, with a name and numbers of a patient that must not be found in a log."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = DigitalXRayImageStorageForPresentation
    made.SOPInstanceUID = generate_uid(entropy_srcs=[study, name])
    made.StudyInstanceUID = generate_uid(entropy_srcs=[study])
    made.SeriesInstanceUID = generate_uid(entropy_srcs=[study, name, "series"])
    made.Modality, made.BodyPartExamined, made.ViewPosition = "DX", "CHEST", "PA"
    made.PatientName, made.PatientID, made.PatientBirthDate = "Secretname^Jo", "s3cretnumber", "19450508"
    made.AccessionNumber, made.StudyDate = "secretaccession", "20260101"
    made.Rows, made.Columns = 8, 8
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    made.PixelData = np.arange(64, dtype=np.uint8).tobytes()
    for keyword, value in changes.items():
        setattr(made, keyword, value)
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    return made


def result(image: Dataset, kind: str, name: str = "weights-1") -> Dataset:
    """An object of the kind that a maker of a name might make of an image."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID = CLASS_OF[kind], uid_of(str(image.SOPInstanceUID), kind, name)
    made.PatientID, made.StudyInstanceUID = image.PatientID, image.StudyInstanceUID
    made.SeriesInstanceUID = generate_uid(entropy_srcs=[str(image.SOPInstanceUID), kind, "series"])
    made.Modality = {"sr": "SR", "seg": "SEG", "sc": "OT"}[kind]
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    return made


def uid_of(image: str, kind: str, name: str) -> str:
    return str(generate_uid(entropy_srcs=[image, kind, name]))


def maker(calls: list[str] | None = None, *, name: str = "weights-1") -> Maker:
    """A maker of small objects, which needs no run and reads two files ahead.

    Args:
        calls: List to which the UID of each image is added.
        name: Name of the weights and options.
    """
    return made_by(lambda path: objects_of(path, calls, name), name)


def objects_of(path: Path, calls: list[str] | None = None, name: str = "weights-1") -> list[Made]:
    """The objects of a file."""
    image = dcmread(path)
    if calls is not None:
        calls.append(str(image.SOPInstanceUID))
    return [Made(kind, result(image, kind, name)) for kind in CLASS_OF]


def made_by(make: Callable[[Path], Sequence[Made]], name: str = "weights-1") -> Maker:
    """A maker by a function on one file, which may raise a DicomError."""

    def stream(paths: Iterator[Path]) -> Generator[Sequence[Made] | DicomError, None, None]:
        ahead = deque[Path]()
        while True:
            ahead.extend(islice(paths, 3 - len(ahead)))
            if not ahead:
                return
            try:
                yield make(ahead.popleft())
            except DicomError as error:
                yield error

    return Maker(name, stream, lambda image: [uid_of(image, kind, name) for kind in CLASS_OF])
