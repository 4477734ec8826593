"""The addresses of the reader's page.

GET    /                               the page
GET    /api/about                      runs, their classes, methods and notes; limits; splits of the store
GET    /api/cases?word=&split=&start=  cases of the store
POST   /api/images                     take a file, the body of the request
GET    /api/images/KEY                 what is known about an image
DELETE /api/images/KEY                 forget an image that was sent
GET    /api/images/KEY/pixels          its greys: 16 bits, little-endian, row by row
GET    /api/images/KEY/reading?run=    prediction of a run
GET    /api/images/KEY/map?run=&method=&target=   a map, like the greys; `x-side`, `x-place`
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from radgaze.viewing import described
from radgaze.viewing.refusals import RefusedError, too_large
from radgaze.viewing.service import Service

PAGE = Path(__file__).parent / "static" / "index.html"
PART = 2**18
"""Bytes of greys that are sent at a time, so that a slow client holds few of them."""
LOOK = 0.25
"""Seconds after which a request that waits is looked at again: who asked may have gone."""

Result = TypeVar("Result")


def reader_routes() -> list[BaseRoute]:
    """Return the routes of the reader's page."""
    return [
        Route("/", _page),
        Route("/api/about", _about),
        Route("/api/cases", _cases),
        *image_routes(),
        Route("/api/images", _take, methods=["POST"]),
        Route("/api/images/{key}", _forget, methods=["DELETE"]),
    ]


def image_routes() -> list[BaseRoute]:
    """Return the routes of what is known about one image."""
    return [
        Route("/api/images/{key}", _image),
        Route("/api/images/{key}/pixels", _pixels),
        Route("/api/images/{key}/reading", _reading),
        Route("/api/images/{key}/map", _map),
    ]


def greys(values: NDArray[np.uint16], headers: dict[str, str]) -> Response:
    """Return greys as a response: 16 bits each, little-endian, row by row."""
    content = np.ascontiguousarray(values, dtype="<u2").data.cast("B")
    headers = {**headers, "content-length": str(len(content))}

    async def parts() -> AsyncIterator[memoryview]:
        for start in range(0, len(content), PART):
            yield content[start : start + PART]

    return StreamingResponse(parts(), headers=headers, media_type="application/octet-stream")


async def while_there(request: Request, made: Coroutine[Any, Any, Result]) -> Result:
    """Await a result as long as the one who asked for it is there.

    Raises:
        ClientDisconnect: They have gone.
    """
    task = asyncio.ensure_future(made)
    try:
        while not (await asyncio.wait({task}, timeout=LOOK))[0]:
            if await request.is_disconnected():
                raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()


async def _page(request: Request) -> Response:
    return FileResponse(PAGE)


async def _about(request: Request) -> Response:
    return JSONResponse(await asyncio.to_thread(described.about, _service(request)))


async def _cases(request: Request) -> Response:
    stored, query = _service(request).stored, request.query_params
    if stored is None:
        return JSONResponse({"count": 0, "cases": []})
    start = _number(query.get("start", "0"))
    word, split = query.get("word", "")[:200], query.get("split", "")
    count, table = await asyncio.to_thread(stored.listed, word, split, start)
    return JSONResponse({"count": count, "cases": table.to_dicts()})


async def _take(request: Request) -> Response:
    service = _service(request)
    length = request.headers.get("content-length", "0")
    if not length.isdigit() or int(length) > 4 * service.limits.bytes:
        raise too_large(service.limits.largest)
    shown = await service.receive(request.stream())
    return JSONResponse(described.image(shown), 201)


async def _image(request: Request) -> Response:
    return JSONResponse(described.image(await _service(request).image(request.path_params["key"])))


async def _forget(request: Request) -> Response:
    _service(request).forget(request.path_params["key"])
    return Response(status_code=204)


async def _pixels(request: Request) -> Response:
    shown = await _service(request).image(request.path_params["key"])
    rows, columns = shown.pixels.shape
    return greys(shown.pixels, {"x-rows": str(rows), "x-columns": str(columns)})


async def _reading(request: Request) -> Response:
    service, run = _service(request), _run(request)
    made = await while_there(request, service.reading(request.path_params["key"], run))
    return JSONResponse(described.reading(service.networks[run], made))


async def _map(request: Request) -> Response:
    service, run, query = _service(request), _run(request), request.query_params
    method, target = query.get("method", ""), query.get("target", "")
    smoothed = query.get("smoothed", "1") != "0"
    made = await while_there(
        request, service.map_of(request.path_params["key"], run, method, target, smoothed=smoothed)
    )
    place = " ".join(repr(float(edge)) for edge in made.place)
    return greys(made.values, {"x-side": str(len(made.values)), "x-place": place})


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _run(request: Request) -> int:
    run = _number(request.query_params.get("run", "0"))
    if run >= len(_service(request).networks):
        raise RefusedError(404, "no_run", "There is no such run.", "Reload the page.")
    return run


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
