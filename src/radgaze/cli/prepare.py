"""`radgaze prepare SOURCE`: a raw data set to a store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from radgaze.cli.parser import Parser, PositiveInt
from radgaze.sources.registry import SOURCES, find

if TYPE_CHECKING:
    from radgaze.store.store import Store

HELP = "Turn a raw data set into a store: labels, fixations, images at one size, and what was rejected."
EXAMPLE = "radgaze prepare egd --egd egd-cxr/1.0.0 --mimic mimic-cxr/2.0.0 --out store"
OF_STORE = ("out", "size", "voi", "workers", "overwrite", "resume", "engine", "ray_address")
"""The options that every source has; the others are its own."""


def add_arguments(parser: Parser, arguments: Sequence[str]) -> None:
    """Add the sources; only those that `arguments` names are imported for their options."""
    sources = parser.add_subcommands(dest="source", metavar="SOURCE", title="sources", required=True)
    for name, about in SOURCES.items():
        if name not in arguments:
            sources.add_subcommand(name, Parser(description=about), help=about)
            continue
        source = find(name)
        own = Parser(description=f"Prepare {about}.", epilog=f"Example: {source.EXAMPLE}")
        source.add_arguments(own)
        _add_of_store(own, fitted=getattr(source, "FITTED", False))
        sources.add_subcommand(name, own, help=about)


def _add_of_store(parser: Parser, *, fitted: bool) -> None:
    parser.add_argument("--out", required=True, metavar="STORE", help="folder of the store")
    if not fitted:
        parser.add_argument(
            "--encoding",
            metavar="NAME",
            help="of the CSV files, such as cp1252; without it UTF-8, or what a byte order mark tells",
        )
        parser.add_argument(
            "--separator",
            metavar="CHARACTER",
            help="between cells of the CSV files, or comma, semicolon, tab; without it what their header has",
        )
        parser.add_argument("--size", type=PositiveInt, default=512, help="side of the stored images, px")
        parser.add_argument(
            "--voi",
            choices=("window", "none"),
            default="window",
            help="a DICOM file's first window, or none: pixels over their maximum, as published",
        )
    parser.add_argument(
        "--workers", type=PositiveInt, help="processes that read images; without it one per processor"
    )
    parser.add_argument(
        "--engine", choices=("local", "ray"), default="local", help="read images here, or on a Ray cluster"
    )
    parser.add_argument("--ray-address", help="of the cluster; without it one is made on this machine")
    parser.add_argument("--overwrite", action="store_true", help="replace the store that is there")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with what was interrupted, or tell why that cannot be; without it the same command goes "
        "on too, and another begins anew",
    )


def run(args: Namespace) -> int:
    from radgaze.console import put
    from radgaze.outputs import check_folder
    from radgaze.sources.dialect import written_with
    from radgaze.store.preparation import prepare

    chosen = args[args.source].as_dict()
    of_store = {name: chosen.pop(name) for name in OF_STORE if name in chosen}
    check_folder(of_store["out"], may_be=("store", "run"))  # what of these may be replaced, `prepare` says
    _check_key(chosen.get("key"), of_store["out"])
    source = find(args.source)
    with written_with(chosen.pop("encoding", None), chosen.pop("separator", None)):
        cohort = source.read(**chosen)
    if getattr(source, "FITTED", False):
        of_store |= {"size": cohort.parameters["size"], "voi": cohort.parameters["voi"], "fitted": True}
    store = prepare(cohort, **of_store)
    show(store)
    put(store.path)
    return 0


def _check_key(key: str | None, out: str) -> None:
    """Refuse a private key within the store that it is to be kept apart from."""
    from pathlib import Path

    from radgaze.errors import UserError

    if key is not None and Path(key).resolve().is_relative_to(Path(out).resolve()):
        raise UserError(f"--key {key} lies in the store, which others may get; name a file elsewhere")


def show(store: Store) -> None:
    """What is in the store and what is not, as two short tables on standard output."""
    from rich.table import Table

    from radgaze.console import results, say

    console, counts = results(), store.manifest["counts"]
    held = f"{counts['cases']} cases, {counts['readings']} readings, {counts['fixations']} fixations"
    if counts.get("regions"):
        held += f", {counts['regions']} masks"
    cases = Table(title=held)
    for name in ("split", *store.classes, "cases", "patients"):
        cases.add_column(name, justify="left" if name == "split" else "right")
    for split in ("train", "validate", "test"):
        cases.add_row(split, *map(str, _numbers(store, split)))
    console.print(cases)
    for split, names in store.classes_without_cases().items():
        say(f"Note: no {split} case has the class {', '.join(names)}: it cannot be measured there")
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
