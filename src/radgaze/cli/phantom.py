"""`radgaze phantom`: simulated data in the layout of the real archives."""

from __future__ import annotations

from jsonargparse import Namespace

from radgaze.cli.options import add_options, chosen
from radgaze.cli.parser import Parser
from radgaze.simulation.options import SimulationOptions

HELP = "Simulate radiographs, readings and gaze in the layout of the real archives, without real patients."
EXAMPLE = "radgaze phantom data --patients 400 --confounder device=0.9 --test-patients 400 --twins"


def add_arguments(parser: Parser) -> None:
    add_options(parser, SimulationOptions)


def run(args: Namespace) -> int:
    from radgaze.console import say
    from radgaze.errors import call
    from radgaze.outputs import check_folder

    options = chosen(SimulationOptions, args)
    check_folder(options.out)
    from radgaze.simulation.archive import simulate

    counts = simulate(options)["counts"]
    twins = f" and {counts['twins']} twins" if "twins" in counts else ""
    say(f"{counts['cases']} cases with {counts['fixations']} fixations{twins} in {options.out}")
    egd, mimic, reflacx = (f"{options.out}/{name}" for name in ("egd", "mimic", "reflacx"))
    say(f"Next: {call('prepare', 'egd', egd=egd, mimic=mimic, out='STORE')}")
    if options.reflacx:  # its readings are of one phase
        say(f"Or: {call('prepare', 'reflacx', reflacx=reflacx, mimic=mimic, phases=3, out='STORE')}")
    return 0
