"""Arguments of the command line made from a dataclass, and the dataclass made from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from radgaze.cli import VERBS, build_parser
from radgaze.cli.options import add_options, chosen
from radgaze.cli.parser import Parser
from radgaze.errors import UserError
from radgaze.options import Options, option
from radgaze.sources.registry import SOURCES


@dataclass(frozen=True)
class Reading(Options):
    """How something is read.

    Attributes:
        store: Folder of the store.
        out: Folder to write.
        labels: Findings that are the classes.
        phases: Phases that count.
        seeds: Seeds, separated by commas.
        folds: Folds, separated by commas.
        map: Name of a class in the store, given for each.
        resamples: Number of resamples.
        tolerance: Pixels off a box, of `gaze` or a `box`.
        gaze: CSV file with gaze; 95% of cases have it.
        kind: Kind of map.
        method: Name of a method.
        late: Name that is looked up late.
        overwrite: Replace what is there.
        masks: Keep the masks.
        fit: Whether images are fitted. Without it they are where
            they must be.
        secret: A value with no argument.
    """

    store: str = option(metavar="STORE", positional=True)
    out: Path = option(metavar="DIR")
    labels: tuple[str, ...] | None = option(None, metavar="NAME")
    phases: tuple[Literal[1, 2, 3], ...] = (1, 2, 3)
    seeds: tuple[int, ...] = option((42, 43), comma=True)
    folds: tuple[Literal[1, 2], ...] = option((), comma=True)
    map: tuple[str, ...] = option((), repeated=True, metavar="CLASS=NAME")
    resamples: int = option(2000, at_least=1)
    tolerance: float = 0.0
    gaze: Path | None = None
    kind: Literal["soft", "hard"] = "soft"
    method: str = option("left", choices=lambda: ("left", "right"), show_choices=True)
    late: str = option("near", choices=lambda: ("near", "far"))
    overwrite: bool = False
    masks: bool = True
    fit: bool | None = None
    secret: int = option(3, hidden=True)


def parsed(*arguments: str, **others: object) -> Reading:
    parser = Parser(prog="read")
    add_options(parser, Reading)
    return chosen(Reading, parser.parse_args(["store", "--out", "x", *arguments]), **others)


def help_of(cls: type[Options] = Reading) -> str:
    parser = Parser(prog="read")
    add_options(parser, cls)
    return " ".join(parser.format_help().split())


def test_without_arguments_every_field_has_its_default() -> None:
    assert parsed() == Reading("store", Path("x"))


def test_values_have_the_types_of_their_fields() -> None:
    assert parsed("--labels", "CHF", "edema", "--phases", "2", "3") == Reading(
        "store", Path("x"), labels=("CHF", "edema"), phases=(2, 3)
    )
    assert parsed("--seeds", " 7, 8,", "--gaze", "g.csv", "--tolerance", "1") == Reading(
        "store", Path("x"), seeds=(7, 8), gaze=Path("g.csv"), tolerance=1.0
    )
    assert parsed("--folds", "2,1").folds == (2, 1)
    assert parsed("--map", "a=b", "--map", "c=").map == ("a=b", "c=")


@pytest.mark.parametrize(
    ("arguments", "masks", "fit"),
    [((), True, None), (("--no-masks", "--fit"), False, True), (("--masks", "--no-fit"), True, False)],
)
def test_a_flag_that_is_true_or_none_by_default_can_be_denied(
    arguments: tuple[str, ...], masks: bool, fit: bool | None
) -> None:
    options = parsed(*arguments)
    assert (options.masks, options.fit) == (masks, fit)


def test_a_false_flag_cannot_be_denied_and_a_hidden_field_has_no_argument() -> None:
    assert parsed("--overwrite").overwrite is True
    for arguments in (["--no-overwrite"], ["--secret", "4"]):
        with pytest.raises(UserError, match=arguments[0]):
            parsed(*arguments)
    assert parsed(secret=4).secret == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--kind", "wrong"], "--kind"),
        (["--phases", "1", "4"], "--phases"),
        (["--method", "up"], "--method"),
        (["--late", "gone"], "`late` must be one of near, far, got gone"),
        (["--resamples", "0"], "`resamples` must be at least 1, got 0"),
        (["--resamples", "many"], "--resamples many: a whole number is expected"),
        (["--seeds", "1,x"], "`seeds` must be whole numbers separated by commas, got x"),
        (["--folds", "2,3"], "`folds` must be one of 1, 2, got 3"),
        (["other"], "other"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused(arguments: list[str], said: str) -> None:
    with pytest.raises(UserError) as refused:
        parsed(*arguments)
    assert said in str(refused.value)


def test_a_required_field_is_asked_for() -> None:
    parser = Parser(prog="read")
    add_options(parser, Reading)
    with pytest.raises(UserError, match=r"required: store, out; see `read --help`"):
        parser.parse_args([])


def test_a_field_can_be_left_out_and_given_by_the_caller() -> None:
    parser = Parser(prog="read")
    add_options(parser, Reading, without=("out",))
    args = parser.parse_args(["store"])
    assert chosen(Reading, args, out=Path("y")) == Reading("store", Path("y"))


def test_a_positional_field_with_a_default_may_be_missing() -> None:
    @dataclass(frozen=True)
    class Maybe(Options):
        """Maybe.

        Attributes:
            path: Folder.
            names: Names.
        """

        path: str = option("here", positional=True)
        names: tuple[str, ...] | None = None

    parser = Parser(prog="maybe")
    add_options(parser, Maybe)
    assert chosen(Maybe, parser.parse_args([])) == Maybe()
    assert chosen(Maybe, parser.parse_args(["there", "--names", "a", "b"])) == Maybe("there", ("a", "b"))


def test_help_is_the_description_with_one_default_and_no_type() -> None:
    shown = help_of()
    assert "--out DIR folder to write (required)" in shown
    assert "STORE folder of the store options:" in shown
    assert "--resamples RESAMPLES number of resamples (default: 2000)" in shown
    assert "--tolerance TOLERANCE pixels off a box, of --gaze or a `box` (default: 0)" in shown
    assert "--gaze GAZE CSV file with gaze; 95% of cases have it --kind" in shown
    assert "--kind {soft,hard} kind of map (default: soft)" in shown
    assert "--method {left,right} name of a method (default: left)" in shown
    assert "--late LATE name that is looked up late (default: near)" in shown
    assert "{1,2,3} ...] phases that count (default: 1 2 3)" in shown
    assert "seeds, separated by commas (default: 42,43)" in shown
    assert "--map CLASS=NAME name of a class in the store, given for each --resamples" in shown
    assert "--overwrite replace what is there --masks, --no-masks keep the masks (default: --masks)" in shown
    assert shown.endswith("whether images are fitted. Without it they are where they must be")
    assert not any(word in shown for word in ("type:", "null", "<", "secret", "None", "%%", "False"))


def test_help_of_the_configuration_shows_defaults_as_the_command_line_takes_them() -> None:
    parser = build_parser(["train"]).parser_of("train")
    assert parser is not None
    shown = " ".join(parser.format_help().split())
    assert "from the deepest. (default: [256,128,64,32,16])" in shown
    assert "and change the brightness. (default: false)" in shown
    assert "evaluate and report the trained run (default: true)" in shown
    assert "Peak learning rate. (default: 0.001)" in shown


def test_a_field_without_a_description_is_a_defect() -> None:
    @dataclass(frozen=True)
    class Bare(Options):
        """Bare."""

        size: int = 3

    with pytest.raises(TypeError, match=r"Bare\.size has no description"):
        help_of(Bare)


@pytest.mark.parametrize("command", [(verb,) for verb in VERBS] + [("prepare", name) for name in SOURCES])
def test_no_help_of_a_verb_shows_a_type_or_a_default_twice(command: tuple[str, ...]) -> None:
    parser = build_parser(command)
    for name in command:
        below = parser.parser_of(name)
        assert below is not None
        parser = below
    for line in " ".join(parser.format_help().split()).split(" --"):
        assert line.count("(default: ") <= 1, line
        assert not any(word in line for word in ("type: ", "null)", "<function", "%%")), line
