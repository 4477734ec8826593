"""Judge an error of a request: the PACS is away, the attempt failed, or the user has to change something."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import urlsplit

from radgaze.clinic.worker.address import CA, PASSWORD, TOKEN, USER
from radgaze.clinic.worker.faults import AttemptError, AwayError
from radgaze.errors import UserError

AWAY = frozenset({408, 425, 429, 502, 503, 504})
"""Status codes of a server that is overloaded, or whose service behind it does not answer."""


def judged(error: Exception, address: str) -> Exception:
    """Return what an error of a request means; its own text is dropped, since it may hold UIDs.

    Args:
        error: The error.
        address: Address of the service.
    """
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return _of_status(error.response.status_code, error.response.headers.get("Retry-After"), address)
    if isinstance(error, requests.TooManyRedirects):
        return UserError(f"{address} redirects to another address, which is not followed; give that address")
    if isinstance(error, requests.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        host = urlsplit(address).hostname
        return UserError(f"the certificate of {host} is not trusted; name its authority with `ca`, or {CA}")
    if isinstance(error, requests.exceptions.InvalidURL):
        return UserError(f"{address} is no address")
    if isinstance(error, requests.exceptions.JSONDecodeError):
        return AttemptError("the answer of the PACS cannot be read")
    if isinstance(error, requests.Timeout):
        return AwayError("it does not answer in time")
    if isinstance(error, requests.exceptions.ChunkedEncodingError | requests.exceptions.ContentDecodingError):
        return AttemptError("the response of the PACS is cut")
    if isinstance(error, requests.ConnectionError):
        return AwayError("no connection")
    if isinstance(error, requests.RequestException):
        return AwayError(type(error).__name__)
    if isinstance(error, UserError | OSError | MemoryError):
        return error
    # dicomweb-client and pydicom raise many kinds for an answer that they cannot read.
    return AttemptError(f"the answer of the PACS cannot be read ({type(error).__name__})")


def _of_status(status: int, retry_after: str | None, address: str) -> Exception:
    if status == HTTPStatus.UNAUTHORIZED:
        return UserError(
            f"{address} refuses access ({_in_words(status)}); credentials come from the environment: "
            f"{USER} and {PASSWORD}, or {TOKEN}"
        )
    if status in AWAY:
        return AwayError(_in_words(status), _seconds(retry_after))
    return AttemptError(f"the PACS answers with {_in_words(status)}")


def _in_words(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _seconds(retry_after: str | None) -> float | None:
    """The pause of a Retry-After header: seconds, or a date."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
