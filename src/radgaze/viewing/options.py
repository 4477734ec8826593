"""Options of the page for readers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from radgaze.devices import check_device
from radgaze.options import Options, option


@dataclass(frozen=True)
class ViewOptions(Options):
    """Options of the page for readers.

    Attributes:
        data: Store whose cases can be picked (default: the store of the run).
        host: Address to listen on. With any but that of this machine itself, a token is needed, which is
            printed as part of the address.
        port: Port to listen on, 0 for any free one (default 8765).
        token: Ask for a token on this machine's own address, too, so that its other users cannot look.
        device: Device: auto (default), a GPU if there is one; cpu; cuda, or one of several such as cuda:1; or
            mps.
        largest: Largest file that may be sent, in MiB; an image may have as many pixels as fill it with 16
            bits each (default 64).
        memory: Memory for images and maps, in MiB; those used longest ago are forgotten (default 1024).
        study: Design of a reader study, whose cases are shown in place of the page, see `radgaze study init`.
        record: Record of the study, to which its answers are added (default: the design's path with the
            ending .sqlite).
    """

    data: Path | None = option(None, metavar="STORE")
    host: str = "127.0.0.1"
    port: int = option(8765, at_least=0, at_most=65535)
    token: bool = False
    device: str = option("auto", check=check_device)
    largest: int = option(64, at_least=1, at_most=128)
    memory: int = option(1024, at_least=16, at_most=1_000_000)
    study: Path | None = option(None, metavar="DESIGN")
    record: Path | None = option(None, metavar="FILE")
