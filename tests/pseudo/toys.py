"""Toy data with two redundant rules, each of which tells the class alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from radgaze.sources.cohort import Cohort
from radgaze.store.store import Store
from tests.stores import prepare

SIDE = 32
FIRST, SECOND = (slice(4, 8), slice(4, 8)), (slice(18, 30), slice(18, 30))
"""The squares of the two rules: rows and columns."""
CLASSES = ("dark", "bright")
BRIGHTNESS, STRIPES, NOISE = 0.4, 0.2, 0.1


def drawn(first: np.ndarray, second: np.ndarray, seed: int) -> np.ndarray:
    """Draw images (N, 32, 32) in [0, 1] of noise with two squares.

    Args:
        first: What the first square says, (N,): 1 if it is bright, 0 if it is dark.
        second: What the second square says, (N,): 1 if its stripes are vertical, 0 if they are horizontal.
        seed: Random seed.
    """
    random = np.random.default_rng(seed)
    images = 0.5 + NOISE * random.standard_normal((len(first), SIDE, SIDE))
    images[(slice(None), *FIRST)] += BRIGHTNESS * (2 * first - 1)[:, None, None]
    stripes = np.where(np.arange(12) // 2 % 2, STRIPES, -STRIPES)
    vertical = np.broadcast_to(stripes, (12, 12))
    images[(slice(None), *SECOND)] += np.where(second[:, None, None], vertical, vertical.T)
    return images.clip(0, 1)


def two_rules(folder: Path, cases: int = 288, seed: int = 0) -> Store:
    """Prepare a store of such images, a patient each: two of three for training, the others by halves."""
    labels = np.arange(cases) % 2
    folder.mkdir(parents=True)
    rows = []
    for i, (label, image) in enumerate(zip(labels, drawn(labels, labels, seed), strict=True)):
        file = folder / f"{i}.png"
        Image.fromarray(np.rint(image * 255).astype(np.uint8)).save(file)
        split = "train" if i < 2 * cases // 3 else "validate" if i < 5 * cases // 6 else "test"
        rows.append(
            {
                "case_id": f"case-{i:03}",
                "patient": i,
                "split": split,
                "image": str(file),
                **{f"label_{name}": int(label == k) for k, name in enumerate(CLASSES)},
            }
        )
    schema = {"patient": pl.Int32, **{f"label_{name}": pl.Int8 for name in CLASSES}}
    cases_ = pl.DataFrame(rows, schema_overrides=schema)
    cohort = Cohort(source="toy", classes=CLASSES, cases=cases_, parameters={"seed": seed})
    return prepare(cohort, folder / "store", size=SIDE, workers=1)
