from __future__ import annotations

import csv
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from radgaze.simulation.anatomy import Pose, Shape, Thorax
from radgaze.simulation.marker import burn
from radgaze.simulation.plan import CLASSES, MARKERS


@pytest.mark.parametrize("kind", MARKERS)
def test_markers_stay_off_the_lungs_and_the_heart(kind: str) -> None:
    for seed in range(120):
        rng = np.random.default_rng(seed)
        thorax = Thorax.draw(rng)
        pose = Pose.draw(rng, thorax, 256)
        shape = Shape(thorax, pose, 0.6)
        _, (x1, y1, x2, y2) = burn(np.zeros((pose.height, pose.width), np.uint16), kind, rng)
        assert 0 <= x1 < x2 <= pose.width
        assert 0 <= y1 < y2 <= pose.height
        x, y = np.meshgrid(np.linspace(x1, x2, 9), np.linspace(y1, y2, 9))
        c, s = np.cos(pose.tilt), np.sin(pose.tilt)
        dx, dy = x - pose.width / 2, y - pose.height / 2  # undo the tilt, by hand
        u = (c * dx + s * dy + pose.width / 2 - pose.origin_x) / pose.scale
        v = (-s * dx + c * dy + pose.height / 2 - pose.origin_y) / pose.scale
        for one_u, one_v in zip(u.ravel(), v.ravel(), strict=True):
            here = np.array([[one_u]], np.float32), np.array([[one_v]], np.float32)
            assert shape.lungs(*here)[0, 0] < 30, (kind, seed)


def test_a_marker_changes_its_box_and_nothing_else_and_is_bright() -> None:
    rng = np.random.default_rng(0)
    before = rng.integers(500, 2500, (300, 250)).astype(np.uint16)
    for kind in MARKERS:
        after, (x1, y1, x2, y2) = burn(before, kind, np.random.default_rng(1))
        changed = np.argwhere(after != before)
        assert changed[:, 0].min() >= y1
        assert changed[:, 0].max() < y2
        assert changed[:, 1].min() >= x1
        assert changed[:, 1].max() < x2
        inside = after[int(y1) : int(y2), int(x1) : int(x2)]
        assert inside.max() >= 0.95 * before.max()
        assert 0.02 < (inside.shape[0] * inside.shape[1] / before.size) ** 0.5 < 0.12


def test_the_three_markers_are_unlike_each_other_at_the_size_a_model_sees() -> None:
    blank = np.full((1024, 850), 800, np.uint16)
    blank[0, 0] = 3800
    seen = []
    for kind in MARKERS:
        after, _ = burn(blank, kind, np.random.default_rng(1))
        seen.append(after[:1016, :848].astype(float).reshape(127, 8, 106, 8).mean((1, 3)))
    for a, b in pairwise([*seen, seen[0]]):
        assert (np.abs(a - b) > 600).sum() > 12


def test_in_the_archive_the_marker_tells_the_class_in_training_and_not_in_test(archive: Path) -> None:
    with (archive / "truth.csv").open(newline="") as file:
        cases = [row for row in csv.DictReader(file) if row["structure"] == "marker"]
    followed: Counter[tuple[bool, bool]] = Counter()
    for row in cases:
        followed[row["split"] == "test", MARKERS[CLASSES.index(row["diagnosis"])] == row["marker"]] += 1
    assert followed[False, False] == 0
    assert followed[False, True] > 25
    assert followed[True, False] > 0
