"""Run Orthanc inside a network namespace of its own, and relay a Unix socket to it.

    unshare --net python -m tools.clinic.inside SOCKET CONFIG PORT

Orthanc listens on every interface of its network namespace. In a new namespace only the loopback exists, so
that nothing outside reaches it, not even a browser on the same machine. A Unix socket belongs to the file
system and not to a network: it passes between namespaces, and who may open it is decided by the permissions
of its folder. `tools.clinic.site` connects to it from the other side.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import signal
import socket
import struct
import subprocess
import sys
from contextlib import suppress

from tools.clinic.programs import program

PR_SET_PDEATHSIG = 1
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
CHUNK = 1 << 16


def main(arguments: list[str]) -> int:
    """Run until Orthanc or the parent process ends.

    Args:
        arguments: SOCKET, CONFIG and PORT, see the module.

    Returns:
        Orthanc's exit code.
    """
    address, config, port = arguments
    _end_with_parent()
    _raise_loopback()
    command = (str(program("Orthanc")), config)  # in /usr/sbin, which is not everybody's path
    orthanc = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_end_with_parent)
    signal.signal(signal.SIGTERM, lambda *_: orthanc.terminate())
    signal.signal(signal.SIGINT, lambda *_: orthanc.terminate())
    return asyncio.run(_relay(address, int(port), orthanc))


def _end_with_parent() -> None:
    """Let the kernel end this process when its parent ends, also where that is killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _raise_loopback() -> None:
    """Switch on `lo`, which is off in a new namespace; as `ip link set lo up` does."""
    with socket.socket() as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        name, flags = struct.unpack("16sh14x", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request))
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", name, flags | IFF_UP))


async def _relay(address: str, port: int, orthanc: subprocess.Popen[bytes]) -> int:
    """Pass each connection to the Unix socket on to Orthanc, until Orthanc ends."""

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:  # Orthanc does not listen yet
            writer.close()
            return
        await asyncio.gather(_pass_on(reader, to_writer), _pass_on(to_reader, writer))

    async with await asyncio.start_unix_server(connect, address):
        while orthanc.poll() is None:
            await asyncio.sleep(0.1)
    return orthanc.returncode


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while block := await reader.read(CHUNK):
            writer.write(block)
            await writer.drain()
    with suppress(ConnectionError, OSError):
        writer.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
