"""`radgaze verify STORE`: check a store against its hashes."""

from __future__ import annotations

from argparse import Namespace

from radgaze.cli.folders import check_store
from radgaze.cli.parser import Parser

HELP = (
    "Compare every file of a store with the hash recorded when it was written, and its tables with each "
    "other. Exits with 1 if there is a fault."
)
EXAMPLE = "radgaze verify store"


def add_arguments(parser: Parser) -> None:
    parser.add_argument("path", metavar="STORE", help="folder that `radgaze prepare` wrote")


def run(args: Namespace) -> int:
    check_store(args.path)
    from radgaze.console import complain, progress, put
    from radgaze.store.store import Store
    from radgaze.store.verification import advice, verify

    store = Store.open(args.path)
    files = len(store.manifest["hashes"])
    with progress("Verifying", total=files, of="files") as bar:
        wrong = verify(store, advance=bar.advance)
    for problem in wrong:
        complain(f"radgaze verify: {problem}")
    if wrong:
        complain(f"radgaze verify: {advice(store.path)}")
        return 1
    put(f"{store.path}: {files} files of {store.cases.height} cases are as they were written")
    return 0
