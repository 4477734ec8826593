"""Start Orthanc, OHIF and the worker on made data, and say which address to open: `python -m tools.clinic`.

Orthanc runs inside a network namespace of its own, see `tools.clinic.inside`; this program serves OHIF on
127.0.0.1, and passes on to Orthanc what the page and the worker ask of `/dicom-web`. Ctrl-C ends all of them.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from radgaze.console import complain, messages, put, say
from radgaze.errors import UserError
from tools.clinic import ohif, orthanc, site
from tools.clinic.model import run_and_images
from tools.clinic.programs import dicomweb_plugin, program
from tools.clinic.studies import send
from tools.clinic.worker import working


def main(arguments: list[str]) -> int:
    """Run the demo until Ctrl-C.

    Args:
        arguments: Arguments of the command line.

    Returns:
        The exit code: 0 also after Ctrl-C, and 2 where something is missing.
    """
    options = _parser().parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with messages():
        try:
            demonstrate(options.folder, options.port, options.studies, prepare=options.prepare)
        except UserError as error:
            complain(error)
            return 2
        except KeyboardInterrupt:
            say(f"Stopped. What was made stays in {options.folder}")
    return 0


def demonstrate(folder: Path, port: int, studies: int, *, prepare: bool = False) -> None:
    """Run the demo until Ctrl-C.

    Args:
        folder: Folder for everything that is made or fetched; what it has already is kept.
        port: Port of the page.
        studies: Number of studies to send to the PACS.
        prepare: Only make the data, the run and OHIF's files, which `compose.yaml` needs.

    Raises:
        UserError: A program is missing, or does not start.
    """
    if not prepare:
        for name in ("Orthanc", "unshare"):
            program(name)
        dicomweb_plugin()
    pages = ohif.unpacked(folder)
    run, images = run_and_images(folder / "demo")
    if prepare:
        return
    with (
        orthanc.running(folder / "demo" / "pacs") as pacs,
        site.serving(site.app(pages, pacs), port) as address,
        working(run, f"{address}/dicom-web", folder / "demo") as worker,
    ):
        say("Sending studies, and waiting for the results of the first", bold=True)
        sent = send(f"{address}/dicom-web", images[:studies])
        worker.wait_for_results(sent[0])
        say("Open the list of studies, or a study with its results. Ctrl-C ends the demo.")
        put(f"{address}/")
        put(f"{address}/viewer?StudyInstanceUIDs={sent[0]}")
        worker.wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.clinic", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--folder", type=Path, default=Path(".clinic"), help="folder for all files")
    parser.add_argument("--port", type=int, default=8000, help="port of the page; 0 for one that is free")
    parser.add_argument("--studies", type=int, default=12, help="number of studies")
    parser.add_argument("--prepare", action="store_true", help="only make what compose.yaml needs")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
