"""A prepared store as a torch data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from radgaze.errors import UserError
from radgaze.gaze.frames import Frames
from radgaze.gaze.spec import GazeMaps
from radgaze.sources.cohort import VIEWS
from radgaze.store.augmentation import Augmentation
from radgaze.store.batch import Batch, Sample, collate
from radgaze.store.boxes import corners, finding_boxes, finding_regions, hull, of_own_class, with_area
from radgaze.store.lungs import Lungs
from radgaze.store.mentions import shares_of
from radgaze.store.placement import Fit, Frame
from radgaze.store.store import Store

__all__ = ["Augmentation", "Batch", "GazeDataset", "Sample", "collate"]


PLAIN = 6
"""Number of columns that every fixation has, see `_fixations_of`."""


class GazeDataset(Dataset[Sample]):
    """The cases of a store, or of some of its splits, in the order of the store.

    A case with several readings has the fixations of all of them. With weights by duration the durations are
    scaled so that each reading has the same total, and the map is the mean over readings; with other weights
    each fixation counts the same. An augmented box is the axis-aligned box around the transformed one:
    rotated by a, a box of w × h becomes w cos a + h sin a wide. Regions are transformed pixel by pixel.

    Args:
        store: Prepared store.
        split: "train", "validate", "test", several of them, or None for all.
        size: Side S of the square images and maps, in pixels.
        fit: "stretch" changes the aspect ratio, as the published baselines did; "pad" keeps it, with black
            borders.
        gaze: Settings of the gaze maps; None for no gaze.
        maps: Whether samples hold gaze maps; `Batch.gaze_maps` makes them on the device in any case.
        augment: Random changes, which depend only on the seed, the epoch and the index of a case, not on the
            number of workers; None for none.
        seed: Random seed of the augmentation.
        lungs: Whether samples hold the lungs: masks of both where the store has them, else a fixed shape.
        cache: Whether all images are resized at once and kept in memory, S² bytes each, which is about three
            times as fast.

    Raises:
        UserError: There is no such split, or `gaze` needs the angular resolution of fixations, which the
            store lacks.
    """

    def __init__(  # many arguments: most are settings, given by name
        self,
        store: Store,
        split: str | Sequence[str] | None = None,
        *,
        size: int = 224,
        fit: Fit = "stretch",
        gaze: GazeMaps | None,
        maps: bool = False,
        augment: Augmentation | None = None,
        seed: int = 0,
        lungs: bool = False,
        cache: bool = False,
    ) -> None:
        rows = _rows_of(store.cases, split)
        cases = store.cases[rows]
        self.size, self.fit, self.gaze, self.maps = size, fit, gaze, maps
        self.augment, self.seed = augment, seed
        self.case_ids: list[str] = cases["case_id"].to_list()
        self.classes = store.classes
        self.labels = torch.tensor(
            cases.select(f"label_{name}" for name in store.classes).to_numpy(), dtype=torch.float32
        ).reshape(len(cases), len(store.classes))
        self._patients: list[int] = cases["patient"].to_list()
        # Tables are converted to arrays here, once: polars must not be called in forked workers, which lack
        # its threads.
        table = _sorted_fixations(store, cases) if gaze else None
        fixations = _none_of(len(cases)) if table is None else _fixations_of(store, cases, table)
        self._fixations, self._ends, self._recorded = fixations
        self._shares: NDArray[np.float32] | None = None
        if gaze is not None and gaze.per == "class" and table is not None:
            self._shares = shares_of(store, table, store.classes)
        if gaze is not None and gaze.recorded and self._fixations.shape[1] == PLAIN:
            raise UserError(
                f"{store.path} holds no angular resolution of its fixations: sigma in degrees needs "
                "`gaze.pixels_per_degree`, the image pixels per degree"
            )
        self._boxes, self._box_class, self._box_ends = finding_boxes(store, cases)
        self._regions, self._region_class, self._region_ends = finding_regions(store, cases)
        self._regions_of = store.regions
        self._images, self._rows = store.images, rows
        self._lungs = Lungs(store, self.case_ids, size) if lungs else None
        shapes = cases.select("rows", "columns").iter_rows()
        self._frames = [Frame(height, width, store.size) for height, width in shapes]
        # In shared memory, so that persistent workers see it change.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]
        self._cache: NDArray[np.uint8] | None = None
        if cache:
            self._cache = np.stack([self._resized(i) for i in range(len(self))]) if len(self) else None

    def __len__(self) -> int:
        return len(self.case_ids)

    @property
    def with_gaze(self) -> int:
        """Number of cases with a fixation on the image of a weight above 0."""
        return int(self.gazed.sum())

    @cached_property
    def gazed(self) -> NDArray[np.bool_]:
        """Whether each case (N,) has a fixation on the image with a weight above 0."""
        gazed = np.diff(self._ends) > 0
        if self.gaze is not None and self.gaze.weight == "duration":
            for i in np.flatnonzero(gazed):
                gazed[i] = bool((self._fixations[self._ends[i] : self._ends[i + 1], 2] > 0).any())
        return gazed

    def frame_counts(self, frames: Frames) -> Tensor:
        """Count the frames of the gaze on each case, (N,) int64, without the limit on their number."""
        counts = []
        for i, recorded in enumerate(self._recorded):
            times, order = self._timed(i)
            in_frames = (self._placed(i)[1][None], times[None], order[None], torch.tensor([recorded]))
            counts.append(frames.place(*in_frames)[1])
        return torch.cat(counts) if counts else torch.zeros(0, dtype=torch.int64)

    @property
    def with_boxes_for_gaze(self) -> int:
        """Number of cases in which boxes or regions stand in for gaze (`GazeMaps.boxes`)."""
        return int(self.attended.sum()) - self.with_gaze

    @cached_property
    def attended(self) -> NDArray[np.bool_]:
        """Whether each case (N,) has gaze, see `gazed`, or boxes or regions that stand in for gaze."""
        if self.gaze is not None and self.gaze.boxes == "attention":
            return self.gazed | self.masked | self.boxed
        return self.gazed

    @cached_property
    def boxed(self) -> NDArray[np.bool_]:
        """Whether each case (N,) has a box on the image, of its own class or of none."""
        boxed = np.diff(self._box_ends) > 0
        for i in np.flatnonzero(boxed):
            boxes, box_class = self._boxed(int(i))
            boxed[i] = bool(with_area(of_own_class(boxes[None], box_class[None], self.labels[i][None])).any())
        return boxed

    @cached_property
    def masked(self) -> NDArray[np.bool_]:
        """Whether each case (N,) has a region that is not empty, of its own class or of none."""
        masked = np.diff(self._region_ends) > 0
        for i in np.flatnonzero(masked):
            classes = self._region_class[self._region_ends[i] : self._region_ends[i + 1]]
            masked[i] = bool(((classes < 0) | (self.labels[i].numpy()[classes] > 0)).any())
        return masked

    @property
    def with_lungs(self) -> int:
        """Number of cases with masks of both lungs, where samples hold the lungs."""
        return 0 if self._lungs is None else int(self._lungs.own.sum())

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, on which the augmentation depends."""
        self._epoch.fill_(epoch)

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, place: int | tuple[int, int]) -> Sample:
        """Make the sample of an index, or of (index, turn): each turn in an epoch is augmented differently.

        Raises:
            IndexError: The index is out of range.
        """
        i, turn = place if isinstance(place, tuple) else (place, 0)
        if not -len(self) <= i < len(self):
            raise IndexError(i)
        i %= len(self)
        pixels = self._resized(i) if self._cache is None else self._cache[i]
        image = torch.from_numpy(pixels).unsqueeze(0).float() / 255
        points, weights, sigma = self._placed(i)
        class_weights = self._by_class(i, weights)
        views = self._viewed(i)
        if views is not None and len(views):
            sigma = views[:, :2].mean(0)
        boxes, box_class = self._boxed(i)
        regions, region_class = self._marked(i)
        draw = self._seed_of(i, turn)
        if self._lungs is not None:  # moved with the regions, as the last of them
            lungs = self._lungs.of(i, self._frames[i], self.fit)
            regions = torch.cat([regions, torch.from_numpy(lungs)[None]])
        if self.augment:
            # Fixations and corners of boxes are transformed together, since a call draws one random change.
            shown = torch.zeros(0, 4) if views is None else views[:, 2:]
            marks = torch.cat([points, corners(boxes), corners(shown)])
            before = sigma
            drawn = self.augment(image, marks, sigma, draw, regions)
            image, marks, sigma, regions = drawn
            points, marks = marks[: len(points)], marks[len(points) :]
            boxes, shown = (
                hull(part, self.size) for part in (marks[: 4 * len(boxes)], marks[4 * len(boxes) :])
            )
            if views is not None:
                views = torch.cat([views[:, :2] * sigma / before, shown], 1)
            x, y = points.unbind(1)
            inside = (x >= 0) & (x <= self.size) & (y >= 0) & (y <= self.size)
            weights = weights * inside
            class_weights = None if class_weights is None else class_weights * inside[:, None]
        times, order = self._timed(i)
        sample = Sample(
            image=image,
            label=self.labels[i],
            gaze=None,
            case_id=self.case_ids[i],
            patient=self._patients[i],
            points=points,
            weights=weights,
            sigma=sigma,
            times=times,
            order=order,
            recorded=int(self._recorded[i]),
            spec=self.gaze,
            views=views,
            boxes=boxes,
            box_class=box_class,
            regions=regions[: len(region_class)],
            region_class=region_class,
            class_weights=class_weights,
            lungs=regions[len(region_class) :] if self._lungs is not None else None,
            draw=draw,
        )
        return replace(sample, gaze=collate([sample]).gaze_maps()[0]) if self.maps and self.gaze else sample

    def _resized(self, i: int) -> NDArray[np.uint8]:
        """The image at (S, S), in 8 bits, for which Pillow is fastest, and like the cached ones."""
        return self._frames[i].resized(self._images[int(self._rows[i])], self.fit, self.size)

    def _placed(self, i: int) -> tuple[Tensor, Tensor, Tensor]:
        """Points (K, 2), weights (K,) and sigma (2,) on the (S, S) image."""
        x, y, duration = torch.from_numpy(self._fixations[self._ends[i] : self._ends[i + 1], :3].T)
        turn = torch.from_numpy(self._fixations[self._ends[i] : self._ends[i + 1], 5])
        duration = _each_reading_alike(duration, turn)
        if self.gaze is None:
            return torch.stack([x, y], 1), duration, torch.zeros(2)
        return self.gaze.place(
            torch.stack([x, y], 1), duration, self._frames[i].geometry(self.fit, self.size)
        )

    def _by_class(self, i: int, weights: Tensor) -> Tensor | None:
        """Weights (K, C) of the gaze map of each class; each reading of a class counts the same."""
        if self._shares is None or self.gaze is None:
            return None
        rows = slice(self._ends[i], self._ends[i + 1])
        shares = torch.from_numpy(self._shares[rows])
        if self.gaze.weight != "duration":
            return weights[:, None] * (shares > 0)
        duration, turn = torch.from_numpy(self._fixations[rows][:, [2, 5]].T)
        of_classes = [_each_reading_alike(duration * share, turn) for share in shares.T]
        return torch.stack(of_classes, 1) if of_classes else shares

    def _viewed(self, i: int) -> Tensor | None:
        """Views (K, 6) on the (S, S) image; None unless those recorded with each fixation are used."""
        if self.gaze is None or not self.gaze.recorded:
            return None
        recorded = torch.from_numpy(self._fixations[self._ends[i] : self._ends[i + 1], PLAIN:])
        where = self._frames[i].geometry(self.fit, self.size)
        scale = torch.tensor([where.scale_x, where.scale_y])
        shift = torch.tensor([where.shift_x, where.shift_y])
        spread = recorded[:, :2] * self.gaze.sigma * scale
        shown = recorded[:, 2:] * scale.repeat(2) + shift.repeat(2)
        return torch.cat([spread.flip(1), shown.clamp(0, self.size)], 1)

    def _timed(self, i: int) -> tuple[Tensor, Tensor]:
        """Onsets and durations (K, 2) in seconds, and indices among all recorded fixations (K,)."""
        fixations = self._fixations[self._ends[i] : self._ends[i + 1], 2:5]
        duration, onset, order = torch.from_numpy(fixations.T)
        return torch.stack([onset, duration], 1), order.long()

    def _boxed(self, i: int) -> tuple[Tensor, Tensor]:
        """Boxes (N, 4) on the (S, S) image, clipped to it, and the classes (N,) that they are named after."""
        rows = slice(self._box_ends[i], self._box_ends[i + 1])
        where = self._frames[i].geometry(self.fit, self.size)
        boxes = torch.from_numpy(self._boxes[rows]) * torch.tensor([where.scale_x, where.scale_y] * 2)
        boxes = (boxes + torch.tensor([where.shift_x, where.shift_y] * 2)).clamp(0, self.size)
        return boxes, torch.from_numpy(self._box_class[rows])

    def _marked(self, i: int) -> tuple[Tensor, Tensor]:
        """Unions (M, S, S) of the regions of each class, in 256 levels, and their classes (M,)."""
        rows = slice(self._region_ends[i], self._region_ends[i + 1])
        unions: dict[int, NDArray[np.bool_]] = {}
        for row, label in zip(self._regions[rows].tolist(), self._region_class[rows].tolist(), strict=True):
            region = self._regions_of[row]
            unions[label] = unions[label] | region if label in unions else region
        squares = [
            self._frames[i].resized(region.view(np.uint8) * np.uint8(255), self.fit, self.size)
            for region in unions.values()
        ]
        regions = np.stack(squares) if squares else np.zeros((0, self.size, self.size), np.uint8)
        return torch.from_numpy(regions), torch.tensor(list(unions), dtype=torch.int64)

    def _seed_of(self, i: int, turn: int) -> int:
        entropy = (self.seed, int(self._epoch), i, *([turn] if turn else []))
        state = np.random.SeedSequence(entropy).generate_state(1, np.uint64)
        return int(state[0] >> np.uint64(1))


def _rows_of(cases: pl.DataFrame, split: str | Sequence[str] | None) -> NDArray[np.int64]:
    if split is None:
        return np.arange(len(cases))
    requested = [split] if isinstance(split, str) else list(split)
    splits = ("train", "validate", "test")
    unknown = [name for name in requested if name not in splits]
    if unknown:
        raise UserError(f"there is no split {unknown[0]!r}; splits are {', '.join(splits)}")
    return np.flatnonzero(cases["split"].is_in(requested).to_numpy())


def _sorted_fixations(store: Store, cases: pl.DataFrame) -> pl.DataFrame:
    """Sort the fixations of cases by case, reading and time, with columns case, reading and place."""
    readings = _numbered(store, cases).select(
        "reading_id",
        "case",
        "reading",
        earlier=(pl.col("recorded").cum_sum() - pl.col("recorded")).over("case"),
    )
    table = store.fixations.join(readings, on="reading_id", maintain_order="left").sort(
        "case", "reading", "onset", maintain_order=True
    )
    return table.with_columns(place=pl.col("earlier") + pl.col("index"))


def _numbered(store: Store, cases: pl.DataFrame) -> pl.DataFrame:
    """Number the readings of cases, and the cases that they belong to."""
    order = cases.select("case_id").with_row_index("case")
    return store.readings.with_row_index("reading").join(order, on="case_id").sort("reading")


def _fixations_of(
    store: Store, cases: pl.DataFrame, table: pl.DataFrame
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Collect the fixations of cases, sorted by case.

    Args:
        store: Prepared store.
        cases: Cases of the data set.
        table: Fixations, see `_sorted_fixations`.

    Returns:
        (N, 6) x, y, duration, onset, index among all recorded fixations and number of the reading, followed
        by `VIEWS` where the store has them; the ends (cases + 1,): case i has the fixations ends[i] …
        ends[i+1] − 1; and the number of recorded fixations of each case.
    """
    readings = _numbered(store, cases)
    counts = np.bincount(table["case"].to_numpy(), minlength=len(cases))
    recorded = np.zeros(len(cases), np.int64)
    np.add.at(recorded, readings["case"].to_numpy(), readings["recorded"].to_numpy())
    columns = ["x", "y", "duration", "onset", "place", "reading"]
    columns += [name for name in VIEWS if name in table.columns]
    values = table.select(columns).to_numpy().astype(np.float32).reshape(-1, len(columns))
    return np.ascontiguousarray(values), np.concatenate([[0], np.cumsum(counts)]), recorded


def _each_reading_alike(duration: Tensor, reading: Tensor) -> Tensor:
    """Durations (K,), scaled so that they have the same sum for each reading (K,) of a case."""
    if not len(reading) or bool((reading == reading[0]).all()):
        return duration
    which, place = torch.unique(reading, return_inverse=True)
    total = torch.zeros(len(which)).index_add(0, place, duration).clamp_min(1e-9)
    return duration / total[place] * total.mean()


def _none_of(cases: int) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    return np.zeros((0, PLAIN), np.float32), np.zeros(cases + 1, np.int64), np.zeros(cases, np.int64)
