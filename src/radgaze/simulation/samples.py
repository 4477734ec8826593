"""Samples of a reading in the format of the eye tracker: 60 rows per second, 37 columns."""

from __future__ import annotations

import numpy as np
import polars as pl

from radgaze.simulation.gaze import PIXELS_PER_DEGREE, RATE, SCREEN, Pads, Scan
from radgaze.simulation.tables import GAZE

TICKS = 10_000_000


def log_samples(  # long: most of it is the 37 columns of the tracker's file
    scan: Scan, pads: Pads, *, session: str, media: int, dicom_id: str, start: float, rng: np.random.Generator
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Make all samples of a reading, and the last one of each fixation (the rows of fixations.csv).

    Args:
        scan: Fixations, in fractions of the screen.
        pads: Borders of the picture on the screen.
        session: SESSION_ID.
        media: MEDIA_ID, the position of the image in the session.
        dicom_id: DICOM_ID, truncated to 39 characters for a calibration frame.
        start: Clock of the tracker at the first sample, in seconds; "Time" restarts with each image.
        rng: Random generator of the reading.
    """
    steps = np.maximum(np.round(scan.duration * RATE).astype(int), 3)
    gaps = np.maximum(np.round(scan.saccade * RATE).astype(int), 1)
    pieces = np.stack([gaps, steps], 1).ravel()
    owner = np.repeat(np.repeat(np.arange(len(steps)), 2), pieces)
    fixed = np.repeat(np.tile([False, True], len(steps)), pieces)
    n = len(owner)
    count = np.arange(n)
    time = count / RATE
    first = np.cumsum(pieces)[0::2]  # the first sample of each fixation
    last = first + steps - 1
    within = np.where(fixed, count - first[owner], 0)

    fx, fy = np.round(scan.x, 5), np.round(scan.y, 5)
    previous = np.maximum(owner - 1, 0)
    along = np.where(fixed, 1.0, (count - (first[owner] - gaps[owner]) + 1) / (gaps[owner] + 1))
    jitter = rng.normal(0, 0.12 * PIXELS_PER_DEGREE, (2, n)) / np.array(SCREEN)[:, None]
    bx = fx[previous] + (fx[owner] - fx[previous]) * along + jitter[0]
    by = fy[previous] + (fy[owner] - fy[previous]) * along + jitter[1]
    # The tracker's estimate of a fixation converges with the number of samples.
    settle = np.where(fixed & (count != last[owner]), 1.0 / (within + 1), 0.0)
    gx = np.round(np.where(fixed, fx[owner] + settle * jitter[0], bx), 5)
    gy = np.round(np.where(fixed, fy[owner] + settle * jitter[1], by), 5)
    x, y = pads.to_image(gx, gy)

    pupil = 3.4 + 0.25 * np.sin(time / 3 + rng.uniform(0, 6)) + rng.normal(0, 0.03, n)
    head = np.cumsum(rng.normal(0, 2e-4, (2, n)), axis=1)
    step_x, step_y = np.diff(fx, prepend=fx[0]) * SCREEN[0], np.diff(fy, prepend=fy[0]) * SCREEN[1]
    landed = count == first[owner]
    blink = np.cumsum(rng.random(n) < 0.0035)
    one, zero = np.ones(n, np.int64), np.zeros(n, np.int64)
    columns = {
        "SESSION_ID": np.full(n, session),
        "MEDIA_ID": np.full(n, media),
        "DICOM_ID": np.full(n, dicom_id),
        "CNT": count,
        "Time (in secs)": time,
        "TIMETICK(f=10000000)": np.round((start + time) * TICKS).astype(np.int64),
        "FPOGX": gx,
        "FPOGY": gy,
        "FPOGS": time[first][owner],
        "FPOGD": np.where(fixed, within / RATE + 1 / RATE, 0.0),
        "FPOGID": owner + 1,
        "FPOGV": fixed.astype(np.int64),
        "BPOGX": bx,
        "BPOGY": by,
        "BPOGV": one,
        "LPCX": 0.41 + head[0],
        "LPCY": 0.52 + head[1],
        "LPD": 15.5 + 2 * (pupil - 3.4),
        "LPS": 1.02 + head[1],
        "LPV": one,
        "RPCX": 0.57 + head[0],
        "RPCY": 0.53 + head[1],
        "RPD": 15.7 + 2 * (pupil - 3.4),
        "RPS": 1.01 + head[1],
        "RPV": one,
        "BKID": zero,
        "BKDUR": np.zeros(n),
        "BKPMIN": blink,
        "LPMM": pupil,
        "LPMMV": one,
        "RPMM": pupil + 0.05,
        "RPMMV": one,
        "SACCADE_MAG": np.where(landed, np.hypot(step_x, step_y)[owner], 0.0),
        "SACCADE_DIR": np.where(landed, np.degrees(np.arctan2(-step_y, step_x))[owner] % 360, 0.0),
        "VID_FRAME": (time * 30).astype(np.int64),
        "X_ORIGINAL": x,
        "Y_ORIGINAL": y,
    }
    samples = pl.DataFrame(columns).select(GAZE)
    return samples, samples[last.tolist()]
