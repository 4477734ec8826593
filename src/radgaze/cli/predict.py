"""`radgaze predict RUN IMAGE…`: the predictions of a trained run for images."""

from __future__ import annotations

from argparse import Namespace

from radgaze.cli.folders import check_run
from radgaze.cli.options import add_options, chosen
from radgaze.cli.parser import Parser
from radgaze.predicting.options import PredictFilesOptions

HELP = (
    "Predict images: DICOM, PNG, JPEG or TIFF files, folders of them, or cases of the run's store. The table "
    "has a row for each image: a probability per class, the predicted classes, and whether to accept the "
    "prediction or refer the case, if the run has a rule for it (radgaze evaluate --reject)."
)
EXAMPLE = "radgaze predict runs/set3_guided chest.dcm more/ --out predictions.csv"


def add_arguments(parser: Parser) -> None:
    parser.add_argument("path", metavar="RUN", help="folder of a trained run, or of a vote")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="a file, a folder, or a case's id")
    add_options(parser, PredictFilesOptions)
    parser.add_argument(
        "--out", metavar="FILE", required=True, help="file of the table: .csv, .parquet or .json"
    )


def run(args: Namespace) -> int:
    from pathlib import Path

    from radgaze.console import complain, put, silence
    from radgaze.errors import Stopped
    from radgaze.predicting.finding import find
    from radgaze.predicting.table_file import check_file
    from radgaze.runs.run import Run

    options, out = chosen(PredictFilesOptions, args), Path(args.out)
    check_file(out, overwrite=options.overwrite)
    check_run(args.path)
    run = Run.open(Path(args.path))
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
    return 1 if failed else 0
