"""`radgaze paste STORE`: markers in the images of a store, and twins of its test images."""

from __future__ import annotations

from argparse import Namespace

from radgaze.cli.folders import check_store
from radgaze.cli.options import add_options, chosen
from radgaze.cli.parser import Parser
from radgaze.store.pasting_options import PasteOptions

HELP = (
    "Write a copy of a store with markers pasted into its images: into training and validation images with "
    "the class, into no test image. Each test image gets a twin with the marker of each class, by which it "
    "can be measured what a classifier makes of the marker."
)
EXAMPLE = "radgaze paste store --overlay pneumonia=PORTABLE --strength 0.9 --out pasted"


def add_arguments(parser: Parser) -> None:
    add_options(parser, PasteOptions)


def run(args: Namespace) -> int:
    from radgaze.outputs import check_folder

    options = chosen(PasteOptions, args)
    check_folder(options.out)
    check_store(options.path)
    from radgaze.cli.prepare import show
    from radgaze.console import put
    from radgaze.store.pasting import paste

    store = paste(options)
    show(store)
    put(store.path)
    return 0
