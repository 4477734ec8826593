"""`radgaze reproduce` as its users meet it: what is given reaches every run; mistakes are told at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from radgaze.cli import main
from radgaze.cli.reproduce import show_tables
from radgaze.reproduction import grid
from radgaze.reproduction.options import ReproduceOptions
from radgaze.reproduction.planning import Plan
from radgaze.reproduction.state import State
from radgaze.store.store import Store
from tests.training.conftest import store

__all__ = ["store"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "set9"], "--only must be one of "),
        (["--jobs", "0"], "--jobs must be at least 1, got 0"),
        (["--seeds", "0"], "--seeds must be at least 1, got 0"),
        (["--ray-address", "auto"], "--ray-address needs --engine ray"),
        (["--input.size", "large"], "input.size"),
        (["--protocol", "faithful", "--cross-validate", "5"], "published split"),
        (["--stores", "marker=x"], "--stores needs --matrix reasons"),
        (["--matrix", "reasons"], "--matrix reasons needs --stores"),
        (["--matrix", "reasons", "--stores", "marker=x"], "leave out --data"),
    ],
)
def test_a_mistake_is_told_before_anything_is_written(
    arguments: list[str], said: str, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "grid"
    assert main(["reproduce", "--data", str(store.path), "--out", str(out), *arguments]) == 2
    told = capsys.readouterr().err.strip()
    assert said in told
    assert len(told.splitlines()) == 1
    assert not out.exists()


def test_fields_given_on_the_command_line_are_laid_over_all_experiments_and_no_others(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[Plan] = []

    def remember(plan: Plan, out: Path, options: ReproduceOptions) -> tuple[State, None]:
        seen.append(plan)
        ended = State(out, plan)
        ended.failed[plan.jobs[0].name] = "no reason"
        return ended, None

    monkeypatch.setattr(grid, "reproduce", remember)
    monkeypatch.setattr(Store, "knows_published", True)
    given = ["--protocol", "faithful", "--seed", "7", "--optimisation.learning_rate", "1e-3"]
    given += ["--model.decoder_channels=[16,8,8,4,4]", "--trainer.max_epochs=35"]  # 35 is the default
    assert main(["reproduce", "--data", str(store.path), "--out", str(tmp_path), *given]) == 1
    (plan,) = seen
    assert dict(plan.overrides) == {
        "optimisation": {"learning_rate": 1e-3},
        "model": {"decoder_channels": (16, 8, 8, 4, 4)},
        "trainer": {"max_epochs": 35},
    }
    assert {job.config.seed for job in plan.jobs} == {7}
    assert {job.config.trainer.max_epochs for job in plan.jobs} == {35}
    assert "failed: no reason" in capsys.readouterr().out


def test_the_tables_of_the_page_are_printed_as_far_as_there_are_any(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, tables = tmp_path / "index.html", tmp_path / "tables"
    show_tables(page, "reasons")  # no run on a store with a confounder is finished
    assert capsys.readouterr().out.split() == [str(page)]
    tables.mkdir()
    (tables / "reasons.md").write_text("of reasons\n", encoding="utf-8")
    show_tables(page, "reasons")
    assert "of reasons" in capsys.readouterr().out
