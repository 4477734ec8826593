"""The one part of a multipart response of WADO-RS (RFC 2046, DICOM PS3.18 §8.6), complete or an error.

dicomweb-client takes a response that was cut as complete, and the image would be refused as damaged for good.
"""

from __future__ import annotations

from email.message import Message

from radgaze.clinic.worker.faults import AttemptError


def only_part(body: bytes | bytearray, content_type: str) -> bytes:
    """Return the one DICOM file in a response.

    Args:
        body: Body of the response.
        content_type: Its Content-Type; `application/dicom` is the file itself, as some servers send it.

    Raises:
        AttemptError: The response is cut, of another kind, or has not exactly one part.
    """
    header = Message()
    header["Content-Type"] = content_type
    kind = header.get_content_type()
    if kind == "application/dicom":
        return bytes(body)
    boundary = header.get_boundary()
    if kind != "multipart/related" or not boundary:
        raise AttemptError("the PACS sent something else than a DICOM file")
    # The text before the first boundary is no part; a line break belongs to the boundary that follows it.
    _before, *parts = (b"\r\n" + bytes(body)).split(b"\r\n--" + boundary.encode("latin-1"))
    if not parts or not parts[-1].startswith(b"--"):
        raise AttemptError("the response of the PACS is cut")
    if len(parts) != 2:
        raise AttemptError(f"the PACS sent {len(parts) - 1} files in place of one")
    _, gap, content = parts[0].partition(b"\r\n\r\n")
    if not gap:
        raise AttemptError("the response of the PACS is damaged")
    return content
