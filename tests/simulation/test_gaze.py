from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np

from radgaze.simulation.anatomy import Pose, Shape, Thorax
from radgaze.simulation.disease import Findings, regions
from radgaze.simulation.gaze import Pads, Scan, read
from radgaze.simulation.marker import burn
from radgaze.simulation.plan import MARKERS

KINDS = ("Normal", "CHF", "pneumonia")

Region = tuple[str, float, float, float, float]


def reading(diagnosis: str, seed: int) -> tuple[Shape, list[Region], tuple[float, ...], Scan]:
    rng = np.random.default_rng([KINDS.index(diagnosis), seed])
    thorax = Thorax.draw(rng)
    pose = Pose.draw(rng, thorax, 512)
    findings = Findings.draw(rng, diagnosis, thorax, pose)
    shape = Shape(thorax, pose, findings.ratio)
    _, marker = burn(np.ones((pose.height, pose.width), np.uint16), MARKERS[seed % 3], rng)
    return shape, regions(findings, shape), marker, read(shape, regions(findings, shape), marker, rng)


def on_image(shape: Shape, scan: Scan) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, y = Pads.of(shape.pose.width, shape.pose.height).to_image(scan.x, scan.y)
    return x, y, (x >= 0) & (y >= 0)


def test_durations_are_log_normal_about_a_quarter_second_and_there_are_some_45_fixations() -> None:
    scans = [reading(kind, seed)[3] for kind in KINDS for seed in range(60)]
    durations = np.concatenate([scan.duration for scan in scans])
    assert 0.22 < np.median(durations) < 0.33
    logs = np.log(durations)
    assert abs(np.mean((logs - logs.mean()) ** 3) / logs.std() ** 3) < 0.3, "skewed on the log scale"
    assert 38 < np.mean([len(scan.duration) for scan in scans]) < 52


def test_gaze_dwells_on_the_opacity_many_times_longer_than_chance() -> None:
    share, chance = [], []
    for seed in range(40):
        shape, abnormal, _, scan = reading("pneumonia", seed)
        x, y, on = on_image(shape, scan)
        hit = np.zeros(len(x), bool)
        area = np.zeros((shape.pose.height, shape.pose.width), bool)
        for _, u1, v1, u2, v2 in abnormal:
            bx, by = shape.pose.to_pixels([u1, u2], [v1, v2])
            hit |= (x >= bx.min()) & (x <= bx.max()) & (y >= by.min()) & (y <= by.max())
            area[max(0, int(by.min())) : int(by.max()), max(0, int(bx.min())) : int(bx.max())] = True
        share.append(scan.duration[hit & on].sum() / scan.duration.sum())
        chance.append(area.mean())
    assert np.mean(share) > 5 * np.mean(chance)
    assert np.mean(share) > 0.25


def test_gaze_never_visits_the_marker() -> None:
    for kind in KINDS:
        for seed in range(60):
            shape, _, (x1, y1, x2, y2), scan = reading(kind, seed)
            x, y, _ = on_image(shape, scan)
            assert not ((x >= x1) & (x <= x2) & (y >= y1) & (y <= y2)).any()


def test_in_the_archive_too_no_fixation_lies_on_a_marker(archive: Path) -> None:
    with (archive / "truth.csv").open(newline="") as file:
        boxes = {
            row["case_id"]: [float(row[edge]) for edge in ("x1", "y1", "x2", "y2")]
            for row in csv.DictReader(file)
            if row["structure"] == "marker"
        }
    with (archive / "egd" / "fixations.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["DICOM_ID"] in boxes:
                x1, y1, x2, y2 = boxes[row["DICOM_ID"]]
                x, y = int(row["X_ORIGINAL"]), int(row["Y_ORIGINAL"])
                assert not (x1 <= x <= x2 and y1 <= y <= y2)


def test_both_lungs_and_the_heart_are_searched() -> None:
    seen: dict[str, list[bool]] = defaultdict(list)
    for seed in range(30):
        shape, _, _, scan = reading("Normal", seed)
        x, _, on = on_image(shape, scan)
        u = (x - shape.pose.origin_x) / shape.pose.scale
        seen["right"].append(bool((on & (u < -40)).any()))
        seen["left"].append(bool((on & (u > 60)).any()))
        seen["middle"].append(bool((on & (abs(u) < 30)).any()))
    assert all(np.mean(hits) > 0.95 for hits in seen.values())


def test_some_glances_leave_the_image_and_most_do_not() -> None:
    off = [~on_image(shape, scan)[2] for shape, _, _, scan in (reading("CHF", seed) for seed in range(60))]
    assert 0.002 < np.concatenate(off).mean() < 0.06


def test_pads_map_screen_and_image_onto_each_other() -> None:
    for width, height in ((2544, 3056), (3056, 2544), (851, 1024), (1023, 860)):
        pads = Pads.of(width, height)
        x, y = np.array([3.0, width / 2, width - 3.0]), np.array([3.0, height / 2, height - 3.0])
        back_x, back_y = pads.to_image(*pads.to_screen(x, y))
        assert np.abs(back_x + 0.5 - x).max() <= 0.51
        assert np.abs(back_y + 0.5 - y).max() <= 0.51
        outside = pads.to_image(np.array([-0.01, 1.01, 0.5, 0.5]), np.array([0.5, 0.5, -0.01, 1.01]))
        assert (np.stack(outside) < 0).all()
