"""Messages name settings and calls as Python does, and the command line shows its flags and commands."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import pytest

from radgaze.cli import main
from radgaze.cli.flags import settings_of, spelled
from radgaze.cli.options import add_options
from radgaze.cli.parser import Parser
from radgaze.errors import UserError, call
from radgaze.options import Options, option


@dataclass(frozen=True)
class Toy(Options):
    """A toy.

    Attributes:
        path: Folder.
        out: Folder to write.
        without_gaze: What to do with them.
        labels: Names.
        seeds: Seeds.
        map: Classes.
        overwrite: Replace.
        masks: Keep.
    """

    path: str = option(metavar="RUN", positional=True)
    out: str | None = None
    without_gaze: str = "drop"
    labels: tuple[str, ...] | None = None
    seeds: tuple[int, ...] = option((), comma=True)
    map: tuple[str, ...] = option((), repeated=True)
    overwrite: bool = False
    masks: bool = True


def toy() -> Parser:
    parser = Parser(prog="toy")
    add_options(parser, Toy)
    return parser


def shown(text: str) -> str:
    parsers = {"toy": toy(), "train": toy()}
    return spelled(text, settings_of(toy()), parsers.get)


@pytest.mark.parametrize(
    ("text", "with_flags"),
    [
        ("`without_gaze` must be one of", "--without-gaze must be one of"),
        ("give `out=DIR`", "give --out DIR"),
        ("`out='a b'` is there", "--out 'a b' is there"),
        ("`out=a b;rm` is there", "--out 'a b;rm' is there"),
        ("`path` is missing", "RUN is missing"),
        ("`overwrite=True`", "--overwrite"),
        ("`masks=False` or `masks`", "--no-masks or --masks"),
        ("`overwrite=False`", "no --overwrite"),
        ("`labels=('CHF', 'lung edema')`", "--labels CHF 'lung edema'"),
        ("`labels=split=`", "--labels split="),
        ("`seeds=(1, 2)`", "--seeds 1,2"),
        ("`map=('a=b', 'c=')`", "--map a=b --map c="),
        ("`seeds=1`", "--seeds 1"),
        ("column `filename`", "column `filename`"),
        ("`1 + 1` and `x` and `a.b=3`", "`1 + 1` and `x` and `a.b=3`"),
        ("`fly('here')`", "`fly('here')`"),
        ("`toy(` and ``", "`toy(` and ``"),
        ("`toy(RUN, out='a b')`", "radgaze toy RUN --out 'a b'"),
        ("`toy(..., overwrite=True)`", "radgaze toy ... --overwrite"),
        ("`toy('runs/a', overwrite=True, labels=['x', 'y'])`", "radgaze toy runs/a --overwrite --labels x y"),
        ("`toy(path='runs/a', masks=False)`", "radgaze toy runs/a --no-masks"),
        ("`toy('a', new_option=3)`", "radgaze toy a --new-option 3"),
        (call("train", "it's", resume=True), "radgaze train 'it'\"'\"'s' --resume"),
        ("no backquote", "no backquote"),
    ],
)
def test_settings_and_calls_become_flags_and_commands(text: str, with_flags: str) -> None:
    assert shown(text) == with_flags


def test_the_settings_of_a_source_are_spelled_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import radgaze.cli.prepare as verb

    def refused(args: object) -> None:
        raise UserError("`keep_ids` or `size`: see `prepare('table', labels=('a', 'b'))` or `verify(STORE)`")

    monkeypatch.setattr(verb, "run", refused)
    assert main(["prepare", "egd", "--egd", "x", "--mimic", "y", "--out", "z"]) == 2
    given = capsys.readouterr().err
    assert main(["prepare", "egd", "--mimic", "y", "--out", "z", "--egd", "x"]) == 2
    assert given == capsys.readouterr().err
    assert given == (
        "radgaze prepare: --keep-ids or --size: see radgaze prepare table --labels a b or radgaze verify "
        "STORE\n"
    )


def _fail(number: int) -> None:
    raise UserError(f"`patients` must be at least 2, got {number}")


def test_a_message_from_a_worker_is_spelled_where_it_is_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import radgaze.cli.phantom as verb

    def in_a_worker(args: object) -> None:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as workers:
            workers.submit(_fail, 1).result()

    monkeypatch.setattr(verb, "run", in_a_worker)
    assert main(["phantom", "out"]) == 2
    assert capsys.readouterr().err == "radgaze phantom: --patients must be at least 2, got 1\n"


def test_what_is_said_is_spelled_only_while_a_verb_runs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import radgaze.cli.phantom as verb
    from radgaze.console import say

    def talk(args: object) -> int:
        say("`seed` counts")
        return 0

    monkeypatch.setattr(verb, "run", talk)
    assert main(["phantom", "out"]) == 0
    say("`seed` counts")
    assert capsys.readouterr().err == "--seed counts\n`seed` counts\n"
