"""Serve the page until Ctrl-C."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from radgaze.console import note, put
from radgaze.errors import UserError, in_words
from radgaze.runs.run import Run
from radgaze.store.store import Store
from radgaze.viewing.options import ViewOptions

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from radgaze.viewing.network import Network

EXTRA = "view"


def view(paths: Sequence[Path], options: ViewOptions) -> None:
    """Serve the page for one run or two, until Ctrl-C.

    Args:
        paths: Folders of the runs.
        options: The options.

    Raises:
        UserError: A run, store or device does not exist, the address is not free, or the extra is not
            installed.
    """
    try:
        import starlette
        import uvicorn
    except ImportError as error:
        raise UserError(f"the page needs starlette and uvicorn: {install()}") from error
    del starlette
    from radgaze.viewing.access import Access, is_loopback
    from radgaze.viewing.app import make_app
    from radgaze.viewing.connections import AT_ONCE, Connection
    from radgaze.viewing.network import Network
    from radgaze.viewing.service import Limits, Service

    with listening(options.host, options.port) as listener:
        networks = [Network.of(path, options.device) for path in paths]
        store = store_of([each.run for each in networks], options.data)
        limits = Limits(options.largest, options.memory * 2**20)
        access = Access.on(options.host, token=options.token)
        routes = None if options.study is None else _study_routes(options, networks, store)
        app = make_app(Service(networks, store, limits), access, routes)
        put(f"Open {access.address(options.host, listener.getsockname()[1])} in a browser; Ctrl-C ends this.")
        if not is_loopback(options.host):
            note(
                "The connection is not encrypted: others on the network can see the images. An SSH tunnel to "
                "this machine's own address is safer (`ssh -L`)."
            )
        config = uvicorn.Config(
            app,
            access_log=False,
            log_level="error",
            server_header=False,
            date_header=False,
            ws="none",
            http=Connection,
            backlog=AT_ONCE,
            timeout_graceful_shutdown=2,
        )
        with suppress(KeyboardInterrupt):  # the way to end it, once the server has ended by itself
            uvicorn.Server(config).run(sockets=[listener])


def _study_routes(
    options: ViewOptions, networks: Sequence[Network], store: Store | None
) -> Sequence[BaseRoute]:
    """The routes of a reader study, whose record is opened."""
    from radgaze.viewing.study.design import read
    from radgaze.viewing.study.pages import study_routes
    from radgaze.viewing.study.setting import set_up

    assert options.study is not None
    if len(networks) != 1 or store is None:
        raise UserError("a reader study needs one run, and a store with its cases: `data`")
    record = options.record or options.study.with_suffix(".sqlite")
    return study_routes(set_up(read(options.study), networks[0], store, record))


def install() -> str:
    """Return the words by which the extra is installed."""
    return f'pip install "radgaze[{EXTRA}]"'


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address.

    Raises:
        UserError: There is no such address, or it is in use.
    """
    try:
        family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, number)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(512)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        reason = error.strerror or in_words(error)
        raise UserError(
            f"`host={host}`, `port={port}`: {reason}; set another `port`, or 0 for any"
        ) from error
    return listener


def store_of(runs: Sequence[Run], data: Path | None) -> Store | None:
    """Return the store whose cases are shown: the given one, or that of the first run; None without any.

    Raises:
        UserError: The given store cannot be opened.
    """
    first = runs[0]
    if data is not None and data.resolve() != Path(first.config.data).resolve():
        return Store.open(data)
    try:
        return first.store
    except UserError as error:
        if data is not None:
            raise
        note(f"{error}; no cases can be picked, but files can be opened")
        return None
