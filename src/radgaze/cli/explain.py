"""`radgaze explain RUN IMAGE…`: the maps of a trained run for images."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from radgaze.cli.folders import check_run
from radgaze.cli.options import add_options, chosen
from radgaze.cli.parser import Parser
from radgaze.clinic.objects.options import DicomOptions, ObjectOptions
from radgaze.errors import UserError
from radgaze.explaining.options import ExplainFilesOptions

if TYPE_CHECKING:
    from radgaze.runs.run import Run

HELP = (
    "Compute the maps of images: DICOM, PNG, JPEG or TIFF files, folders of them, or cases of the run's "
    "store. Each image has a folder in the output folder, with its maps as arrays and pictures, a contact "
    "sheet, and JSON. With --dicom, a report, segmentations and a picture of each DICOM file are written "
    "for an archive and its viewer."
)
EXAMPLE = "radgaze explain runs/set3_guided chest.dcm --methods guided_backprop,grad_cam --out maps"


def add_arguments(parser: Parser) -> None:
    parser.add_argument("path", metavar="RUN", help="folder of a trained run")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="a file, a folder, or a case's id")
    add_options(parser, ExplainFilesOptions)
    add_options(parser, DicomOptions)
    parser.add_argument("--out", metavar="DIR", help="folder for the maps; optional with --dicom")


def run(args: Namespace) -> int:
    from pathlib import Path

    from radgaze.cli.results_as_dicom import check_dicom, write_dicom
    from radgaze.outputs import check_folder

    dicom = chosen(DicomOptions, args)
    if args.out is None and dicom.dicom is None:
        raise UserError("give `out=DIR` for maps, `dicom=DIR` for results as DICOM, or both")
    if args.out is not None:
        check_folder(args.out)
    options = _options(args)
    objects = _objects(options, dicom)
    check_run(args.path)
    from radgaze.runs.run import Run

    run = Run.open(Path(args.path))
    if dicom.dicom is not None:
        check_dicom(run, args.images, dicom.dicom, overwrite=options.overwrite)
    failed = 0 if args.out is None else _write_maps(run, args, options)
    if dicom.dicom is not None:
        failed += write_dicom(
            run, args.images, dicom.dicom, objects, verb="explain", overwrite=options.overwrite
        )
    return 1 if failed else 0


def _write_maps(run: Run, args: Namespace, options: ExplainFilesOptions) -> int:
    """Write the maps and say where they are; return the number of images that were not explained."""
    from pathlib import Path

    from radgaze.console import complain, put, silence
    from radgaze.explaining.folders import folders

    with silence():  # a missing file is told before torch is imported
        folders(args.images, run, keep_names=options.keep_names)
    from radgaze.explaining.making import explain
    from radgaze.explaining.writing import prediction_in_words

    outcome = explain(run, args.images, Path(args.out), options)
    for requested, folder in outcome.written.items():
        put(f"{requested.path or requested.case_id}: {folder / 'sheet.png'}: {prediction_in_words(folder)}")
    for requested, reason in outcome.failed.items():
        complain(f"radgaze explain: {requested.path} is left out: {reason}")
    return len(outcome.failed)


def _objects(options: ExplainFilesOptions, dicom: DicomOptions) -> ObjectOptions:
    """Return the options of results as DICOM, which show the maps of one method."""
    if dicom.dicom is None:
        return ObjectOptions()
    if options.methods != ("all",) and len(options.methods) > 1:
        raise UserError("results as DICOM show the maps of one method: name one in `methods`")
    method = None if options.methods == ("all",) else options.methods[0]
    return ObjectOptions(method=method, no_patient=dicom.no_patient, device=options.device)


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
