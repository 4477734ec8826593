"""The address of a DICOMweb service, and who asks: credentials come from the environment alone."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from radgaze.console import note
from radgaze.errors import UserError
from radgaze.options import FieldError

if TYPE_CHECKING:
    from requests import PreparedRequest, Session

USER, PASSWORD, TOKEN = "RADGAZE_DICOMWEB_USER", "RADGAZE_DICOMWEB_PASSWORD", "RADGAZE_DICOMWEB_TOKEN"
CA = "RADGAZE_DICOMWEB_CA"


def check_address(value: object) -> None:
    """Check that a value is the address of a service, without credentials, which are never repeated.

    Raises:
        FieldError: It is not, or has any.
    """
    name = "dicomweb"
    try:
        parts = urlsplit(str(value))
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise FieldError(name, "is no address") from None
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise FieldError(name, f"must hold no user or password: set {USER} and {PASSWORD}, or {TOKEN}")
    if parts.query or parts.fragment:
        raise FieldError(name, f"must hold nothing after `?` or `#`; a token stands in {TOKEN}")
    if parts.scheme not in ("http", "https") or not host:
        raise FieldError(name, "must be an address such as https://pacs.example:8042/dicom-web")


def session(address: str, ca: Path | None) -> Session:
    """Make a session with the credentials of the environment and the certificates to trust.

    No file of credentials (`.netrc`) is read, and no redirection is followed: a POST would become a GET.

    Args:
        address: Address of the service.
        ca: File of the certificate authority; None for RADGAZE_DICOMWEB_CA or the public ones.

    Raises:
        UserError: The credentials are incomplete or ambiguous, or there is no such file.
    """
    import requests
    from requests.utils import get_environ_proxies

    made = requests.Session()
    made.trust_env = False
    made.proxies = dict(get_environ_proxies(address))
    made.max_redirects = 0
    made.headers["Accept"] = "application/dicom+json"
    trusted = ca or (Path(os.environ[CA]) if os.environ.get(CA) else None)
    if trusted is not None:
        if not trusted.is_file():
            raise UserError(f"there is no file of certificates {trusted} (`ca`, or {CA})")
        made.verify = str(trusted)
    _authenticate(made, address)
    parts = urlsplit(address)
    if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
        sent = "credentials, images and patient data" if made.auth else "images and patient data"
        note(f"{address} is not encrypted (http): {sent} can be read on the way")
    return made


class _Bearer:
    """Add a bearer token to each request; requests removes it where another host is asked."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def __repr__(self) -> str:
        return "_Bearer(…)"


def _authenticate(made: Session, address: str) -> None:
    user, password, token = (os.environ.get(name) for name in (USER, PASSWORD, TOKEN))
    if token and (user or password):
        raise UserError(f"both {TOKEN} and {USER} or {PASSWORD} are set; which is meant?")
    if bool(user) != bool(password):
        raise UserError(f"{USER} and {PASSWORD} must be set both, or neither")
    if any("\n" in value or "\r" in value for value in (user, password, token) if value):
        raise UserError(f"{USER}, {PASSWORD} and {TOKEN} must have no line break")
    if not (token or user):
        return
    from requests.auth import HTTPBasicAuth

    made.auth = _Bearer(token) if token else HTTPBasicAuth((user or "").encode(), (password or "").encode())


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
