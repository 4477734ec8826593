"""`radgaze view RUN [RUN2]`: a local page on which a radiologist looks at images, predictions and maps."""

from __future__ import annotations

from argparse import Namespace

from radgaze.cli.folders import check_run, check_store
from radgaze.cli.options import add_options, chosen
from radgaze.cli.parser import Parser
from radgaze.viewing.options import ViewOptions

HELP = (
    "Serve a page for readers: drop a DICOM, PNG, JPEG or TIFF file on it or pick a case of the store, and "
    "see the radiograph, the run's probabilities, whether to accept or refer, and its maps; two runs side "
    "by side. It listens on this machine alone; nothing is written to disk. For research use only."
)
EXAMPLE = "radgaze view runs/set3_guided --data store"


def add_arguments(parser: Parser) -> None:
    parser.add_argument("path", metavar="RUN", help="folder of a trained run, or of a vote")
    parser.add_argument("other", metavar="RUN2", nargs="?", help="folder of a run to compare it with")
    add_options(parser, ViewOptions)


def run(args: Namespace) -> int:
    from pathlib import Path

    options = chosen(ViewOptions, args)
    paths = [Path(path) for path in (args.path, args.other) if path is not None]
    if options.study is not None:
        from radgaze.viewing.study.design import read

        read(options.study)
    for path in paths:
        check_run(path)
    if options.data is not None:
        check_store(options.data)
    from radgaze.viewing.serving import view

    view(paths, options)
    return 0
