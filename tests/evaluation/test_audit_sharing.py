"""Work that several methods of an audit have in common is done once, and no figure changes by that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from radgaze.evaluation.audit import measuring
from radgaze.evaluation.audit.cache import MethodMeasurements
from tests.evaluation.fakes import FakeRun, cases
from tests.evaluation.test_audit import Deep, DeepRun, audited

METHODS = ("backprop", "guided_backprop", "grad_cam", "smooth_grad", "guided_smooth_grad")
PROBED, STEPS, SUBSETS = 4, 3, 3
"""As `audited` sets them."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FakeRun:
    return DeepRun(tmp_path_factory.mktemp("run"), cases(test=6))


def figures(run: FakeRun, out: Path, methods: Sequence[str], **options: object) -> pl.DataFrame:
    found = audited(run, out, methods=tuple(methods), batch_size=4, passes=2, **options)
    return found.cases.filter(pl.col("method").is_in(methods))


def alike(one: pl.DataFrame, other: pl.DataFrame) -> None:
    keys = ["case_id", "method", "aspect", "metric"]
    one, other = one.sort(keys), other.sort(keys)
    assert one.select(keys).equals(other.select(keys))
    first, second = (table["value"].cast(pl.Float64).to_numpy() for table in (one, other))
    np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-4)


def test_methods_together_have_the_figures_of_each_audited_by_itself(run: FakeRun, tmp_path: Path) -> None:
    whole = figures(run, tmp_path / "whole", METHODS)
    alone = pl.concat([figures(run, tmp_path / name, [name]) for name in METHODS])
    alike(whole, alone)
    assert set(whole["aspect"]) == {"agreement", "faithfulness", "sanity", "stability"}


def test_groups_that_memory_bounds_have_the_same_figures(
    run: FakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = figures(run, tmp_path / "whole", METHODS)
    monkeypatch.setattr(measuring, "MOST_BYTES", 1)
    alike(whole, figures(run, tmp_path / "small", METHODS))


def test_a_stored_method_is_not_made_again_with_its_group(
    run: FakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures(run, tmp_path, METHODS[:2])
    groups: list[tuple[str, ...]] = []
    whole = measuring.Benchmark._group

    def group(bench: measuring.Benchmark, names: tuple[str, ...]) -> object:
        groups.append(names)
        return whole(bench, names)

    monkeypatch.setattr(measuring.Benchmark, "_group", group)
    figures(run, tmp_path, METHODS)
    assert groups == [("grad_cam",), ("smooth_grad", "guided_smooth_grad")]


@dataclass(frozen=True)
class CountedRun(DeepRun):
    """Counts the images that its model is run on."""

    counts: list[int] = None  # type: ignore[assignment]

    def model(self, device: str = "cpu") -> nn.Module:
        made = Deep().eval()
        made.register_forward_pre_hook(lambda module, args: self.counts.append(len(args[0])))
        return made


def test_scores_that_no_map_changes_are_computed_for_the_first_map_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole image, the blurred one and sensitivity-n's sets; and for all others the steps in between."""
    run = CountedRun(tmp_path / "run", cases(test=6), counts=[])
    images: dict[str, int] = {}
    whole = measuring.Benchmark.measure

    def measure(bench: measuring.Benchmark, name: str) -> MethodMeasurements:
        run.counts.clear()
        found = whole(bench, name)
        images[name] = sum(run.counts)
        return found

    monkeypatch.setattr(measuring.Benchmark, "measure", measure)
    audited(run, tmp_path / "out", methods=("backprop", "guided_backprop", "grad_cam"))
    between = 2 * (STEPS - 1) * PROBED
    floors = list(images)[:3]
    assert images[floors[0]] == between + (2 + 1 + SUBSETS) * PROBED
    assert images[floors[1]] == images[floors[2]] == between
    assert images["guided_backprop"] == images["grad_cam"] == between
    assert images["backprop"] > between  # the maps of all three


def test_the_last_layer_alone_is_randomised_once(run: FakeRun, tmp_path: Path) -> None:
    found = audited(run, tmp_path, methods=("backprop",), stages=3)
    cascades = found.results.methods["backprop"].details["sanity"].cascades  # type: ignore[attr-defined]
    by_mode = {cascade.mode: cascade for cascade in cascades}
    assert by_mode["cascading"].layers == by_mode["independent"].layers
    first = [by_mode[mode].rank_correlation[0] for mode in ("cascading", "independent")]
    assert first[0] == first[1]
    assert by_mode["cascading"].rank_correlation[1:] != by_mode["independent"].rank_correlation[1:]


def test_the_map_of_one_case_is_timed_too(run: FakeRun, tmp_path: Path) -> None:
    torch.manual_seed(0)
    found = audited(run, tmp_path, methods=("grad_cam",), cases=1, probed=1)
    cost = found.results.methods["grad_cam"].figures["cost"]
    assert cost["forward_passes"].value is not None
    assert cost["forward_passes"].value > 0
