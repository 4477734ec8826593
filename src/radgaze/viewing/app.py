"""The application: pages, static files and what they ask for, behind an `Access`.

`make_app` takes routes in place of those of the reader's page, for a page of another kind over the same
`Service`; static files, access and the answers to errors are the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles

from radgaze.viewing.access import Access, Guarded
from radgaze.viewing.refusals import RefusedError
from radgaze.viewing.routes import reader_routes
from radgaze.viewing.service import Service

STATIC = Path(__file__).parent / "static"


def make_app(
    service: Service,
    access: Access = Access(),  # noqa: B008 - frozen
    routes: Sequence[BaseRoute] | None = None,
) -> Starlette:
    """Make the application.

    Args:
        service: Images, predictions and maps; closed when the application ends.
        access: The rule by which requests are let in.
        routes: Routes in place of those of the reader's page. Their requests find the service as
            `request.app.state.service`.
    """

    @asynccontextmanager
    async def running(app: Starlette) -> AsyncIterator[None]:
        warming = asyncio.create_task(service.warm())
        yield
        await asyncio.gather(warming, return_exceptions=True)
        service.close()

    app = Starlette(
        routes=[
            *(reader_routes() if routes is None else routes),
            Mount("/static", StaticFiles(directory=STATIC), name="static"),
        ],
        middleware=[Middleware(Guarded, access=access)],
        exception_handlers={RefusedError: _refused, HTTPException: _no_such},
        lifespan=running,
    )
    app.state.service = service
    return app


def refusal(error: RefusedError) -> Response:
    """Return the response to a request that cannot be met: its reason, what is wrong, and what to do."""
    content = {"reason": error.reason, "wrong": error.wrong, "advice": error.advice}
    return JSONResponse(content, error.status)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return refusal(error)


async def _no_such(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return refusal(
        RefusedError(error.status_code, "no_page", "There is no such page.", "Go to the start page.")
    )
