"""Connections of the page, closed where no request comes: without a token, anybody can open them."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

PATIENCE = 20.0
"""Seconds after which a connection is closed where the head of the first or next request is not complete."""
MOST = 128
"""Number of connections at once; a browser opens six. Each takes a descriptor of the process."""
AT_ONCE = 32
"""Number of connections that are accepted before one beyond `MOST` can be closed."""


class Connection(H11Protocol):
    """A connection of uvicorn that waits `PATIENCE` for a request."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request, or close the connection where there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MOST:
            transport.abort()
        self._wait()

    def on_response_complete(self) -> None:
        """Wait for the next request, of which uvicorn alone would wait for the first byte."""
        self._wait()
        super().on_response_complete()

    def _wait(self) -> None:
        self.loop.call_later(PATIENCE, self._end, self.cycle)

    def _end(self, answered: object) -> None:
        if self.cycle is answered:  # and no request came since
            self.transport.close()
