"""`radgaze audit RUN`: is a map any good? Every method measured on the same cases."""

from __future__ import annotations

from argparse import Namespace

from radgaze.cli.parser import NonNegativeInt, Parser, PositiveInt, Resamples, Seed, listed

HELP = (
    "Measure a run's maps, method by method, from agreement with gaze to cost, one aspect after the other. "
    "Each method is kept in DIR/methods once measured; the same command goes on from there."
)
EXAMPLE = "radgaze audit runs/set3_guided --methods guided_backprop,grad_cam --out audit"


def add_arguments(parser: Parser) -> None:
    parser.add_argument("path", metavar="RUN", help="folder of a trained run")
    parser.add_argument(
        "--methods",
        default="gradient",
        help="methods, parted by commas; or gradient, all that use the model's gradients or activations "
        "(default); or all, which takes much longer",
    )
    parser.add_argument("--split", choices=("test", "validate"), default="test", help="cases (default test)")
    parser.add_argument(
        "--cases",
        type=PositiveInt,
        default=100,
        help="cases on which each method is run once (default 100)",
    )
    parser.add_argument(
        "--probed",
        type=PositiveInt,
        default=20,
        help="how many of them for the aspects that run a method and the model many times, such as "
        "faithfulness (default 20, the fewest patients that a verdict is given on)",
    )
    parser.add_argument(
        "--passes",
        type=NonNegativeInt,
        default=4,
        help="most forward passes that a gradient method averages over for one map; 0 for what its preset "
        "says (default 4)",
    )
    parser.add_argument(
        "--steps", type=PositiveInt, default=8, help="steps of the deletion and insertion curves (default 8)"
    )
    parser.add_argument(
        "--stages", type=PositiveInt, default=4, help="layers at which weights are drawn anew (default 4)"
    )
    parser.add_argument(
        "--resamples", type=Resamples, default=2000, help="resamples of the bootstrap (default 2000)"
    )
    parser.add_argument("--seed", type=Seed, default=0, help="of all that is random (default 0)")
    parser.add_argument("--device", default="auto", help="where the model runs: cpu, cuda or auto (default)")
    parser.add_argument(
        "--out", required=True, help="folder for audit.md, .csv, .json, .html, the figures and cases.parquet"
    )


def run(args: Namespace) -> int:
    from pathlib import Path

    from radgaze.console import put
    from radgaze.evaluation.audit.aspects import ASPECTS, Effort
    from radgaze.evaluation.audit.benchmark import audit
    from radgaze.evaluation.audit.markdown import audit_markdown
    from radgaze.outputs import check_folder
    from radgaze.reporting.audit import audit_page
    from radgaze.runs.run import Run

    check_folder(args.out)
    out, audited = Path(args.out), Run.open(Path(args.path))
    found = audit(
        audited,
        out,
        methods=args.methods if args.methods in ("gradient", "all") else listed(args.methods),
        split=args.split,
        cases=args.cases,
        probed=args.probed,
        passes=args.passes or None,
        effort=Effort(steps=args.steps, stages=args.stages, seed=args.seed),
        resamples=args.resamples,
        device=args.device,
    )
    page = audit_page(audited, out, found.summary)
    put(audit_markdown(found.summary), lines=True)
    for name in ("audit.md", "audit.csv", "audit.json", "cases.parquet", "audit.png"):
        put(out / name)
    for name, aspect in ASPECTS.items():
        if aspect.course is not None:
            put(out / f"{name}.png")
    put(page)
    return 0
