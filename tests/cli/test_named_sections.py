"""`--objective.terms.NAME.FIELD VALUE`: what is given is laid over the experiment, and nothing else."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from radgaze import experiments
from radgaze.cli import build_parser, main
from radgaze.cli.named_sections import fields_of, split
from radgaze.cli.train import OF_VERB
from radgaze.errors import UserError
from radgaze.objectives.config import HeatmapConfig, TermConfig
from radgaze.reproduction import grid
from radgaze.reproduction.options import ReproduceOptions
from radgaze.reproduction.planning import Plan
from radgaze.reproduction.planning import plan as plan_of_grid
from radgaze.reproduction.state import State
from radgaze.runs import settings
from radgaze.runs.config import Config
from radgaze.sections import Section
from radgaze.store.store import Store
from radgaze.tuning.options import TuneOptions
from radgaze.tuning.planning import plan as plan_of_search
from tests.training.conftest import store

__all__ = ["store"]

FIELDS = ("objective.heatmaps", "objective.terms")
MINING = "--objective.terms.attention_mining"


def trained_with(*arguments: str) -> Config:
    """The configuration that `radgaze train` makes of its arguments."""
    args = build_parser(["train", *arguments]).parse_args(["train", *arguments])["train"]
    return settings.from_dict({key: value for key, value in args.as_dict().items() if key not in OF_VERB})


def given(verb: str, *arguments: str) -> dict[str, object]:
    """The nested values of terms and heatmaps that `tune` or `reproduce` takes from its arguments."""
    words = [verb, "--data", "store", "--out", "out", *arguments]
    words += ["--experiment", "gain", "--trials", "1"] if verb == "tune" else []
    goal = build_parser(words).parse_args(words)[verb].as_dict().get("objective", {})
    return {name: value for name, value in goal.items() if name in ("terms", "heatmaps")}


def test_the_fields_are_those_that_hold_sections_by_name() -> None:
    assert tuple(fields_of(Config)) == FIELDS


@pytest.mark.parametrize("verb", ["train", "tune", "reproduce"])
@pytest.mark.parametrize(
    ("field", "section"), [("objective.heatmaps", HeatmapConfig), ("objective.terms", TermConfig)]
)
def test_the_help_of_a_named_section_describes_each_of_its_fields(
    verb: str, field: str, section: type[Section], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main([verb, "--help"])
    assert f"--{field}.help" in capsys.readouterr().out
    with pytest.raises(SystemExit) as left:
        main([verb, f"--{field}.help"])
    assert left.value.code == 0
    output = capsys.readouterr()
    assert not output.err
    described = {
        line.split()[0].removeprefix(f"--{field}.NAME.")
        for line in output.out.splitlines()
        if line.startswith(f"  --{field}.NAME.")
    }
    assert described == {each.name for each in fields(section)}
    texts = output.out.split(f"\n  --{field}.NAME.")[1:]
    assert all(len(text.split()) > 6 for text in texts), "each has words of its own"
    assert f"usage: radgaze {verb} " in output.out


def test_a_term_may_be_named_help() -> None:
    made = trained_with("--objective.terms.help.kind", "edge", "--objective.terms.help.weight", "2")
    assert made.objective.terms["help"].weight == 2


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["--objective.terms.x.weight", "2"], {"x": {"weight": 2}}),
        (["--objective.terms.x.weight=1e-3"], {"x": {"weight": 0.001}}),
        (["--objective.terms.x.weight", "2", "--objective.terms.x.weight", "3"], {"x": {"weight": 3}}),
        (
            ["--objective.terms.x.weight=-.5", "--objective.terms.y.kind=edge"],
            {"x": {"weight": -0.5}, "y": {"kind": "edge"}},
        ),
        (["--objective.terms.x.schedule", "steps(0, 0.3: 1)"], {"x": {"schedule": "steps(0, 0.3: 1)"}}),
        (["--objective.terms.x.options.hard", "true"], {"x": {"options": {"hard": True}}}),
        (["--objective.terms.x.options.within=null"], {"x": {"options": {"within": None}}}),
        (["--objective.terms.x.options.sides", "[0.5, 0.25]"], {"x": {"options": {"sides": [0.5, 0.25]}}}),
        (
            ["--objective.terms.x", "{weight: 2, options: {by: gaze}}"],
            {"x": {"weight": 2, "options": {"by": "gaze"}}},
        ),
        (
            ["--objective.terms", '{"x": {"weight": 2}}', "--objective.terms.x.kind", "edge"],
            {"x": {"weight": 2, "kind": "edge"}},
        ),
    ],
)
def test_values_are_read_and_the_other_arguments_stay(words: list[str], values: dict[str, object]) -> None:
    others, found = split(["train", "--seed", "3", *words, "--data=x"], FIELDS)
    assert others == ["train", "--seed", "3", "--data=x"]
    assert found == {"objective.terms": values}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--objective.terms", "3"], "--objective.terms is not made of names and values"),
        (["--objective.terms.x.weight"], "--objective.terms.x.weight has no value"),
        (["--objective.terms.x.weight", "--seed"], "--objective.terms.x.weight has no value"),
        (["--objective.terms.x", "{weight: "], "cannot be read as YAML"),
    ],
)
def test_what_cannot_be_read_is_told(words: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        split(words, FIELDS)


def test_train_lays_each_given_field_over_the_experiments() -> None:
    assert trained_with("--experiment", "gain") == settings.resolve("gain")
    made = trained_with("--experiment", "gain", f"{MINING}.weight", "2", f"{MINING}.options.fill=mean")
    expected = {"attention_mining": {"weight": 2, "options": {"fill": "mean"}}}
    assert made == settings.resolve("gain", objective={"terms": expected})
    term = made.objective.terms["attention_mining"]
    assert (term.weight, term.kind, term.options["fill"], term.options["threshold"]) == (
        2,
        "perturbed",
        "mean",
        0.5,
    )


def test_train_lays_the_command_line_over_files_and_files_over_the_experiment(tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text(
        yaml.safe_dump({"objective": {"terms": {"attention_mining": {"weight": 2, "balance": "start"}}}})
    )
    terms = {"attention_mining": {"schedule": "warmup(0.5)"}, "more": {"kind": "edge", "weight": 0.5}}
    second.write_text(
        yaml.safe_dump({"objective": {"terms": terms, "heatmaps": {"inner": {"layer": "1/16"}}}})
    )
    files = ["--config", str(first), f"--config={second}"]
    made = trained_with("--experiment", "gain", *files, f"{MINING}.weight", "3")
    base = settings.resolve("gain").objective.terms["attention_mining"]
    assert made.objective.terms == {
        "attention_mining": TermConfig(
            3.0, "perturbed", balance="start", schedule="warmup(0.5)", options=base.options
        ),
        "more": TermConfig(0.5, "edge"),
    }
    assert made.objective.heatmaps["inner"].layer == "1/16"


def test_tune_and_reproduce_take_what_was_given_and_no_defaults() -> None:
    for verb in ("tune", "reproduce"):
        assert given(verb) == {}
        assert given(verb, f"{MINING}.weight", "2") == {"terms": {"attention_mining": {"weight": 2}}}
        assert given(verb, "--objective.terms", '{"attention_mining": {"weight": 2}}') == {
            "terms": {"attention_mining": {"weight": 2}}
        }
        assert given(verb, "--objective.heatmaps.h.margin=0") == {"heatmaps": {"h": {"margin": 0}}}


def test_a_search_holds_a_given_weight_of_a_term_and_leaves_its_kind(store: Store) -> None:
    terms = {"attention_mining": {"weight": 2.0, "schedule": "constant"}}
    search = plan_of_search(
        "gain", str(store.path), TuneOptions(trials=1), given={"objective": {"terms": terms}}
    )
    assert search.config.objective.terms["attention_mining"].kind == "perturbed"
    assert search.config.objective.terms["attention_mining"].weight == 2
    best = experiments.merge(experiments.load("gain"), search.given)
    assert settings.from_dict({**best, "experiment": "gain"}).objective.terms == search.config.objective.terms


def test_a_grid_lays_a_given_weight_of_a_term_over_its_experiments(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[Plan] = []

    def remember(plan: Plan, out: Path, options: ReproduceOptions) -> tuple[State, None]:
        plans.append(plan)
        return State(out, plan), None

    monkeypatch.setattr(grid, "reproduce", remember)
    words = [
        "reproduce",
        "--data",
        str(store.path),
        "--out",
        str(tmp_path / "grid"),
        "--only",
        "gain",
        "gain_ext",
    ]
    assert main([*words, "--seeds", "1", f"{MINING}.weight", "2"]) == 0
    for job in plans[0].jobs:
        term = job.config.objective.terms["attention_mining"]
        expected = settings.resolve(job.experiment).objective.terms["attention_mining"]
        assert (term.weight, term.kind, term.options) == (2, "perturbed", expected.options)


def test_a_misspelt_term_is_told_and_adds_none(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(
        UserError, match="has no kind, and the experiment gain has the terms attention_mining"
    ):
        plan_of_grid(
            store.path,
            ReproduceOptions(only=("gain",)),
            overrides={"objective": {"terms": {"mining": {"weight": 2}}}},
        )
    words = ["reproduce", "--data", str(store.path), "--out", str(tmp_path / "grid"), "--only", "baseline"]
    assert main([*words, f"{MINING}.weight", "2"]) == 2
    told = capsys.readouterr().err.strip()
    assert (
        "--objective.terms.attention_mining has no kind, and the experiment baseline has no further terms"
        in told
    )
    assert len(told.splitlines()) == 1


def test_a_printed_configuration_has_what_was_given(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "--experiment", "gain", f"{MINING}.weight", "2", "--print_config"]
    with pytest.raises(SystemExit):
        main(words)
    printed = yaml.safe_load(capsys.readouterr().out)["objective"]["terms"]["attention_mining"]
    assert (printed["weight"], printed["kind"]) == (2, "perturbed")
