"""`radgaze inspect STORE`: what is in a prepared store, in words and pictures."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from radgaze.cli.parser import NonNegativeInt, Parser, Seed

if TYPE_CHECKING:
    from radgaze.inspecting.inspection import Inspection

HELP = "Show what is in a prepared store: as tables here, and with pictures in DIR/inspect.html."
EXAMPLE = "radgaze inspect store --out inspection"


def add_arguments(parser: Parser) -> None:
    parser.add_argument("path", metavar="STORE", help="folder that `radgaze prepare` wrote")
    parser.add_argument(
        "--out",
        default="inspection",
        help="folder for inspect.html, inspect.json and readings.png (default inspection)",
    )
    parser.add_argument("--each", type=NonNegativeInt, default=4, help="cases drawn per class (default 4)")
    parser.add_argument("--seed", type=Seed, default=0, help="of the draw of cases (default 0)")


def run(args: Namespace) -> int:
    from pathlib import Path

    from radgaze.console import put
    from radgaze.outputs import check_folder
    from radgaze.reporting.inspection import inspection_page
    from radgaze.store.store import Store

    check_folder(args.out)
    found, page = inspection_page(Store.open(args.path), Path(args.out), each=args.each, seed=args.seed)
    show(found)
    put(page)
    return 0


def show(found: Inspection) -> None:
    """What was found, as tables on standard output."""
    _show_cases(found)
    _show_readings(found)
    _show_marks(found)


def _table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """A table, where there are rows."""
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


def _show_cases(found: Inspection) -> None:
    from radgaze.console import results

    kinds = ["split", *found.classes, "cases", "patients", "with_gaze", "with_boxes"]
    if found.masks.height:
        kinds.append("with_masks")
    _table(
        "Cases, and how many of them with gaze, boxes and masks",
        [kind.removeprefix("with_") for kind in kinds],
        [[str(row[kind]) for kind in kinds] for row in found.counts.iter_rows(named=True)],
    )
    several = {
        row["split"]: f"{row['with_several'] / row['patients']:.0%}"
        for row in found.counts.iter_rows(named=True)
        if row["patients"]
    }
    shares = ", ".join(f"{share} of {split}" for split, share in several.items())
    results().print(f"Patients with several cases: {shares}")
    _table(
        "Rejected",
        ["reason", "count", "for example"],
        [[reason, str(count), ", ".join(ids)] for reason, count, ids in found.rejections.iter_rows()],
    )


def _show_readings(found: Inspection) -> None:
    from radgaze.console import results
    from radgaze.reporting.statistics_words import cautions
    from radgaze.reporting.wording import AGREEMENT, estimate, number

    quantiles = found.quantiles()
    _table(
        "Readings",
        ["", *next(iter(quantiles.values()), {})],
        [[name, *(number(value, 2) for value in values.values())] for name, values in quantiles.items()],
    )
    _table(
        "Readers",
        found.readers.columns,
        [[reader or "not named", *map(str, counts)] for reader, *counts in found.readers.iter_rows()],
    )
    between = [[AGREEMENT[row["metric"]][0], estimate(row, 2)] for row in found.between.iter_rows(named=True)]
    _table(
        f"Agreement between readers, {found.several_readers} cases",
        ["metric", "value [95% interval]"],
        between,
    )
    for note in cautions("".join(words for _, words in between)):
        results().print(note, markup=False, highlight=False)


def _show_marks(found: Inspection) -> None:
    """Boxes, masks and the sizes of images."""
    from radgaze.reporting.wording import number

    for kind, marks in (("boxes", found.boxes), ("masks", found.masks)):
        _table(
            kind.capitalize(),
            ["label", kind, "cases", "median share of the image"],
            [
                [label, str(count), str(cases), number(area, 3)]
                for label, count, cases, area in marks.iter_rows()
            ],
        )
    common = found.sizes.head(5)
    _table(
        f"Image sizes, {found.sizes.height} different",
        ["columns × rows", "cases"],
        [[f"{columns} × {rows}", str(cases)] for columns, rows, cases in common.iter_rows()],
    )
