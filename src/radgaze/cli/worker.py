"""`radgaze worker RUN --dicomweb URL`: predict a PACS's new radiographs, and store the results in it."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from radgaze.cli.folders import check_run
from radgaze.cli.options import add_options, chosen
from radgaze.cli.parser import Parser
from radgaze.clinic.worker.options import WorkerOptions

if TYPE_CHECKING:
    from radgaze.clinic.worker.steps import Outcome

HELP = (
    "Predict the frontal chest radiographs in a PACS, or in a folder, and store the results as DICOM objects "
    "in their studies, each exactly once: a stopped or killed worker continues. Credentials come "
    "from the environment: RADGAZE_DICOMWEB_USER and RADGAZE_DICOMWEB_PASSWORD, or RADGAZE_DICOMWEB_TOKEN."
)
EXAMPLE = "radgaze worker runs/set3_guided --dicomweb https://pacs.example/dicom-web --watch --days 2"


def add_arguments(parser: Parser) -> None:
    parser.add_argument("path", metavar="RUN", help="folder of a trained run, or of a vote")
    add_options(parser, WorkerOptions)


def run(args: Namespace) -> int:
    options = chosen(WorkerOptions, args)
    _check_folders(options)
    check_run(args.path)
    from radgaze.cli.signals import interrupted_by_sigterm
    from radgaze.clinic.worker.objects import maker_of
    from radgaze.clinic.worker.running import run_worker
    from radgaze.console import put, say
    from radgaze.runs.run import Run

    run = Run.open(Path(args.path))
    with interrupted_by_sigterm():
        tally = run_worker(lambda: maker_of(run, options), options, tell_study=put, tell_file=_tell_file)
    say(tally.in_words())
    return 1 if tally.failed else 0


def _check_folders(options: WorkerOptions) -> None:
    from radgaze.errors import UserError
    from radgaze.outputs import check_folder

    if options.folder is not None and not options.folder.is_dir():
        raise UserError(f"there is no folder {options.folder}")
    if options.out is not None:
        check_folder(options.out)
    check_folder(options.journal_file.parent, "journal", may_be=("run",))


def _tell_file(path: Path, folder: str, outcome: Outcome) -> None:
    from radgaze.console import complain, put

    if outcome.word in ("stored", "before"):
        put(f"{path}: {folder}: {outcome.word}")
    else:
        complain(f"{path} is {outcome.word}: {outcome.reason}")
