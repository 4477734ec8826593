from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from radgaze.simulation import SimulationOptions, simulate
from radgaze.simulation.anatomy import Pose, Shape, Thorax
from radgaze.simulation.disease import Findings, regions
from radgaze.simulation.gaze import Pads, Scan, read
from radgaze.simulation.readers import IDEAL, PRESETS, Readers, as_recorded

BOX = (100.0, 40.0, 130.0, 80.0)


def reading(seed: int) -> tuple[Scan, Pads]:
    rng = np.random.default_rng(seed)
    thorax = Thorax.draw(rng)
    pose = Pose.draw(rng, thorax, 512)
    findings = Findings.draw(rng, "pneumonia", thorax, pose)
    shape = Shape(thorax, pose, findings.ratio)
    return read(shape, regions(findings, shape), None, rng), Pads.of(pose.width, pose.height)


def test_the_tracking_offset_has_the_given_mean_and_moves_a_whole_reading_alike() -> None:
    distances = []
    for seed in range(400):
        scan, pads = reading(seed % 5)
        moved = as_recorded(scan, Readers(tracking_offset=1.5), [BOX], pads, np.random.default_rng(seed))
        dx, dy = (moved.x - scan.x) * 1920, (moved.y - scan.y) * 1080
        assert np.ptp(dx) < 1e-9
        assert np.ptp(dy) < 1e-9
        distances.append(np.hypot(dx[0], dy[0]) / 38.0)  # 38 screen pixels in a degree
    # A Rayleigh distribution has a standard deviation of .52 of its mean.
    assert np.mean(distances) == pytest.approx(1.5, abs=4 * 0.52 * 1.5 / np.sqrt(400))


def test_duration_noise_has_the_given_standard_deviation_on_the_log_scale() -> None:
    logs = []
    for seed in range(40):
        scan, pads = reading(seed)
        noisy = as_recorded(scan, Readers(duration_noise=0.3), [], pads, np.random.default_rng(seed))
        inside = (noisy.duration > 0.07) & (noisy.duration < 2.2)
        logs.append(np.log(noisy.duration / scan.duration)[inside])
    assert np.concatenate(logs).std() == pytest.approx(0.3, abs=0.02)


def test_glances_have_the_given_mean_lie_on_the_confounder_and_are_short() -> None:
    counts, durations = [], []
    for seed in range(200):
        scan, pads = reading(seed % 5)
        seen = as_recorded(scan, Readers(glances=0.8), [BOX, BOX], pads, np.random.default_rng(seed))
        counts.append(len(seen.x) - len(scan.x))
        new = ~np.isin(seen.duration, scan.duration)
        x, y = pads.to_image(seen.x[new], seen.y[new])
        assert ((x >= BOX[0]) & (x <= BOX[2]) & (y >= BOX[1]) & (y <= BOX[3])).all()
        durations += seen.duration[new].tolist()
        # The other fixations keep their order.
        np.testing.assert_array_equal(seen.x[~new], scan.x)
    assert np.mean(counts) == pytest.approx(1.6, abs=4 * np.sqrt(1.6 / 200))
    assert 0.15 < np.median(durations) < 0.25


def test_an_ideal_reader_changes_nothing() -> None:
    scan, pads = reading(1)
    same = as_recorded(scan, IDEAL, [BOX], pads, np.random.default_rng(0))
    for name in ("x", "y", "duration", "saccade"):
        np.testing.assert_allclose(getattr(same, name), getattr(scan, name), rtol=1e-12)


def test_the_default_is_ideal_unless_a_confounder_is_given() -> None:
    assert SimulationOptions("out").quality == IDEAL
    assert SimulationOptions("out", confounding=0.9).quality == IDEAL
    assert SimulationOptions("out", confounder=("device=1",)).quality == PRESETS["typical"]
    assert SimulationOptions("out", confounder=("device=1",), readers="ideal").quality == IDEAL
    changed = SimulationOptions("out", readers="poor", search_only=0.5).quality
    assert changed == replace(PRESETS["poor"], search_only=0.5)
    assert not SimulationOptions("out", readers="ideal", glances=2.0).quality.avoids_marker


def test_the_share_of_readings_that_only_search_is_the_given_one_and_they_do_not_dwell(
    tmp_path: Path,
) -> None:
    options = SimulationOptions(
        tmp_path / "out", patients=60, pixels=64, readers="ideal", search_only=0.4, faults=False, workers=1
    )
    simulate(options)
    with (tmp_path / "out/truth.csv").open(newline="") as file:
        truth = list(csv.DictReader(file))
    opacities = defaultdict(list)
    only = {}
    for row in truth:
        if row["diagnosis"] != "Normal":
            only[row["case_id"]] = row["search_only"] == "1"
        else:
            assert row["search_only"] == "0"
        if row["structure"] == "opacity":
            opacities[row["case_id"]].append([float(row[key]) for key in ("x1", "y1", "x2", "y2")])
    assert np.mean(list(only.values())) == pytest.approx(0.4, abs=4 * np.sqrt(0.24 / len(only)))
    assert 0 < sum(only.values()) < len(only)
    inside, total = defaultdict[str, float](float), defaultdict[str, float](float)
    with (tmp_path / "out/egd/fixations.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            case, x, y = row["DICOM_ID"], float(row["X_ORIGINAL"]), float(row["Y_ORIGINAL"])
            total[case] += float(row["FPOGD"])
            if any(x1 <= x <= x2 and y1 <= y <= y2 for x1, y1, x2, y2 in opacities[case]):
                inside[case] += float(row["FPOGD"])
    share = {case: inside[case] / total[case] for case in opacities if case in only}
    searched = [value for case, value in share.items() if only[case]]
    dwelt = [value for case, value in share.items() if not only[case]]
    assert np.mean(dwelt) > 2 * np.mean(searched)
