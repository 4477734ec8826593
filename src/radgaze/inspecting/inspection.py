"""Inspection of a store: counts, image sizes, gaze, mean gaze maps, and agreement between readers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Subset

from radgaze.evaluation.interval_estimate import IntervalEstimate
from radgaze.evaluation.metrics import agreement
from radgaze.evaluation.statistics.case_means import means
from radgaze.evaluation.statistics.policy import bootstrap
from radgaze.gaze.spec import GazeMaps
from radgaze.inspecting.options import InspectOptions
from radgaze.sources.contents import SPLITS
from radgaze.store.batch import Batch
from radgaze.store.boxes import strips
from radgaze.store.dataset import GazeDataset, collate
from radgaze.store.readers import each_against_others
from radgaze.store.store import Store

Floats = NDArray[np.float64]

SIDE = 128
"""Side of the maps, in pixels."""
GRID = 48
"""Number of cells, along each side, of the grid on which coverage is computed."""
MOST_IMAGES = 300
"""Largest number of radiographs in the mean radiograph of a class."""
BATCH = 32
"""Number of cases that are read at once."""
EXAMPLES = 3
"""Largest number of examples of a reason of rejection."""
BETWEEN = tuple(name for name, metric in agreement.METRICS.items() if metric.needs != "others")
"""Metrics of agreement that are computed between readers."""

GAZE = GazeMaps(sigma=0.05, unit="share", boxes="attention")
"""Settings of gaze maps: the published 150 pixels on a radiograph of 3,000, in proportion on others."""


@dataclass(frozen=True)
class Average:
    """The mean radiograph and the mean gaze map of a class, both stretched to a square.

    Attributes:
        image: Grey values in [0, 1], an array of shape (SIDE, SIDE).
        gaze: Mean of the gaze maps, or of the maps of boxes and masks, of the cases that have either, an
            array of shape (SIDE, SIDE); None where no case has.
        cases: Number of cases in `gaze`.
        of_boxes: Number of these cases that have boxes or masks in place of gaze.
    """

    image: Floats
    gaze: Floats | None
    cases: int
    of_boxes: int


@dataclass(frozen=True)
class Inspection:
    """The content of a store in numbers. Tables are listed by their columns.

    Attributes:
        classes: Names of the classes.
        counts: Table of split, cases, patients, with_several (patients with several cases), with_gaze,
            with_boxes, with_masks, and a count for each class; a row for each split and one for "all".
        classes_per_case: Table of classes (number of classes of a case) and cases.
        readers: Table of reader (null for readings without a name), readings, cases and fixations.
        rejections: Table of reason, count and examples (ids of at most EXAMPLES cases or readings).
        sizes: Table of columns and rows, in original pixels, and cases; the most frequent size first.
        readings: Table of reading_id, recorded and on_image (numbers of fixations), duration (s), and
            coverage (share of the radiograph within 5% of its long side of a fixation).
        fixations: Table of duration (s).
        boxes: Table of label, boxes, cases and area (median share of the radiograph).
        masks: Table of label, masks, cases and area (median share of the radiograph).
        averages: The mean radiograph and gaze map of each class.
        between: Table of metric, value, low and high: each reader's gaze compared with that of all other
            readers, as mean over cases with a 95% interval over patients, whose ends are null for very few
            patients. Empty where no case has several readers.
        several_readers: Number of cases with several readers.
    """

    classes: tuple[str, ...]
    counts: pl.DataFrame
    classes_per_case: pl.DataFrame
    readers: pl.DataFrame
    rejections: pl.DataFrame
    sizes: pl.DataFrame
    readings: pl.DataFrame
    fixations: pl.DataFrame
    boxes: pl.DataFrame
    masks: pl.DataFrame
    averages: Mapping[str, Average]
    between: pl.DataFrame
    several_readers: int

    def quantiles(self) -> dict[str, dict[str, float]]:
        """Compute the minimum, quartiles and maximum of readings and fixations; empty without gaze."""
        columns = {
            "fixations per reading": self.readings["recorded"],
            "of these on the image": self.readings["on_image"],
            "seconds per reading": self.readings["duration"],
            "coverage": self.readings["coverage"],
            "seconds per fixation": self.fixations["duration"],
        }
        shares = {"least": 0.0, "quarter": 0.25, "median": 0.5, "three quarters": 0.75, "most": 1.0}
        return {
            name: {word: float(np.quantile(values.to_numpy(), q)) for word, q in shares.items()}
            for name, values in columns.items()
            if len(values)
        }

    def between_readers(self) -> dict[str, IntervalEstimate]:
        """Return the agreement between readers, by metric."""
        return {
            metric: IntervalEstimate(value, low, high)
            for metric, value, low, high in self.between.select("metric", "value", "low", "high").iter_rows()
        }

    def as_json(self) -> dict[str, object]:
        """Return all content but the maps, readings and fixations as plain values."""
        tables = ("counts", "classes_per_case", "readers", "rejections", "sizes", "boxes", "masks", "between")
        return {
            "classes": list(self.classes),
            **{name: getattr(self, name).to_dicts() for name in tables},
            "quantiles": self.quantiles(),
            "several_readers": self.several_readers,
        }


def inspect(
    store: Store,
    options: InspectOptions | None = None,
    *,
    advance: Callable[[float], None] = lambda cases: None,
) -> Inspection:
    """Inspect a store.

    Args:
        store: The store.
        options: The options; the seed also selects the radiographs of a mean.
        advance: Function that is called with the number of cases whose images were read.
    """
    options = options or InspectOptions()
    between, cases = _between(store, options)
    return Inspection(
        classes=store.classes,
        counts=_counts(store),
        classes_per_case=_classes_per_case(store),
        readers=_readers(store),
        rejections=_rejections(store),
        sizes=store.cases.group_by("columns", "rows")
        .agg(cases=pl.len())
        .sort("cases", "columns", "rows", descending=[True, False, False]),
        readings=_readings(store),
        fixations=store.fixations.select("duration"),
        boxes=_boxes(store),
        masks=_masks(store),
        averages=_averages(store, options.seed, advance),
        between=between,
        several_readers=cases,
    )


def images_to_read(store: Store, seed: int = 0) -> int:
    """Count the cases whose images `inspect` reads, for a progress bar.

    Args:
        store: The store.
        seed: Seed of the options.
    """
    gazed = GazeDataset(store, None, size=SIDE, gaze=GAZE)
    return sum(len(_averaged(gazed, k, seed)) for k in range(len(store.classes)))


def covered(points: Floats, shape: tuple[int, int], radius: float) -> float:
    """Compute the share of a radiograph within a radius of a fixation, on a grid of GRID × GRID cells.

    Args:
        points: Fixations as (x, y) in image pixels, an array of shape (K, 2).
        shape: Rows and columns of the radiograph.
        radius: Radius in image pixels.
    """
    rows, columns = shape
    centre = (np.arange(GRID) + 0.5) / GRID
    dx = points[:, 0, None] - centre * columns
    dy = points[:, 1, None] - centre * rows
    near = dx[:, None, :] ** 2 + dy[:, :, None] ** 2 <= radius**2
    return float(near.any(0).mean()) if len(points) else 0.0


def _counts(store: Store) -> pl.DataFrame:
    gazed = store.fixations.join(store.readings, on="reading_id")["case_id"].unique()
    cases = store.cases.with_columns(
        with_gaze=pl.col("case_id").is_in(gazed.implode()),
        with_boxes=pl.col("case_id").is_in(store.boxes["case_id"].unique().implode()),
        with_masks=pl.col("case_id").is_in(store.regions.table["case_id"].unique().implode()),
    )
    columns = [
        pl.len().alias("cases"),
        pl.col("patient").n_unique().alias("patients"),
        # Where such patients are rarer in one split than in another, the splits are not exchangeable.
        (pl.col("patient").value_counts().struct.field("count") > 1).sum().alias("with_several"),
        pl.col("with_gaze", "with_boxes", "with_masks").cast(pl.Int64).sum(),
        *(pl.col(f"label_{name}").cast(pl.Int64).sum().alias(name) for name in store.classes),
    ]
    rows = [(split, cases.filter(split=split)) for split in SPLITS] + [("all", cases)]
    return pl.concat(
        part.select(columns).select(pl.lit(split).alias("split"), pl.all().cast(pl.Int64))
        for split, part in rows
    )


def _classes_per_case(store: Store) -> pl.DataFrame:
    each = store.cases.select(classes=pl.sum_horizontal(f"label_{name}" for name in store.classes))
    return each.group_by("classes").agg(cases=pl.len()).sort("classes")


def _readers(store: Store) -> pl.DataFrame:
    return (
        store.readings.group_by("reader")
        .agg(readings=pl.len(), cases=pl.col("case_id").n_unique(), fixations=pl.col("recorded").sum())
        .sort("reader", nulls_last=True)
    )


def _rejections(store: Store) -> pl.DataFrame:
    # The details are left out, since messages of a source may contain paths; they are in rejections.csv.
    named = store.rejections.with_columns(example=pl.coalesce("reading_id", "case_id"))
    return (
        named.group_by("reason", maintain_order=True)
        .agg(
            count=pl.len(),
            examples=pl.col("example").drop_nulls().unique(maintain_order=True).head(EXAMPLES),
        )
        .sort("count", "reason", descending=[True, False])
    )


def _readings(store: Store) -> pl.DataFrame:
    points_of_reading = store.fixations.group_by("reading_id").agg("x", "y")
    shapes = store.cases.select("case_id", "rows", "columns")
    readings = store.readings.join(shapes, on="case_id", how="left", maintain_order="left").join(
        points_of_reading, on="reading_id", how="left", maintain_order="left"
    )
    on_image, coverage = list[int](), list[float]()
    for x, y, rows, columns in readings.select("x", "y", "rows", "columns").iter_rows():
        points = np.array([x or [], y or []], dtype=np.float64).T
        on_image.append(len(points))
        coverage.append(covered(points, (rows, columns), GAZE.sigma * max(rows, columns)))
    return readings.select("reading_id", "recorded", "duration").with_columns(
        on_image=pl.Series(on_image, dtype=pl.Int64), coverage=pl.Series(coverage, dtype=pl.Float64)
    )


def _boxes(store: Store) -> pl.DataFrame:
    boxes = store.boxes.join(store.cases.select("case_id", "rows", "columns"), on="case_id")
    return (
        boxes.with_columns(area=_areas(boxes))
        .group_by("label")
        .agg(boxes=pl.len(), cases=pl.col("case_id").n_unique(), area=pl.col("area").median())
        .sort("boxes", "label", descending=[True, False])
    )


def _areas(boxes: pl.DataFrame) -> pl.Series:
    """Shares of the radiographs that boxes and ellipses cover, which may extend beyond them."""
    corners = boxes.select("x1", "y1", "x2", "y2").to_numpy().astype(np.float32).reshape(-1, 4)
    shape = pl.col("shape") if "shape" in boxes.columns else pl.lit("box")
    ellipses = boxes.with_columns(ellipse=shape == "ellipse")["ellipse"].to_numpy()
    parts, which = strips(corners, ellipses)
    sides = boxes.select("columns", "rows").to_numpy().astype(np.float64)
    within = parts.reshape(-1, 2, 2).clip(0, sides[which, None])
    areas = np.bincount(which, np.diff(within, axis=1)[:, 0].prod(1), minlength=len(boxes))
    return pl.Series("area", areas / sides.prod(1))


def _masks(store: Store) -> pl.DataFrame:
    shapes = store.cases.select("case_id", whole=pl.col("rows") * pl.col("columns") * pl.col("scale") ** 2)
    return (
        store.regions.table.join(shapes, on="case_id")
        .group_by("label")
        .agg(
            masks=pl.len(),
            cases=pl.col("case_id").n_unique(),
            area=(pl.col("area") / pl.col("whole")).clip(0, 1).median(),
        )
        .sort("masks", "label", descending=[True, False])
    )


def _averages(store: Store, seed: int, advance: Callable[[float], None]) -> dict[str, Average]:
    cases = GazeDataset(store, None, size=SIDE, gaze=GAZE)
    return {name: _average(cases, _averaged(cases, k, seed), advance) for k, name in enumerate(store.classes)}


def _averaged(cases: GazeDataset, k: int, seed: int) -> list[int]:
    """Indices of all cases of a class with gaze or boxes, and of random others up to MOST_IMAGES in total."""
    members = np.flatnonzero(cases.labels[:, k].numpy() > 0)
    attended = members[cases.attended[members]]
    others = np.random.default_rng(seed).permutation(members[~cases.attended[members]])
    missing = max(0, MOST_IMAGES - len(attended))
    return sorted([*attended.tolist(), *others[:missing].tolist()])


def _average(cases: GazeDataset, places: Sequence[int], advance: Callable[[float], None]) -> Average:
    image, gaze, with_map, with_fixations = np.zeros((SIDE, SIDE)), np.zeros((SIDE, SIDE)), 0, 0
    for batch in _batches(cases, places):
        image += batch.image[:, 0].double().sum(0).numpy()
        gaze += batch.gaze_maps()[batch.has_gaze, 0].double().sum(0).numpy()
        with_map += int(batch.has_gaze.sum())
        with_fixations += int((batch.weights > 0).any(1).sum())
        advance(len(batch))
    return Average(
        image / max(1, len(places)),
        gaze / with_map if with_map else None,
        with_map,
        of_boxes=with_map - with_fixations,
    )


def _between(store: Store, options: InspectOptions) -> tuple[pl.DataFrame, int]:
    """Compare each reader's gaze with the map of all other readers of the case; also the number of cases."""
    by_case: dict[str, list[dict[str, float]]] = {}
    gaze = replace(GAZE, boxes="ignore")

    def load(part: Store, ids: Sequence[str]) -> Iterator[Batch]:
        cases = GazeDataset(part, None, size=SIDE, gaze=gaze)
        place = {case_id: i for i, case_id in enumerate(cases.case_ids)}
        return _batches(cases, [place[case_id] for case_id in ids])

    for one, others in each_against_others(store, store.cases["case_id"].to_list(), load):
        both = (one.has_gaze & others.has_gaze).numpy()
        maps, other_maps = (side.gaze_maps()[:, 0].numpy().astype(np.float64) for side in (one, others))
        F = agreement.fixation_counts(one.points.numpy(), (one.weights > 0).numpy(), (SIDE, SIDE))
        figures = agreement.measure_agreement(other_maps, maps, F, np.zeros_like(F))
        for i in np.flatnonzero(both):
            by_case.setdefault(one.case_id[i], []).append({m: float(figures[m][i]) for m in BETWEEN})
    schema = {"metric": pl.String, "value": pl.Float64, "low": pl.Float64, "high": pl.Float64}
    if not by_case:
        return pl.DataFrame(schema=schema), 0
    cases = store.cases.filter(pl.col("case_id").is_in(list(by_case)))
    resampling = bootstrap(cases, resamples=options.resamples, seed=options.seed)
    figures = {
        m: np.array([np.nanmean([f[m] for f in by_case[c]]) for c in cases["case_id"]]) for m in BETWEEN
    }
    rows = []
    for m, mean in means(figures, cases["patient"].to_numpy(), resampling).items():
        entry = mean.summary(agreement.METRICS[m].bounds)
        rows.append({"metric": m, "value": entry.value, "low": entry.low, "high": entry.high})
    return pl.DataFrame(rows, schema=schema), cases.height


def _batches(cases: GazeDataset, places: Sequence[int]) -> Iterator[Batch]:
    for batch in DataLoader(Subset(cases, list(places)), batch_size=BATCH, collate_fn=collate):
        cases.close_files()  # else all images that were read would stay in memory
        yield batch
