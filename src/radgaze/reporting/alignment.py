"""A figure of the gaze of each class that reports mention, to check an alignment by; it names no case."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from radgaze.console import progress
from radgaze.inspecting.inspection import GAZE
from radgaze.reporting.case_panels import Case, Panel, mosaic, over
from radgaze.reporting.layers import CONTOUR
from radgaze.reporting.style import save
from radgaze.store.batch import Batch
from radgaze.store.dataset import GazeDataset, collate
from radgaze.store.store import Store

SIZE = 320
"""Side in pixels of the radiographs and maps, before they are resized to the original shape."""
CASES, CLASSES = 4, 4
"""Largest numbers of cases, and of classes of each, that are drawn."""
SCALE = "share of the map's largest value;\npoints: fixations of the class, or all of them at the left"
_RADIUS = 4


def write_alignment(store: Store, path: Path) -> Path | None:
    """Write the figure of a store as PNG; None where no case has gaze of a class."""
    figure = alignment_figure(store)
    return None if figure is None else save(figure, path)


def alignment_figure(store: Store, *, seed: int = 0) -> Figure | None:
    """Draw the fixations and gaze map of each class, for some cases with most classes that have gaze.

    Args:
        store: The store.
        seed: Seed of the choice among cases with equally many classes.

    Returns:
        The figure, with a row for each case; None where no case has gaze of a class.
    """
    chosen = cases_with_most_classes(store, seed=seed)
    if not chosen:
        return None
    cases = GazeDataset(store, None, size=SIZE, gaze=replace(GAZE, per="class"))
    place = {case_id: i for i, case_id in enumerate(cases.case_ids)}
    shapes = dict(store.cases.select("case_id", store.cases["columns"] / store.cases["rows"]).iter_rows())
    rows = []
    with progress("Drawing the gaze of each class", total=len(chosen)) as bar:
        for number, case_id in enumerate(chosen, 1):
            batch = collate([cases[place[case_id]]])
            rows.append((f"Case {number}", list(_panels(batch, store.classes, float(shapes[case_id])))))
            bar.advance()
    return mosaic(rows, words=SCALE)


def cases_with_most_classes(store: Store, *, seed: int = 0) -> list[str]:
    """Choose at most `CASES` cases with gaze of the most classes, at random among equals."""
    mentions = store.mentions.filter((pl.col("share") > 0) & pl.col("label").is_in(list(store.classes)))
    gazed = mentions.join(store.fixations, on=["reading_id", "index"], how="semi")
    gazed = gazed.join(store.readings.select("reading_id", "case_id"), on="reading_id")
    counts = dict(gazed.group_by("case_id").agg(pl.col("label").n_unique()).iter_rows())
    ids = [case_id for case_id in store.cases["case_id"] if case_id in counts]
    rank = np.random.default_rng(seed).permutation(len(ids))
    order = sorted(range(len(ids)), key=lambda i: (-counts[ids[i]], rank[i]))
    return [ids[i] for i in order[:CASES]]


def _panels(batch: Batch, classes: tuple[str, ...], aspect: float) -> Iterator[Panel]:
    """The panels of one case: all its fixations, and gaze map and fixations of each class with gaze."""
    assert batch.class_weights is not None
    case = Case(
        case_id="",
        image=batch.image[0, 0].numpy(),
        heatmap=None,
        grad_cam=None,
        gaze=None,
        mask=None,
        truth="",
        predicted="",
        probability=0.0,
        aspect=aspect,
    )
    points = batch.points[0].numpy()
    every = (batch.weights[0] > 0).numpy()
    yield Panel("All fixations", dotted(case.grey, points[every]), f"{every.sum()}")
    of_class = (batch.class_weights[0] > 0).numpy()
    for k in np.flatnonzero(of_class.any(0))[:CLASSES]:
        gaze = batch.gaze_maps(classes=torch.tensor([int(k)]))[0, 0].numpy()
        panel = over(case, gaze, classes[k], "", outlined=False)
        assert panel.pixels is not None
        yield replace(
            panel, pixels=dotted(panel.pixels, points[of_class[:, k]]), note=f"{of_class[:, k].sum()}"
        )


def dotted(pixels: NDArray[np.uint8], points: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Draw fixations (K, 2), as (x, y) on a square of `SIZE` pixels, as points on a picture (h, w, 3)."""
    picture = Image.fromarray(pixels)
    draw = ImageDraw.Draw(picture)
    height, width = pixels.shape[:2]
    for x, y in points * [width / SIZE, height / SIZE]:
        draw.ellipse((x - _RADIUS, y - _RADIUS, x + _RADIUS, y + _RADIUS), outline=CONTOUR, width=2)
    drawn: NDArray[np.uint8] = np.asarray(picture)
    return drawn
