"""`radgaze export RUN`: a run as a network for other software."""

from __future__ import annotations

from argparse import Namespace

from radgaze.cli.folders import check_run
from radgaze.cli.options import add_options, chosen
from radgaze.cli.parser import Parser
from radgaze.exporting.options import ExportOptions

HELP = (
    "Export a run: as ONNX, TorchScript, torch.export or a bundle of MONAI, with mask, heatmap and reject "
    "rule as "
    "outputs, compared with the run's own predictions; or as a folder for the Hugging Face hub, which is not "
    "uploaded. Each has a model card, and says how a DICOM file becomes the input."
)
EXAMPLE = "radgaze export runs/set3_guided --to onnx --out exported"


def add_arguments(parser: Parser) -> None:
    parser.add_argument("path", metavar="RUN", help="folder of a trained run, or of a vote")
    add_options(parser, ExportOptions)


def run(args: Namespace) -> int:
    from pathlib import Path

    from radgaze.console import put
    from radgaze.exporting.folder import check_new

    options = chosen(ExportOptions, args)
    check_new(options.out)
    check_run(args.path)
    from radgaze.exporting.extras import check_extras

    check_extras(options.to)
    from radgaze.runs.run import Run

    run = Run.open(Path(args.path))
    from radgaze.exporting.export import export

    made = export(run, options)
    if made.check is not None:
        worst = max(made.check.largest_difference.items(), key=lambda item: item[1])
        put(
            f"{made.path}: {', '.join(made.outputs)}; largest difference from the run {worst[1]:.1e} "
            f"({worst[0]}), "
            f"on {made.check.images} images, {made.check.source}"
        )
    else:
        put(made.path)
    return 0
