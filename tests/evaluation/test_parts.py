"""A damaged part of an audit is reported and measured again, and never taken for figures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from radgaze.evaluation.audit.aspects.sanity import CascadeSimilarity
from radgaze.evaluation.audit.cache import MethodMeasurements, load, rows, store

MADE_WITH = {"seed": 0, "cases": ["a", "b"]}


@pytest.fixture
def part(tmp_path: Path) -> MethodMeasurements:
    figures = rows("grad_cam", "agreement", ["a", "b"], {"cc": np.array([0.5, np.nan])})
    cascade = CascadeSimilarity("cascading", ("a",), {"ssim": [[1.0, None]]})
    whole = MethodMeasurements("grad_cam", figures, {"cost": {"forward_passes": 2.0}}, {"sanity": (cascade,)})
    store(whole, tmp_path, MADE_WITH)
    return whole


def test_a_part_is_read_back_as_it_was_kept(
    part: MethodMeasurements, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = load("grad_cam", tmp_path, MADE_WITH)
    assert found is not None
    assert found.figures.equals(part.figures)
    assert found.overall == part.overall
    assert found.details == part.details
    assert load("grad_cam", tmp_path, {**MADE_WITH, "seed": 1}) is None
    assert capsys.readouterr().err == ""


def deep(path: Path) -> None:
    path.write_text("[" * 100_000)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])


def pages(path: Path) -> None:
    """Bytes in the middle, which polars finds out only while it reads a column."""
    content = bytearray(path.read_bytes())
    content[4:60] = b"\xff" * 56
    path.write_bytes(content)


def other(path: Path) -> None:
    if path.suffix == ".json":
        path.write_text(json.dumps([1]))
    else:
        pl.DataFrame({"case_id": [1]}).write_parquet(path)


def no_numbers(path: Path) -> None:
    if path.suffix == ".json":
        path.write_text(
            json.dumps({**json.loads(path.read_text()), "details": {"sanity": [{"mode": "cascading"}]}})
        )
    else:
        pl.read_parquet(path).with_columns(value=pl.lit("x")).write_parquet(path)


@pytest.mark.parametrize(
    ("kind", "damage"),
    [(kind, way) for kind in ("json", "parquet") for way in (cut, other, no_numbers)]
    + [("json", deep), ("parquet", pages)],
)
def test_a_damaged_part_is_told_and_measured_again(
    kind: str,
    damage: Callable[[Path], None],
    part: MethodMeasurements,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(tmp_path / f"grad_cam.{kind}")
    assert load("grad_cam", tmp_path, MADE_WITH) is None
    said = " ".join(capsys.readouterr().err.split())
    assert f"grad_cam.{kind}" in said.replace(" ", "")
    assert "measured again" in said
