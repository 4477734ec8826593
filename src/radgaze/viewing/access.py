"""Who may look: checks of every request before anything else, and headers of every response.

On this machine's own address no token is needed; a page elsewhere in the same browser must then not reach it,
neither through a name that leads to this address (DNS rebinding: the header Host names it) nor by requests of
its own (the header Origin names it).
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from radgaze.console import complain

COOKIE = "radgaze-token"
READS = ("GET", "HEAD")
EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104  recognised, not listened on
"""Addresses to listen on that stand for all of this machine's."""
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "cache-control": "no-store",
}


@dataclass(frozen=True)
class Access:
    """The rule by which requests are let in.

    Attributes:
        token: Secret that a request must hold; None where the server listens on this machine alone.
    """

    token: str | None = None

    @classmethod
    def on(cls, host: str, *, token: bool = False) -> Access:
        """Return the rule for a server.

        Args:
            host: Address that it listens on.
            token: Whether a token is needed on this machine's own address, too.
        """
        return cls(secrets.token_urlsafe(32) if token or not is_loopback(host) else None)

    def address(self, host: str, port: int) -> str:
        """Return the address to open, with the token."""
        host = socket.gethostname() if host in EVERYWHERE else host
        shown = f"[{host}]" if ":" in host else host
        words = "" if self.token is None else f"?token={self.token}"
        return f"http://{shown}:{port}/{words}"

    def holds(self, given: str | None) -> bool:
        """Whether a token is the right one, compared in a time that tells nothing about it."""
        return self.token is None or (
            given is not None and secrets.compare_digest(given.encode(), self.token.encode())
        )


def is_loopback(host: str) -> bool:
    """Whether an address or name is that of this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Guarded:
    """An application behind an `Access`, whose responses all have `HEADERS`."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        started = False

        async def with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        try:
            answer = self._answer(scope)
            await (self._app if answer is None else answer)(scope, receive, with_headers)
        except ClientDisconnect:  # who asked has gone
            return
        except Exception as error:  # the message of which may identify: nothing but its class is logged
            complain(f"radgaze view: an unexpected error ({type(error).__name__})")
            if not started:
                await _unexpected()(scope, receive, with_headers)

    def _answer(self, scope: Scope) -> Response | None:
        """The response to a request that is not let in; None for one that is."""
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if self._access.token is None and not is_loopback(_name(host)):
            return _refused(421, "This address is not the one of the page: open the one that was printed.")
        is_foreign = origin is not None and _place(origin) != host
        is_foreign = is_foreign or headers.get("sec-fetch-site") in ("cross-site", "same-site")
        # A link of another page may lead here: nothing is read or sent by it.
        if is_foreign and not (scope["method"] in READS and headers.get("sec-fetch-mode") == "navigate"):
            return _refused(403, "A request of another page is not answered.")
        if self._access.token is None:
            return None
        query = parse_qs(scope["query_string"].decode("latin-1")).get("token", [None])[0]
        if query is not None and scope["method"] in READS and self._access.holds(query):
            return self._admitted(scope)
        if self._access.holds(_cookie(headers, host)) or self._access.holds(_bearer(headers)):
            return None
        return _refused(401, "Open the whole address that was printed, with the token at its end.")

    def _admitted(self, scope: Scope) -> Response:
        """Redirect to the same page without the token, which the browser keeps in a cookie from now on."""
        response = RedirectResponse(scope["path"] or "/", status_code=303)
        assert self._access.token is not None
        name = cookie_name(Headers(scope=scope).get("host", ""))
        response.set_cookie(name, self._access.token, httponly=True, samesite="lax", path="/")
        return response


def _place(origin: str) -> str:
    """The host and port in an Origin header; empty where it is malformed, as `http://[`."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _name(host: str) -> str:
    """The name in a Host header, without the port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def cookie_name(host: str) -> str:
    """Name of the cookie of a page: browsers keep one cookie of a name for all ports of a host.

    Args:
        host: The header Host.
    """
    try:
        port = urlsplit(f"//{host}").port
    except ValueError:
        port = None
    return COOKIE if port is None else f"{COOKIE}-{port}"


def _cookie(headers: Headers, host: str) -> str | None:
    cookies = SimpleCookie()
    try:
        cookies.load(headers.get("cookie", ""))
    except CookieError:
        return None
    morsel = cookies.get(cookie_name(host))
    return None if morsel is None else morsel.value


def _bearer(headers: Headers) -> str | None:
    kind, _, value = headers.get("authorization", "").partition(" ")
    return value if kind.lower() == "bearer" else None


def _refused(status: int, words: str) -> Response:
    return PlainTextResponse(words, status_code=status)


def _unexpected() -> Response:
    wrong, advice = "The program met an unexpected error.", "Try another image."
    return JSONResponse({"reason": "error", "wrong": wrong, "advice": advice}, status_code=500)
