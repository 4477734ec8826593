"""One site on the loopback: OHIF's files, and a PACS's DICOMweb below `/dicom-web` of the same origin.

Nothing else of the PACS is passed on; Orthanc's own interface, which can delete, stays out of reach.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path, PurePosixPath

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from radgaze.errors import UserError
from tools.clinic.ohif import CONFIG

HOST = "127.0.0.1"
PATIENCE = 300.0
"""Seconds that the PACS may take for an answer."""
OF_CONNECTION = frozenset(
    ("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade")
)
"""Headers that concern one connection, and are not passed on."""
POLICY = "; ".join(
    (
        "default-src 'self' blob: data:",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",  # OHIF's own: WebAssembly, workers, a loader
        "style-src 'self' 'unsafe-inline'",
    )
)
"""Browsers ask no other host on behalf of the page."""


def app(ohif: Path, pacs: Path) -> Starlette:
    """Make the site.

    Args:
        ohif: Folder of OHIF's files.
        pacs: Unix socket of the PACS's HTTP server.
    """
    # A connection for each request: Orthanc closes one that is idle, perhaps just when it is used again.
    limits = httpx.Limits(max_keepalive_connections=0)
    transport = httpx.AsyncHTTPTransport(uds=str(pacs), limits=limits)
    client = httpx.AsyncClient(transport=transport)
    timeouts = {"timeout": httpx.Timeout(PATIENCE).as_dict()}

    async def pass_on(request: Request) -> Response:
        headers = [(key, value) for key, value in request.headers.items() if key not in OF_CONNECTION]
        url = httpx.URL("http://pacs").copy_with(raw_path=_raw_path(request))
        # Not by client.build_request, which adds headers such as Accept-Encoding.
        asked = httpx.Request(
            request.method, url, headers=headers, content=_body(request), extensions=timeouts
        )
        try:
            answer = await client.send(asked, stream=True)
        except httpx.HTTPError:
            return Response("the PACS does not answer", 502)
        response = StreamingResponse(_stream(answer), answer.status_code)
        response.raw_headers = [
            (key.lower(), value)
            for key, value in answer.headers.raw
            if key.lower().decode() not in OF_CONNECTION
        ]
        return response

    async def file(request: Request) -> Response:
        return _file(ohif, request.path_params["path"])

    @asynccontextmanager
    async def closing(_: Starlette) -> AsyncIterator[None]:
        async with client:
            yield

    return Starlette(
        routes=[
            Route("/dicom-web/{path:path}", pass_on, methods=["GET", "POST"]),
            Route("/{path:path}", file),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])],
        lifespan=closing,
    )


@contextmanager
def serving(application: Starlette, port: int = 0) -> Iterator[str]:
    """Serve a site on the loopback alone, in a thread.

    Args:
        application: The site.
        port: Port to listen on; 0 for one that is free.

    Yields:
        Its address, such as "http://127.0.0.1:8080".

    Raises:
        UserError: The port is taken.
    """
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
    except OSError as error:
        raise UserError(f"port {port} of {HOST} is taken; name another `port`") from error
    server = uvicorn.Server(uvicorn.Config(application, log_level="error", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        yield f"http://{HOST}:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()


def _raw_path(request: Request) -> bytes:
    raw: bytes = request.scope["raw_path"]
    query: bytes = request.scope["query_string"]
    return raw.split(b"?")[0] + (b"?" + query if query else b"")


def _body(request: Request) -> AsyncIterator[bytes] | None:
    has_body = {"content-length", "transfer-encoding"} & set(request.headers)
    return request.stream() if has_body else None


async def _stream(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for block in answer.aiter_raw():
            yield block
    finally:
        await answer.aclose()


def _file(ohif: Path, name: str) -> Response:
    """A file of OHIF; the page itself for addresses that its script reads, such as `/viewer`."""
    headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
    if name == "app-config.js":
        return FileResponse(CONFIG, headers=headers)
    path = (ohif / name).resolve()
    if not path.is_relative_to(ohif.resolve()):
        return Response("no such file", 404)
    if path.is_file():
        return FileResponse(path, headers=headers)
    if PurePosixPath(name).suffix:
        return Response("no such file", 404)
    return FileResponse(ohif / "index.html", headers=headers)
