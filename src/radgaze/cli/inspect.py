"""`radgaze inspect STORE`: a prepared store in tables and pictures."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from radgaze.cli.folders import check_store
from radgaze.cli.options import add_options, chosen
from radgaze.cli.parser import Parser
from radgaze.inspecting.options import InspectOptions

if TYPE_CHECKING:
    from radgaze.inspecting.inspection import Inspection

HELP = "Show the content of a prepared store: tables in the terminal, and figures in DIR/inspect.html."
EXAMPLE = "radgaze inspect store --out inspection"


def add_arguments(parser: Parser) -> None:
    parser.add_argument("path", metavar="STORE", help="folder that `radgaze prepare` wrote")
    parser.add_argument(
        "--out",
        default="inspection",
        help="folder for inspect.html, inspect.json and figures (default inspection)",
    )
    add_options(parser, InspectOptions)


def run(args: Namespace) -> int:
    from pathlib import Path

    from radgaze.console import put
    from radgaze.outputs import check_folder

    options = chosen(InspectOptions, args)
    check_folder(args.out)
    check_store(args.path)
    from radgaze.reporting.inspection import inspection_page
    from radgaze.store.store import Store

    inspection, page = inspection_page(Store.open(args.path), Path(args.out), options)
    show(inspection)
    put(page)
    return 0


def show(inspection: Inspection) -> None:
    """Print an inspection as tables."""
    _show_cases(inspection)
    _show_readings(inspection)
    _show_marks(inspection)


def _table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table, where there are rows."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from radgaze.console import results

    if not rows:
        return
    shown = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(columns):
        shown.add_column(name, justify="right" if place else "left", overflow="fold")
    for row in rows:
        shown.add_row(*row)
    results().print(shown)


def _show_cases(inspection: Inspection) -> None:
    from radgaze.console import results

    kinds = ["split", *inspection.classes, "cases", "patients", "with_gaze", "with_boxes"]
    if inspection.masks.height:
        kinds.append("with_masks")
    _table(
        "Cases, and how many of them with gaze, boxes and masks",
        [kind.removeprefix("with_") for kind in kinds],
        [[str(row[kind]) for kind in kinds] for row in inspection.counts.iter_rows(named=True)],
    )
    several = {
        row["split"]: f"{row['with_several'] / row['patients']:.0%}"
        for row in inspection.counts.iter_rows(named=True)
        if row["patients"]
    }
    shares = ", ".join(f"{share} of {split}" for split, share in several.items())
    results().print(f"Patients with several cases: {shares}")
    _table(
        "Rejected",
        ["reason", "count", "for example"],
        [[reason, str(count), ", ".join(ids)] for reason, count, ids in inspection.rejections.iter_rows()],
    )


def _show_readings(inspection: Inspection) -> None:
    from radgaze.console import results
    from radgaze.reporting.statistics_words import cautions
    from radgaze.reporting.wording import AGREEMENT, estimate, number

    quantiles = inspection.quantiles()
    _table(
        "Readings",
        ["", *next(iter(quantiles.values()), {})],
        [[name, *(number(value, 2) for value in values.values())] for name, values in quantiles.items()],
    )
    _table(
        "Readers",
        inspection.readers.columns,
        [[reader or "not named", *map(str, counts)] for reader, *counts in inspection.readers.iter_rows()],
    )
    between = [
        [AGREEMENT[metric][0], estimate(entry, 2)] for metric, entry in inspection.between_readers().items()
    ]
    _table(
        f"Agreement between readers, {inspection.several_readers} cases",
        ["metric", "value [95% interval]"],
        between,
    )
    for note in cautions("".join(words for _, words in between)):
        results().print(note, markup=False, highlight=False)


def _show_marks(inspection: Inspection) -> None:
    """Boxes, masks and the sizes of images."""
    from radgaze.reporting.wording import number

    for kind, marks in (("boxes", inspection.boxes), ("masks", inspection.masks)):
        _table(
            kind.capitalize(),
            ["label", kind, "cases", "median share of the image"],
            [
                [label, str(count), str(cases), number(area, 3)]
                for label, count, cases, area in marks.iter_rows()
            ],
        )
    common = inspection.sizes.head(5)
    _table(
        f"Image sizes, {inspection.sizes.height} different",
        ["columns × rows", "cases"],
        [[f"{columns} × {rows}", str(cases)] for columns, rows, cases in common.iter_rows()],
    )
