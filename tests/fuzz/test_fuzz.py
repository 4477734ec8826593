"""Few spoilt inputs of each kind; `make fuzz` tries many."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fuzz import runner
from tests.fuzz.mutate import spoil, spoil_value

COUNTS = {"dicom": 1500, "pictures": 1500, "tables": 120, "stores": 60, "runs": 20, "commands": 200}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", runner.KINDS)
def test_spoilt_inputs_are_read_or_refused(kind: str, tmp_path: Path) -> None:
    tally = runner.fuzz(kind, tmp_path / kind, seed=1, seconds=120, numbers=range(COUNTS[kind]))
    assert tally.faults == {}
    assert tally.outcomes["read"] > 0
    assert tally.outcomes["refused"] > 0


@pytest.mark.slow
def test_a_death_a_hang_and_an_exception_are_faults_with_their_number_and_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "HANG", 2.0)
    numbers, kept = range(12), tmp_path / "kept"
    tally = runner.fuzz("broken", tmp_path / "broken", seed=0, seconds=100, numbers=numbers, keep=kept)
    fates = {n: random.Random(f"0/broken/{n}").randrange(5) for n in numbers}
    expected = {0: "the process died, exit code 9", 1: "no answer within 2 s", 2: "ZeroDivisionError"}
    assert set(fates.values()) == {0, 1, 2, 3, 4}
    assert {n: word for n, word in tally.faults.items() if expected[fates[n]] not in word} == {}
    assert set(tally.faults) == {n for n, fate in fates.items() if fate in expected}
    assert tally.tries == len(numbers)
    for n in tally.faults:
        assert (kept / f"broken-0-{n}" / "input" / "made").exists()


def test_an_input_follows_from_its_seed_and_number_alone() -> None:
    for change in (
        lambda draw: spoil(bytes(500), draw),
        lambda draw: repr(spoil_value({"a": [1, {"b": 2}]}, draw)),
    ):
        assert change(random.Random("0/x/1")) == change(random.Random("0/x/1"))
        assert len({change(random.Random(f"0/x/{n}")) for n in range(20)}) > 5
