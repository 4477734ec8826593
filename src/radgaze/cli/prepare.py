"""`radgaze prepare SOURCE`: a raw data set to a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from radgaze.cli.options import add_options, chosen
from radgaze.cli.parser import Parser
from radgaze.errors import UserError
from radgaze.sources.registry import SOURCES, find
from radgaze.store.options import PrepareOptions

if TYPE_CHECKING:
    from rich.table import Table

    from radgaze.store.store import Store

HELP = "Turn a raw data set into a store: labels, fixations, images of one size, and a list of rejections."
EXAMPLE = "radgaze prepare egd --egd egd-cxr/1.0.0 --mimic mimic-cxr/2.0.0 --out store"
OF_IMAGES = ("size", "voi")
"""Fields of `PrepareOptions` that the images of a source may have already."""


def add_arguments(parser: Parser, arguments: Sequence[str]) -> None:
    """Add the sources; only those that `arguments` names are imported for their options."""
    sources = parser.add_subcommands(dest="source", metavar="SOURCE", title="sources", required=True)
    for name, description in SOURCES.items():
        if name not in arguments:
            sources.add_subcommand(name, Parser(description=description), help=description)
            continue
        from radgaze.sources.dialect import TextOptions

        source = find(name)
        taken = sorted(
            {each.name for each in fields(source.options)}
            & {each.name for cls in (PrepareOptions, TextOptions) for each in fields(cls)}
        )
        if taken:
            cls = source.options.__name__
            raise ValueError(f"{cls} has {', '.join(taken)}, an option of prepare itself; rename the field")
        sub = Parser(description=f"Prepare {description}.", epilog=f"Example: {source.example}")
        add_options(sub, source.options)
        if not source.fitted:
            add_options(sub, TextOptions)
        add_options(sub, PrepareOptions, without=OF_IMAGES if source.fitted else ())
        sources.add_subcommand(name, sub, help=description)


def run(args: Namespace) -> int:
    from radgaze.console import put
    from radgaze.outputs import check_folder
    from radgaze.sources.dialect import TextOptions, written_with

    source, given = find(args.source), args[args.source]
    check_folder(given.out, may_be=("store", "run"))  # `prepare` refuses the ones that it must not replace
    for name in ("key", "align_table"):
        _check_apart(name, getattr(given, name, None), given.out)
    options = chosen(source.options, given)
    preparation = chosen(PrepareOptions, given, fitted=source.fitted)
    with written_with(chosen(TextOptions, given)):
        cohort = source.read(options)
    if source.fitted:
        of_images = {name: cohort.parameters[name] for name in OF_IMAGES}
        preparation = chosen(PrepareOptions, given, fitted=True, **of_images)
    from radgaze.store.preparation import prepare  # imports pydicom: what the source lacks is told before

    store = prepare(cohort, preparation)
    show(store)
    if (table := getattr(options, "align_table", None)) is not None:
        _draw_alignment(store, Path(table))
    put(store.path)
    return 0


def _draw_alignment(store: Store, table: Path) -> None:
    """Draw some cases beside the table of an alignment."""
    from radgaze.console import note
    from radgaze.reporting.alignment import write_alignment

    path = table.with_suffix(".png") if table.suffix != ".png" else table.with_name(f"{table.name}.png")
    if write_alignment(store, path) is not None:
        note(f"Some cases, with the gaze of each class, are drawn in {path}")


def _check_apart(name: str, file: str | None, out: str) -> None:
    """Refuse a private file within the store that it must be kept apart from."""
    if file is not None and Path(file).resolve().is_relative_to(Path(out).resolve()):
        raise UserError(f"`{name}={file}` lies in the store, which others may get; name a file elsewhere")


def show(store: Store) -> None:
    """Print the numbers of cases, and of rejections by reason, as two tables on standard output."""
    from rich.table import Table

    from radgaze.console import note, results
    from radgaze.store import summary

    console = results()
    heads, rows = summary.numbers(store)
    cases = Table(title=summary.contents(store))
    for k, name in enumerate(heads):
        cases.add_column(name, justify="right" if k else "left")
    for row in rows:
        cases.add_row(*row)
    console.print(cases)
    for notice in summary.notices(store):
        note(notice)
    if store.manifest["counts"].get("mentions"):
        console.print(_of_classes(store))
    rejections = Table(title="Rejected")
    rejections.add_column("reason")
    rejections.add_column("count", justify="right")
    for reason, count in summary.rejected(store).items():
        rejections.add_row(reason, str(count))
    if rejections.row_count:
        console.print(rejections)


def _of_classes(store: Store) -> Table:
    """Make a table of the gaze of each class: cases that have the class, and how many of them its gaze."""
    from rich.table import Table

    from radgaze.store.mentions import gaze_of_classes

    table = Table(title="Gaze of each class, as reports mention it")
    for name in ("class", "cases with it", "with its gaze", "other cases with its gaze", "s per reading"):
        table.add_column(name, justify="left" if name == "class" else "right")
    for name, cases, gazed, others, seconds in gaze_of_classes(store).iter_rows():
        table.add_row(name, str(cases), str(gazed), str(others), f"{seconds:.1f}" if seconds else "")
    return table
