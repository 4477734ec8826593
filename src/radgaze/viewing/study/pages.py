"""The addresses of a reader study's page.

GET  /                          the page
GET  /api/study                 question, answers, scale of confidence, time limit
POST /api/study/next            the next case of a reader, {"reader": CODE}
GET  /api/study/VIEW/pixels     the image of a view of the page, as in `viewing.routes`
GET  /api/study/VIEW/map        its heatmap, where the condition has one
POST /api/study/pieces          what happened in a view: {"pieces": [...]}
POST /api/study/answer          the answer; the response is sent when it is on the disk

No address and no response holds the id of a case, and none the truth. What the model says is sent only in a
condition that shows it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from radgaze.viewing.refusals import RefusedError
from radgaze.viewing.routes import greys
from radgaze.viewing.service import Service
from radgaze.viewing.study.conduct import Showing, Waiting
from radgaze.viewing.study.record import Piece
from radgaze.viewing.study.setting import Setting

STATIC = Path(__file__).parent / "static"
LARGEST = 2**21
"""Largest body of a request, in bytes: the mouse's path of several minutes."""

# Unlike the json module, it refuses text that cannot be encoded, as "\ud800".
_CONTENT = TypeAdapter(dict[str, object])
_PIECES = TypeAdapter(tuple[Piece, ...], config=ConfigDict(allow_inf_nan=False))


def study_routes(setting: Setting) -> list[BaseRoute]:
    """Return the routes of the page of a study."""
    pages = _Pages(setting)
    return [
        Route("/", pages.page),
        Route("/api/study", pages.about),
        Route("/api/study/next", pages.next, methods=["POST"]),
        Route("/api/study/pieces", pages.pieces, methods=["POST"]),
        Route("/api/study/answer", pages.answer, methods=["POST"]),
        Route("/api/study/{view}/pixels", pages.pixels),
        Route("/api/study/{view}/map", pages.map),
        Mount("/study", StaticFiles(directory=STATIC)),
    ]


class _Pages:
    """The responses of a study."""

    def __init__(self, setting: Setting) -> None:
        self._setting, self._conduct = setting, setting.conduct

    async def page(self, request: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    async def about(self, request: Request) -> Response:
        design = self._conduct.design
        low, high = design.scale
        return JSONResponse(
            {
                "question": design.question,
                "answers": self._conduct.answers,
                "confidence": [low, high],
                "time_limit": design.time_limit,
            }
        )

    async def next(self, request: Request) -> Response:
        content = await _content(request)
        reader = self._conduct.reader(str(content.get("reader", "")))
        following = await asyncio.to_thread(self._conduct.next, reader)
        if following is None:
            return JSONResponse({"state": "finished", "reader": reader})
        if isinstance(following, Waiting):
            waiting = {"session": following.session, "until": following.until}
            return JSONResponse({"state": "waiting", "reader": reader, **waiting})
        shown = await _service(request).image(self._setting.keys[following.case.case_id])
        image = {"rows": shown.pixels.shape[0], "columns": shown.pixels.shape[1], "scale": shown.scale}
        image["window"] = list(shown.window)
        return JSONResponse(
            {
                "state": "case",
                "reader": reader,
                "image": image,
                **_described(following, self._conduct.design.sessions),
            }
        )

    async def pixels(self, request: Request) -> Response:
        key, _ = await self._image_of(request)
        shown = await _service(request).image(key)
        rows, columns = shown.pixels.shape
        return greys(shown.pixels, {"x-rows": str(rows), "x-columns": str(columns)})

    async def map(self, request: Request) -> Response:
        key, (method, target) = await self._image_of(request)
        if method is None:
            raise RefusedError(403, "no_map", "This case is read without a map.", "Reload the page.")
        made = await _service(request).map_of(key, 0, method, target)
        edges = " ".join(repr(float(edge)) for edge in made.place)
        return greys(made.values, {"x-side": str(len(made.values)), "x-place": edges})

    async def pieces(self, request: Request) -> Response:
        content = await _content(request)
        await asyncio.to_thread(self._conduct.add_pieces, _pieces(content))
        return JSONResponse({"saved": True})

    async def answer(self, request: Request) -> Response:
        content = await _content(request)
        view, answer, confidence = (content.get(name) for name in ("view", "answer", "confidence"))
        if not (isinstance(view, str) and isinstance(answer, str) and type(confidence) is int):
            raise _malformed()
        pieces, late = _pieces(content), content.get("over_time") is True
        outcome = await asyncio.to_thread(
            lambda: self._conduct.answer(view, answer, confidence, over_time=late, pieces=pieces)
        )
        return JSONResponse({"outcome": outcome})

    async def _image_of(self, request: Request) -> tuple[str, tuple[str | None, str]]:
        """The key of a view's image, and method and target of its map."""
        view = request.path_params["view"]
        _, trial = await asyncio.to_thread(self._conduct.shown_in, view)
        condition = self._conduct.design.condition(trial.condition)
        target = self._setting.targets[trial.case_id, condition.name]
        return self._setting.keys[trial.case_id], (condition.method, target)


def _described(showing: Showing, sessions: int) -> dict[str, object]:
    """Describe a case to the page."""
    said = None
    if showing.condition.prediction:
        said = {"answer": showing.case.model, "probabilities": list(showing.case.probabilities.items())}
    return {
        "view": showing.view,
        "session": showing.trial.session,
        "sessions": sessions,
        "place": showing.trial.place,
        "cases": showing.cases,
        "practice": showing.trial.practice,
        "spent": showing.spent,
        "prediction": said,
        "map": showing.condition.method is not None,
    }


async def _content(request: Request) -> dict[str, object]:
    """The body of a request, which must be an object of JSON."""
    parts, size = list[bytes](), 0
    async for part in request.stream():
        size += len(part)
        if size > LARGEST:
            raise RefusedError(413, "too_large", "The request is too large.", "Reload the page.")
        parts.append(part)
    try:
        return _CONTENT.validate_json(b"".join(parts))
    except ValidationError:
        raise _malformed() from None


def _pieces(content: dict[str, object]) -> tuple[Piece, ...]:
    try:
        return _PIECES.validate_python(content.get("pieces", []))
    except ValidationError:
        raise _malformed() from None


def _malformed() -> RefusedError:
    return RefusedError(422, "malformed", "The request is not as it should be.", "Reload the page.")


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service
