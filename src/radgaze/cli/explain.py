"""`radgaze explain RUN IMAGE…`: every map of a trained run for images."""

from __future__ import annotations

from argparse import Namespace

from radgaze.cli.parser import Parser, PositiveInt, Seed, listed

HELP = (
    "Make the maps of images: DICOM, PNG, JPEG or TIFF files, folders of them, or cases of the run's store. "
    "Each has a folder in DIR with its maps as arrays and pictures, a contact sheet, and JSON."
)
EXAMPLE = "radgaze explain runs/set3_guided chest.dcm --methods guided_backprop,grad_cam --out maps"


def add_arguments(parser: Parser) -> None:
    parser.add_argument("path", metavar="RUN", help="folder of a trained run")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="a file, a folder, or a case's id")
    parser.add_argument(
        "--methods", default="all", help="methods, parted by commas, or all that apply to the model (default)"
    )
    parser.add_argument(
        "--target", default="predicted", help="class that is explained: predicted (default), a class, or all"
    )
    parser.add_argument(
        "--reference",
        help="image that shows nothing, for DeepLIFT, occlusion and LIME: black, mean (of its own greys), "
        "blurred, or cases (mean of training cases); default: black for DeepLIFT, mean for the others",
    )
    parser.add_argument("--device", default="auto", help="where the model runs: cpu, cuda or auto (default)")
    parser.add_argument("--batch-size", type=PositiveInt, default=4, help="images at a time (default 4)")
    parser.add_argument("--seed", type=Seed, default=0, help="of whatever is drawn (default 0)")
    parser.add_argument(
        "--keep-names",
        action="store_true",
        help="call folders by the files' names, which may tell who the patient is, not image-001 and so on",
    )
    parser.add_argument("--overwrite", action="store_true", help="make anew what is in DIR")
    parser.add_argument("--out", required=True, help="folder for the maps")


def run(args: Namespace) -> int:
    from pathlib import Path

    from radgaze.console import complain, put
    from radgaze.explaining.explanation import explain
    from radgaze.outputs import check_folder
    from radgaze.runs.run import Run

    check_folder(args.out)
    outcome = explain(
        Run.open(Path(args.path)),
        args.images,
        Path(args.out),
        methods=listed(args.methods),
        target=args.target,
        reference=args.reference,
        device=args.device,
        batch_size=args.batch_size,
        seed=args.seed,
        keep_names=args.keep_names,
        overwrite=args.overwrite,
    )
    for asked, folder in outcome.written.items():
        put(f"{asked.path or asked.case_id}: {folder / 'sheet.png'}")
    for asked, reason in outcome.failed.items():
        complain(f"radgaze explain: {asked.path} is left out: {reason}")
    return 1 if outcome.failed else 0
