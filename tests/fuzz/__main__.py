"""`python -m tests.fuzz`: try spoilt inputs of every kind for so long, and print what came of them."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.fuzz.runner import KINDS, fuzz


def main() -> int:
    """Return 1 if there was a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=300, help="in all, shared by the kinds (default 300)"
    )
    parser.add_argument("--count", type=int, default=5000, help="tries of a kind, at most (default 5000)")
    parser.add_argument("--seed", type=int, default=0, help="of all inputs (default 0)")
    parser.add_argument(
        "--only", metavar="KIND[:NUMBER]", help="one kind, or one input of it, to repeat a fault"
    )
    parser.add_argument(
        "--faults", type=Path, default=Path("fuzz-faults"), help="where faults' inputs are kept"
    )
    args = parser.parse_args()
    only, _, number = (args.only or "").partition(":")
    kinds = [kind for kind in KINDS if not only or kind == only]
    numbers = [int(number)] if number else range(args.count)
    print(f"{'kind':10}{'tries':>8}{'read':>8}{'refused':>9}{'faults':>8}", flush=True)
    found: dict[str, str] = {}
    for kind in kinds:
        with tempfile.TemporaryDirectory(prefix="radgaze-fuzz-") as folder:
            tally = fuzz(
                kind,
                Path(folder) / kind,
                seed=args.seed,
                seconds=args.seconds / len(kinds),
                numbers=numbers,
                keep=args.faults.absolute(),
            )
        counts = tally.outcomes
        print(
            f"{kind:10}{tally.tries:8}{counts['read']:8}{counts['refused']:9}{len(tally.faults):8}",
            flush=True,
        )
        found |= {f"{kind}:{n}": word for n, word in tally.faults.items()}
    for name, word in found.items():
        print(f"\n{name} (again with --seed {args.seed} --only {name}): {word.strip()[-2000:]}")
    if found:
        print(f"\nThe inputs are kept in {args.faults}")
    return bool(found) or not kinds


if __name__ == "__main__":
    sys.exit(main())
