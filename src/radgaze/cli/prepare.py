"""`radgaze prepare SOURCE`: a raw data set to a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from radgaze.cli.parser import Parser

if TYPE_CHECKING:
    from radgaze.store.store import Store

HELP = "Turn a raw data set into a store: labels, fixations, images at one size, and what was rejected."
EXAMPLE = "radgaze prepare egd --egd egd-cxr/1.0.0 --mimic mimic-cxr/2.0.0 --out store"


def add_arguments(parser: Parser) -> None:
    sources = parser.add_subcommands(dest="source", metavar="SOURCE", title="sources", required=True)
    egd = Parser(
        description="Prepare Eye Gaze Data for Chest X-rays (egd-cxr 1.0.0) and MIMIC-CXR 2.0.0.",
        epilog=f"Example: {EXAMPLE}",
    )
    _add_egd(egd)
    sources.add_subcommand("egd", egd, help="Eye Gaze Data for Chest X-rays (egd-cxr 1.0.0) over MIMIC-CXR")


def _add_egd(parser: Parser) -> None:
    parser.add_argument("--egd", required=True, metavar="DIR", help="egd-cxr 1.0.0, with master_sheet.csv")
    parser.add_argument(
        "--mimic", required=True, metavar="DIR", help="MIMIC-CXR 2.0.0, with files/p10 and so on"
    )
    parser.add_argument("--out", required=True, metavar="STORE", help="folder of the store")
    parser.add_argument("--size", type=int, default=512, help="side of the stored images, px")
    parser.add_argument(
        "--voi",
        choices=("window", "none"),
        default="window",
        help="the file's first window, or none: pixels over their maximum, as published",
    )
    parser.add_argument(
        "--keep-ids",
        metavar="FILE",
        help="CSV whose column `filename` lists the images to keep; without it all are",
    )
    parser.add_argument(
        "--without-gaze",
        choices=("drop", "keep"),
        default="drop",
        help="what becomes of cases without gaze on the image",
    )
    parser.add_argument(
        "--vertical-correction",
        action="store_true",
        help="undo the bias of positions if the pictures shown had 1024 lines; inferred",
    )
    parser.add_argument(
        "--split",
        choices=("published", "stratified"),
        default="published",
        help="the baselines' split, or one with even class shares; both by patient",
    )
    parser.add_argument("--seed", type=int, default=42, help="of the stratified split")
    parser.add_argument(
        "--workers", type=int, help="processes that read images; without it one per processor"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the store that is there")


def run(args: Namespace) -> int:
    from radgaze.sources import egd
    from radgaze.store.prepare import prepare

    chosen = args[args.source]
    cohort = egd.read(
        chosen.egd,
        chosen.mimic,
        keep_ids=chosen.keep_ids,
        without_gaze=chosen.without_gaze,
        vertical_correction=chosen.vertical_correction,
        split=chosen.split,
        seed=chosen.seed,
    )
    store = prepare(
        cohort,
        chosen.out,
        size=chosen.size,
        voi=chosen.voi,
        workers=chosen.workers,
        overwrite=chosen.overwrite,
    )
    show(store)
    print(store.path)
    return 0


def show(store: Store) -> None:
    """What is in the store and what is not, as two short tables on standard output."""
    from rich.console import Console
    from rich.table import Table

    console, counts = Console(), store.manifest["counts"]
    cases = Table(
        title=f"{counts['cases']} cases, {counts['readings']} readings, {counts['fixations']} fixations"
    )
    for name in ("split", *store.classes, "cases", "patients"):
        cases.add_column(name, justify="left" if name == "split" else "right")
    for split in ("train", "validate", "test"):
        cases.add_row(split, *map(str, _numbers(store, split)))
    console.print(cases)
    rejections = Table(title="Rejected")
    rejections.add_column("reason")
    rejections.add_column("count", justify="right")
    for reason, count in counts["rejections"].items():
        if count:
            rejections.add_row(reason, str(count))
    if rejections.row_count:
        console.print(rejections)


def _numbers(store: Store, split: str) -> list[Any]:
    own = store.cases.filter(store.cases["split"] == split)
    per_class = [own[f"label_{name}"].sum() for name in store.classes]
    return [*per_class, len(own), own["patient"].n_unique()]
