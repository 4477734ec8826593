"""`radgaze audit RUN`: measure the maps of every method on the same cases."""

from __future__ import annotations

from argparse import Namespace

from radgaze.cli.folders import check_run
from radgaze.cli.options import add_options, chosen
from radgaze.cli.parser import Parser
from radgaze.evaluation.audit.options import AuditOptions

HELP = (
    "Measure the maps of several methods on a run's cases, in aspects from agreement with gaze to cost. "
    "Results of each method are stored in DIR/methods, so that the same command continues an interrupted "
    "audit."
)
EXAMPLE = "radgaze audit runs/set3_guided --methods guided_backprop,grad_cam --out audit"


def add_arguments(parser: Parser) -> None:
    parser.add_argument("path", metavar="RUN", help="folder of a trained run")
    add_options(parser, AuditOptions)
    parser.add_argument(
        "--out", required=True, help="folder for audit.md, .csv, .json, .html, the figures and cases.parquet"
    )


def run(args: Namespace) -> int:
    from pathlib import Path

    from radgaze.console import put
    from radgaze.outputs import check_folder

    check_folder(args.out)
    options = chosen(AuditOptions, args)
    check_run(args.path)
    from radgaze.evaluation.audit.aspects import ASPECTS
    from radgaze.evaluation.audit.benchmark import audit
    from radgaze.reporting.audit.markdown import write_audit_markdown
    from radgaze.reporting.audit.page import write_audit_page
    from radgaze.runs.run import Run

    out, audited = Path(args.out), Run.open(Path(args.path))
    results = audit(audited, out, options).results
    text = write_audit_markdown(results, out, audited.name)
    page = write_audit_page(audited, out, results)
    put(text, lines=True)
    for name in ("audit.md", "audit.csv", "audit.json", "cases.parquet", "audit.png"):
        put(out / name)
    for name, aspect in ASPECTS.items():
        if aspect.figure is not None:
            put(out / f"{name}.png")
    put(page)
    return 0
