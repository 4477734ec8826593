"""The benchmark of the comparison methods times a step that trains, of each of them."""

from __future__ import annotations

import pytest
import torch
from benchmarks.methods import PLAIN, Step, made_batch, run

from radgaze import experiments

TINY = {"encoder": "tu-test_efficientnet", "size": 64}


@pytest.mark.slow
def test_each_method_has_a_row_with_its_ratio_to_the_plain_step() -> None:
    result = run(batch=2, repeats=1, threads=1, **TINY)  # type: ignore[arg-type]  # of two types
    family = [each.name for each in experiments.catalogue() if each.family == "Comparison"]
    assert [row["experiment"] for row in result.rows] == [PLAIN, *family]
    assert result.rows[0]["ratio to plain"] == 1.0
    assert {row["bound"] for row in result.rows if row["runs again"] == "yes"} == {2.0}
    assert {row["bound"] for row in result.rows if row["runs again"] == "no"} == {2.2}


def test_the_timed_step_is_that_of_training() -> None:
    step = Step("gain", "tu-test_efficientnet", 64, made_batch(2, 64, "cpu"))
    before = [parameter.clone() for parameter in step.network.parameters()]
    assert step.seconds() > 0
    moved = [not torch.equal(a, b) for a, b in zip(before, step.network.parameters(), strict=True)]
    assert any(moved)
