"""`radgaze explain RUN IMAGE…`: the maps of a trained run for images."""

from __future__ import annotations

from argparse import Namespace

from radgaze.cli.folders import check_run
from radgaze.cli.options import add_options, chosen
from radgaze.cli.parser import Parser
from radgaze.errors import UserError
from radgaze.explaining.options import ExplainFilesOptions

HELP = (
    "Compute the maps of images: DICOM, PNG, JPEG or TIFF files, folders of them, or cases of the run's "
    "store. Each image has a folder in the output folder, with its maps as arrays and pictures, a contact "
    "sheet, and JSON."
)
EXAMPLE = "radgaze explain runs/set3_guided chest.dcm --methods guided_backprop,grad_cam --out maps"


def add_arguments(parser: Parser) -> None:
    parser.add_argument("path", metavar="RUN", help="folder of a trained run")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="a file, a folder, or a case's id")
    add_options(parser, ExplainFilesOptions)
    parser.add_argument("--out", required=True, help="folder for the maps")


def run(args: Namespace) -> int:
    from pathlib import Path

    from radgaze.console import complain, put, silence
    from radgaze.outputs import check_folder

    check_folder(args.out)
    options = _options(args)
    check_run(args.path)
    from radgaze.explaining.folders import folders
    from radgaze.runs.run import Run

    run = Run.open(Path(args.path))
    with silence():  # a missing file is told before torch is imported
        folders(args.images, run, keep_names=options.keep_names)
    from radgaze.explaining.making import explain
    from radgaze.explaining.writing import prediction_in_words

    outcome = explain(run, args.images, Path(args.out), options)
    for requested, folder in outcome.written.items():
        put(f"{requested.path or requested.case_id}: {folder / 'sheet.png'}: {prediction_in_words(folder)}")
    for requested, reason in outcome.failed.items():
        complain(f"radgaze explain: {requested.path} is left out: {reason}")
    return 1 if outcome.failed else 0


def _options(args: Namespace) -> ExplainFilesOptions:
    """Return the options; a plugin that the run lacks is told before the method that it would have added."""
    from pathlib import Path

    from radgaze.plugins import PluginMissingError

    try:
        return chosen(ExplainFilesOptions, args)
    except UserError:
        from radgaze.runs.run import Run

        try:
            Run.open(Path(args.path))
        except PluginMissingError:
            raise
        except UserError:
            pass
        raise
