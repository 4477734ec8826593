"""Command lines with words lost, doubled, exchanged, misspelt or added."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from radgaze.cli import VERBS, build_parser
from radgaze.errors import UserError
from tests.fuzz.folders import FIELDS, make_run
from tests.fuzz.mutate import NASTY
from tests.fuzz.runner import command

setup = make_run
COSTLY = (
    *("--workers", "--jobs", "--engine", "--ray-address", "--patients", "--test-patients", "--pixels"),
    *("--trials", "--seeds"),
)
"""Options of which an honest value may take hours, or all of the machine: they get small ones only."""
SMALL = ("-1", "0", "1", "x", "", "1.5", "nan")


def attempt(folder: Path, draw: random.Random) -> str:
    """Change a command line that works, or one of a verb that takes long on something that is not there."""
    shutil.copytree(folder / "run", "run")
    shutil.copytree(folder / "store", "store")
    Path("file").write_text("a,b\n1,2\n")
    words = draw.choice(lines(folder))
    for _ in range(draw.randint(1, 3)):
        words = changed(words, draw)
    if words and words[0] in ("demo", "reproduce", "tune") and "file" not in words[-2:]:
        words = [*words, "--out", "file"]  # never the hours of the real thing
    return command(words)


def lines(folder: Path) -> list[list[str]]:
    """One command line for each verb."""
    images = str(folder / "images")
    return [
        ["demo", "--quick", "--out", "file"],
        ["phantom", "made", "--patients", "3", "--pixels", "64", "--workers", "1"],
        ["prepare", "table", "--table", "file", "--images", images, "--workers", "1", "--out", "new"],
        ["prepare", "egd", "--egd", images, "--mimic", images, "--workers", "1", "--out", "new"],
        ["phantom", "made", "--patients", "1", "--confounder", "device=1", "--twins", "--workers", "1"],
        ["paste", "store", "--overlay", "CHF=L", "--out", "new"],
        ["verify", "store"],
        ["inspect", "store", "--out", "seen", "--each", "1"],
        ["train", "--experiment", "set3_guided", "--data", "store", *FIELDS, "--out", "new"],
        ["train", "--resume", "run"],
        ["tune", "--experiment", "baseline", "--data", "store", "--trials", "1", "--out", "file"],
        ["evaluate", "run", "--resamples", "20"],
        ["audit", "run", "--methods", "grad_cam", "--cases", "2", "--resamples", "20", "--out", "new"],
        ["compare", "run", str(folder / "run"), "--resamples", "20", "--out", "new"],
        ["reproduce", "--data", "store", "--out", "file"],
        ["vote", "run", str(folder / "run"), "--resamples", "20", "--out", "new"],
        ["pseudo", "run", "--methods", "grad_cam", "--out", "new"],
        ["explain", "run", "case-01", "--methods", "grad_cam", "--out", "new"],
        ["predict", "run", "case-01", "--out", "new.csv"],
        ["export", "run", "--to", "hub", "--out", "new"],
        ["card", "run"],
        ["report", "run"],
    ]


def changed(words: list[str], draw: random.Random) -> list[str]:
    """The words with one change."""
    at = draw.randrange(len(words)) if words else 0
    match draw.randrange(8):
        case 0 | 1 | 2 if words:
            known = SMALL if at and words[at - 1] in COSTLY else (*NASTY, "file", "store", "run")
            return [*words[:at], draw.choice(known), *words[at + 1 :]]
        case 3 if words and words[at] not in COSTLY and (not at or words[at - 1] not in COSTLY):
            return [*words[:at], *words[at + 1 :]]
        case 4 if words:
            return [*words[:at], words[at], *words[at:]]
        case 5 if words and words[at].startswith("--") and words[at] not in COSTLY:
            return [*words[:at], words[at][: draw.randrange(2, len(words[at]) + 1)], *words[at + 1 :]]
        case _ if words and words[0] in VERBS:
            option = draw.choice(options(words))
            small = option in COSTLY or any(part in option for part in ("size", "epochs", "accelerator"))
            return [*words, option, draw.choice(SMALL if small else (*NASTY, "file", "store", "run"))]
    return words


def options(words: list[str]) -> list[str]:
    """The options that the verb has, and one that none has."""
    try:
        parser = build_parser(words)
    except UserError:  # of a run that is not there
        parser = build_parser([])
    for word in words[:2]:
        parser = parser.parser_of(word) or parser
    found = [action.option_strings[-1] for action in parser._actions if action.option_strings]
    return sorted({*found, "--nothing"})
