"""`radgaze predict RUN IMAGE…`: the predictions of a trained run for images."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from radgaze.cli.folders import check_run
from radgaze.cli.options import add_options, chosen
from radgaze.cli.parser import Parser
from radgaze.clinic.objects.options import DicomOptions, ObjectOptions
from radgaze.errors import UserError
from radgaze.predicting.options import PredictFilesOptions

if TYPE_CHECKING:
    from radgaze.runs.run import Run

HELP = (
    "Predict images: DICOM, PNG, JPEG or TIFF files, folders of them, or cases of the run's store. The table "
    "has a row for each image: a probability per class, the predicted classes, and whether to accept the "
    "prediction or refer the case, if the run has a rule for it (radgaze evaluate --reject). With --dicom, a "
    "report, segmentations and a picture of each DICOM file are written for an archive and its viewer."
)
EXAMPLE = "radgaze predict runs/set3_guided chest.dcm more/ --out predictions.csv"


def add_arguments(parser: Parser) -> None:
    parser.add_argument("path", metavar="RUN", help="folder of a trained run, or of a vote")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="a file, a folder, or a case's id")
    add_options(parser, PredictFilesOptions)
    add_options(parser, DicomOptions)
    parser.add_argument(
        "--out", metavar="FILE", help="file of the table: .csv, .parquet or .json; optional with --dicom"
    )


def run(args: Namespace) -> int:
    from pathlib import Path

    from radgaze.cli.results_as_dicom import check_dicom, write_dicom
    from radgaze.predicting.table_file import check_file
    from radgaze.runs.run import Run

    options, dicom = chosen(PredictFilesOptions, args), chosen(DicomOptions, args)
    if args.out is None and dicom.dicom is None:
        raise UserError("give `out=FILE` for a table, `dicom=DIR` for results as DICOM, or both")
    if args.out is not None:
        check_file(Path(args.out), overwrite=options.overwrite)
    check_run(args.path)
    run = Run.open(Path(args.path))
    if dicom.dicom is not None:
        check_dicom(run, args.images, dicom.dicom, overwrite=options.overwrite)
    failed = 0 if args.out is None else _write_table(run, args, options)
    if dicom.dicom is not None:
        objects = ObjectOptions(no_patient=dicom.no_patient, device=options.device)
        failed += write_dicom(
            run, args.images, dicom.dicom, objects, verb="predict", overwrite=options.overwrite
        )
    return 1 if failed else 0


def _write_table(run: Run, args: Namespace, options: PredictFilesOptions) -> int:
    """Write the table and say what is in it; return the number of images that were not predicted."""
    from pathlib import Path

    from radgaze.console import complain, put, silence
    from radgaze.errors import Stopped
    from radgaze.predicting.finding import find

    out = Path(args.out)
    with silence():  # a missing file is told before torch is imported
        find(args.images, run)
    from radgaze.predicting.writing import predict_files

    result = predict_files(run, args.images, out, options)
    prediction, failed = result.prediction, 0
    for i in range(0 if prediction is None else len(prediction)):
        assert prediction is not None
        requested, error = result.requested[i], prediction.errors[i]
        named = str(requested.path or requested.case_id)
        if error is not None:
            failed += 1
            complain(f"radgaze predict: {named} is not predicted: {error}")
            continue
        name = "" if prediction.names[i] == named else f"{prediction.names[i]}: "
        put(f"{named}: {name}{prediction.in_words(i)}")
    if result.stopped:
        done, total = 0 if prediction is None else len(prediction), len(result.requested)
        raise Stopped(f"{done} of {total} images are in {out}" if done else "no image was predicted")
    put(out)
    return failed
