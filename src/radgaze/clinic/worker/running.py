"""Run a worker: once, or watching, until it is done or stopped."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from radgaze.clinic.objects.library import quiet
from radgaze.clinic.worker.folders import FolderServer
from radgaze.clinic.worker.journal import opened
from radgaze.clinic.worker.making import Maker
from radgaze.clinic.worker.options import WorkerOptions
from radgaze.clinic.worker.pacs import Pacs
from radgaze.clinic.worker.patience import Patience
from radgaze.clinic.worker.serving import Server
from radgaze.clinic.worker.steps import Outcome, Steps
from radgaze.clinic.worker.tally import Tally
from radgaze.console import say
from radgaze.errors import Stopped


def run_worker(
    maker: Callable[[], Maker],
    options: WorkerOptions,
    *,
    tell_study: Callable[[str], object],
    tell_file: Callable[[Path, str, Outcome], object],
) -> Tally:
    """Run a worker beside a PACS or a folder.

    Args:
        maker: Function that loads what makes the objects; called when the PACS answers.
        options: The options.
        tell_study: Function that is called with a line for each study in which something was done.
        tell_file: Function that is called with the path of each file, the name of its results' folder
            ("" where there is none), and its outcome.

    Returns:
        Numbers of images.

    Raises:
        UserError: The PACS refuses access or stayed away, or the journal is in use.
        Stopped: Ctrl-C; what is done is kept.
    """
    tally = Tally()
    try:
        if options.out is not None:
            options.out.mkdir(parents=True, exist_ok=True)
        # For the whole command: it reads headers in several threads, and warnings repeat their values.
        with quiet(), opened(options.journal_file) as journal:
            if options.retry:
                journal.forget_refused()
            steps = Steps(journal, options.attempts, tally, options.watch)
            with _once(maker, options, steps, tell_study, tell_file) as once:
                try:
                    while once() or options.watch:
                        if options.watch:
                            time.sleep(options.interval)
                finally:
                    tally.given_up = journal.counts().get("failed", 0)
    except KeyboardInterrupt:
        raise Stopped(f"{tally.in_words()}; the same command goes on") from None
    return tally


@contextmanager
def _once(
    maker: Callable[[], Maker],
    options: WorkerOptions,
    steps: Steps,
    tell_study: Callable[[str], object],
    tell_file: Callable[[Path, str, Outcome], object],
) -> Iterator[Callable[[], bool]]:
    """One look for new images, as a function that returns whether another one may find more."""
    every = f"every {options.interval:g} s; Ctrl-C ends the worker"
    if options.folder is not None and options.out is not None:
        if options.watch:
            say(f"{options.folder} is searched for new images {every}")
        yield FolderServer(options.folder, options.out, maker(), steps, tell_file, options.assume_chest).once
        return
    assert options.dicomweb is not None
    pacs, patience = Pacs(options.dicomweb, options.ca), Patience(options.longest_absence)
    patience(pacs.check)
    if options.watch:
        say(f"{options.dicomweb} is searched for new images {every}")
    with _scratch(options.journal_file) as scratch:
        server = Server(pacs, maker(), steps, patience, scratch, tell_study, options.assume_chest)
        yield lambda: server.once(options.days)


@contextmanager
def _scratch(journal: Path) -> Iterator[Path]:
    """Folder beside the journal for images while they are read, for its owner alone; what a killed worker
    left is removed."""
    scratch = journal.with_name(f"{journal.name}.images")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
