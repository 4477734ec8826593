"""`radgaze phantom`: made data in the layout of the real archives."""

from __future__ import annotations

from jsonargparse import Namespace

from radgaze.cli.parser import Parser, PositiveInt, Seed

HELP = "Make radiographs, readings and gaze that look like the real archives and stem from no patient."
EXAMPLE = "radgaze phantom data --patients 400 --seed 7"


def add_arguments(parser: Parser) -> None:
    parser.add_argument("out", type=str, help="folder to write, new or empty")
    parser.add_argument("--patients", type=PositiveInt, default=400, help="number of patients (default: 400)")
    parser.add_argument(
        "--seed", type=Seed, default=7, help="the same seed gives the same bytes (default: 7)"
    )
    parser.add_argument(
        "--pixels", type=PositiveInt, default=1024, help="long side of the images (default: 1024)"
    )
    parser.add_argument(
        "--confounding",
        type=float,
        default=0.0,
        help="0 to 1: how strongly a burnt-in marker follows the class, except in test patients (default: 0)",
    )
    parser.add_argument(
        "--workers", type=PositiveInt, default=None, help="processes (default: one per processor)"
    )


def run(args: Namespace) -> int:
    from radgaze.console import say
    from radgaze.outputs import check_folder
    from radgaze.simulation import simulate

    check_folder(args.out, "folder")
    planted = simulate(
        args.out,
        patients=args.patients,
        seed=args.seed,
        pixels=args.pixels,
        confounding=args.confounding,
        workers=args.workers,
    )
    counts = planted["counts"]
    say(f"{counts['cases']} cases with {counts['fixations']} fixations in {args.out}")
    say(f"Next: radgaze prepare egd --egd {args.out}/egd --mimic {args.out}/mimic --out STORE")
    return 0
