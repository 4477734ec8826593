"""`radgaze init EXPERIMENT`: the settings of an experiment as a file to edit, with a comment for each."""

from __future__ import annotations

from argparse import Namespace

from radgaze import experiments
from radgaze.cli.parser import Parser

HELP = (
    "Write all settings of an experiment, each with its value and below its description, as a YAML file to "
    "edit, which `radgaze train --config FILE` takes."
)
EXAMPLE = "radgaze init set3_guided --out my.yaml"


def add_arguments(parser: Parser) -> None:
    parser.add_argument("name", metavar="EXPERIMENT", help="name of the experiment, see radgaze experiments")
    parser.add_argument(
        "--protocol",
        default="honest",
        choices=experiments.protocols(),
        help="ours, or the paper's (docs/protocols.md)",
    )
    parser.add_argument("--out", metavar="FILE", help="file to write; without it, the settings are printed")
    parser.add_argument("--overwrite", action="store_true", help="replace the file")


def run(args: Namespace) -> int:
    from pathlib import Path

    from radgaze.console import put
    from radgaze.errors import UserError
    from radgaze.files import write_text
    from radgaze.outputs import check_folder
    from radgaze.runs import settings
    from radgaze.runs.template import template

    head = (
        f"Settings of the experiment {args.name} under the protocol {args.protocol}, for "
        "`radgaze train --config FILE --data STORE --out RUN`. "
        "Where a line is removed, the experiment's value counts."
    )
    text = template(settings.resolve(args.name, protocol=args.protocol), head)
    if args.out is None:
        put(text.removesuffix("\n"), lines=True)
        return 0
    out = Path(args.out)
    if out.is_dir():
        raise UserError(f"`out={out}` is a folder; name a file in it, such as {out / f'{args.name}.yaml'}")
    if out.exists() and not args.overwrite:
        raise UserError(f"{out} exists; name another file, or set `overwrite=True`")
    check_folder(out.parent)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(text, out)
    put(out)
    return 0
