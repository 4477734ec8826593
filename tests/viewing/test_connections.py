"""Connections that ask for nothing are closed, and do not keep others out."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from radgaze.viewing import connections
from radgaze.viewing.connections import Connection

PATIENCE = 0.3
WHOLE = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HALF = b"GET / HTTP/1.1\r\nHo"


async def slow(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer after more than the patience; at once to a POST, whose content is not waited for."""
    if scope["method"] == "GET":
        await asyncio.sleep(1.5 * PATIENCE)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"done"})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(connections, "PATIENCE", PATIENCE)
    monkeypatch.setattr(connections, "MOST", 3)
    config = uvicorn.Config(slow, http=Connection, ws="none", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


@contextmanager
def asked(port: int, *parts: bytes) -> Iterator[socket.socket]:
    """A connection over which something was sent."""
    with socket.create_connection(("127.0.0.1", port), timeout=10 * PATIENCE) as made:
        for part in parts:
            made.sendall(part)
        yield made


def until_closed(made: socket.socket) -> bytes:
    """Read until the other side closes; raise a `TimeoutError` if it does not."""
    return b"".join(iter(lambda: made.recv(4096), b""))


def test_a_request_that_does_not_come_is_not_waited_for(port: int) -> None:
    with asked(port) as silent, asked(port, HALF) as half:
        assert until_closed(silent) == until_closed(half) == b""
    with asked(port, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx") as without_content:
        assert until_closed(without_content).endswith(b"done")


def test_an_answer_may_take_longer_and_a_second_request_must_come_as_the_first(port: int) -> None:
    with asked(port, WHOLE) as made:
        time.sleep(2 * PATIENCE)
        made.sendall(HALF)
        assert until_closed(made).endswith(b"done")
    with asked(port, WHOLE, WHOLE) as made:  # the second waits for the first
        assert until_closed(made).count(b"done") == 2


def test_connections_beyond_a_number_are_closed_at_once(port: int) -> None:
    with asked(port, HALF), asked(port, HALF), asked(port, HALF):
        begun = time.monotonic()
        with asked(port) as fourth:
            assert until_closed(fourth) == b""
        assert time.monotonic() - begun < PATIENCE
        time.sleep(1.5 * PATIENCE)
        with asked(port, WHOLE) as later:
            assert later.recv(4096).startswith(b"HTTP/1.1 200")
