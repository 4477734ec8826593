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

from radgaze.console import progress
from radgaze.errors import UserError
from radgaze.gaze.frames import Frames
from radgaze.gaze.reference import reference_points
from radgaze.gaze.spec import GazeMaps, Geometry
from radgaze.store import controls
from radgaze.store.augmentation import Augmentation
from radgaze.store.batch import Batch, Sample, collate
from radgaze.store.boxes import corners, hull
from radgaze.store.case_marks import CaseMarks
from radgaze.store.fixations import PLAIN, each_reading_alike, fixations_of, none_of, sorted_fixations
from radgaze.store.lungs import Lungs
from radgaze.store.mean_gaze import mean_map
from radgaze.store.mentions import shares_of
from radgaze.store.placement import Fit, Frame
from radgaze.store.store import Store

__all__ = ["Augmentation", "Batch", "GazeDataset", "Sample", "collate"]

AVERAGED = 64
"""Number of cases in a batch whose gaze maps are averaged."""


class GazeDataset(Dataset[Sample]):
    """The cases of a store, or of some of its splits, in the order of the store.

    A case with several readings has the fixations of all of them. Their weights are scaled so that each
    reading has the same total, and the map is the mean over readings. An augmented box is the axis-aligned
    box around the transformed one: rotated by a, a box of w × h becomes w cos a + h sin a wide. Regions are
    transformed pixel by pixel.

    Args:
        store: Prepared store.
        split: "train", "validate", "test", several of them, or None for all.
        size: Side S of the square images and maps, in pixels.
        fit: "stretch" changes the aspect ratio, as the published baselines did; "pad" keeps it, with black
            borders.
        gaze: Settings of the gaze maps; None for no gaze.
        maps: Whether samples hold gaze maps; `Batch.gaze_maps` makes them on the device in any case.
        parts: Names of the parts that samples hold, see `store.parts`.
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
        parts: Sequence[str] = (),
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
        table = sorted_fixations(store, cases) if gaze else None
        fixations = none_of(len(cases)) if table is None else fixations_of(store, cases, table)
        self._fixations, self._ends, self._recorded = fixations
        self._shares: NDArray[np.float32] | None = None
        if gaze is not None and gaze.per == "class" and table is not None:
            self._shares = shares_of(store, table, store.classes)
        if gaze is not None and gaze.recorded and self._fixations.shape[1] == PLAIN:
            raise UserError(
                f"{store.path} holds no angular resolution of its fixations: sigma in degrees needs "
                "`gaze.pixels_per_degree`, the image pixels per degree"
            )
        self._images, self._rows = store.images, rows
        self._lungs = Lungs(store, fit, size) if lungs else None
        shapes = cases.select("rows", "columns").iter_rows()
        self._frames = [Frame(height, width, store.size) for height, width in shapes]
        self._marks = CaseMarks(
            store, cases, parts, frames=self._frames, labels=self.labels, fit=fit, size=size
        )
        self._stand_ins: controls.StandIns | None = None
        if gaze is not None and gaze.control != "none":
            self._stand_ins = self._controlled(store, gaze)
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

    @property
    def marked(self) -> NDArray[np.bool_]:
        """Whether each case (N,) has boxes or regions of findings of its own classes."""
        return self.masked | self.boxed

    @cached_property
    def gazed(self) -> NDArray[np.bool_]:
        """Whether each case (N,) has a fixation on the image with a weight above 0."""
        counts = np.ones(len(self._fixations), np.bool_)
        if self.gaze is not None and self.gaze.weight == "duration":
            counts = self._fixations[:, 2] > 0
        elif self.gaze is not None and self.gaze.weight == "reference":
            counts = (reference_points(torch.from_numpy(self._fixations[:, :2]))[1] > 0).numpy()
        until = np.concatenate([[0], np.cumsum(counts)])
        gazed: NDArray[np.bool_] = np.diff(until[self._ends]) > 0
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
        """Number of cases in which boxes, regions or a map stand in for gaze."""
        return int(self.attended.sum()) - self.with_gaze

    @cached_property
    def attended(self) -> NDArray[np.bool_]:
        """Whether each case (N,) has gaze, see `gazed`, or boxes, regions or a map that stand in for gaze."""
        if self._stand_ins is not None:
            return self.gazed | self._stand_ins.has_map
        boxes = self.gaze is not None and self.gaze.boxes == "attention"
        return self.gazed | self.marked if boxes else self.gazed

    def with_part(self, name: str) -> NDArray[np.bool_]:
        """Whether each case (N,) has a part."""
        return self._marks.with_part(name)

    @cached_property
    def boxed(self) -> NDArray[np.bool_]:
        """Whether each case (N,) has a box on the image, of its own class or of none."""
        return self._marks.boxed()

    @cached_property
    def masked(self) -> NDArray[np.bool_]:
        """Whether each case (N,) has a region that is not empty, of its own class or of none."""
        return self._marks.masked()

    @property
    def with_lungs(self) -> int:
        """Number of cases with masks of both lungs, where samples hold the lungs."""
        return 0 if self._lungs is None else len(self._lungs.own.intersection(self.case_ids))

    def close_files(self) -> None:
        """Close the files of images and regions, which open again when they are read, see `Images.close`."""
        self._images.close()
        self._marks.close_files()

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
        return self._sample(i, turn, torch.from_numpy(pixels).unsqueeze(0).float() / 255)

    def _sample(self, i: int, turn: int, image: Tensor) -> Sample:
        """Make the sample of an index and its turn in an epoch, from its image (1, S, S) in [0, 1]."""
        points, weights, sigma = self._placed(i)
        class_weights = self._by_class(i, weights)
        views = self._viewed(i)
        if views is not None and len(views):
            sigma = views[:, :2].mean(0)
        boxes, box_class = self._marks.boxes_of(i)
        regions, region_class = self._marks.regions_of(i)
        stand_in = self._stand_in(i)
        parts = self._marks.parts_of(i)
        draw = self._seed_of(i, turn)
        lungs = None if self._lungs is None else torch.from_numpy(self._lungs(self.case_ids[i]))
        if self.augment:
            # Fixations and corners of boxes are transformed together, since a call draws one random change.
            shown = torch.zeros(0, 4) if views is None else views[:, 2:]
            marks = torch.cat([points, corners(boxes), corners(shown)])
            before = sigma
            apart = [each for each in (stand_in, lungs) if each is not None]
            together = torch.cat([regions, parts, *(each[None] for each in apart)])
            image, marks, sigma, together = self.augment(image, marks, sigma, draw, together)
            regions, parts, *moved = torch.split(together, [len(regions), len(parts), *[1] * len(apart)])
            lungs = None if lungs is None else moved.pop()[0]
            stand_in = None if stand_in is None else moved.pop()[0]
            points, marks = marks[: len(points)], marks[len(points) :]
            boxes, shown = (
                hull(part, self.size) for part in (marks[: 4 * len(boxes)], marks[4 * len(boxes) :])
            )
            if views is not None:
                views = torch.cat([views[:, :2] * sigma / before, shown], 1)
            x, y = points.unbind(1)
            shows = (x >= 0) & (x <= self.size) & (y >= 0) & (y <= self.size)
            weights = weights * shows
            class_weights = None if class_weights is None else class_weights * shows[:, None]
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
            regions=regions,
            region_class=region_class,
            class_weights=class_weights,
            stand_in=stand_in,
            parts=parts if self._marks.parts else None,
            part_names=self._marks.parts,
            lungs=None if lungs is None else lungs[None],
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
        points = torch.stack([x, y], 1)
        if self.gaze is None:
            return points, each_reading_alike(duration, turn), torch.zeros(2)
        points, weights, sigma = self.gaze.place(points, duration, self._geometry_of_gaze(i))
        return points, each_reading_alike(weights, turn), sigma

    def _geometry_of_gaze(self, i: int) -> Geometry:
        """The place of the image that a case's gaze was recorded on: its own, or a donor's scaled to it."""
        where = self._frames[i].geometry(self.fit, self.size)
        donor = -1 if self._stand_ins is None else int(self._stand_ins.donors[i])
        if donor < 0:
            return where
        return controls.scaled(where, self._frames[donor].rows, self._frames[donor].columns)

    def _by_class(self, i: int, weights: Tensor) -> Tensor | None:
        """Weights (K, C) of the gaze map of each class; each reading of a class counts the same."""
        if self._shares is None or self.gaze is None:
            return None
        rows = slice(self._ends[i], self._ends[i + 1])
        shares = torch.from_numpy(self._shares[rows])
        unscaled, turn = torch.from_numpy(self._fixations[rows][:, [2, 5]].T)
        if self.gaze.weight != "duration":
            unscaled, shares = weights, (shares > 0).to(weights)
        of_classes = [each_reading_alike(unscaled * share, turn) for share in shares.T]
        return torch.stack(of_classes, 1) if of_classes else shares

    def _viewed(self, i: int) -> Tensor | None:
        """Views (K, 6) on the (S, S) image; None unless those recorded with each fixation are used."""
        if self.gaze is None or not self.gaze.recorded:
            return None
        recorded = torch.from_numpy(self._fixations[self._ends[i] : self._ends[i + 1], PLAIN:])
        where = self._geometry_of_gaze(i)
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

    def _controlled(self, store: Store, gaze: GazeMaps) -> controls.StandIns:
        """Replace the gaze on each case by what stands in for it (`GazeMaps.control`)."""
        gazed, attended, control = self.gazed, self.attended, gaze.control
        donors = np.full(len(self), -1, dtype=np.int64)
        has_map, same, lungs = attended, None, None
        if control in controls.SHUFFLED:
            groups = controls.groups(control, gazed, attended, self.labels.numpy())
            donors = controls.donors(np.asarray(self._patients, dtype=np.int64), groups, self.seed)
            has_map = (donors >= 0) & ~gazed
        elif control == "box":
            has_map = attended & self.marked
        elif control == "lungs":
            lungs = Lungs(store, self.fit, self.size)
        elif control == "uniform":
            same = np.full((self.size, self.size), 255, np.uint8)
        else:
            same = self._mean_gaze(store, gaze)
        controls.check(control, attended, has_map | (donors >= 0))
        rows, self._ends = controls.given(self._ends, donors)
        self._fixations, self._recorded = (
            self._fixations[rows],
            np.where(donors >= 0, self._recorded[donors], 0),
        )
        self._shares = None if self._shares is None else self._shares[rows]
        self.gaze = replace(gaze, boxes="ignore")  # what stands in for gaze is a map of its own
        del self.gazed, self.attended
        return controls.StandIns(donors, has_map, same, lungs)

    def _mean_gaze(self, store: Store, gaze: GazeMaps) -> NDArray[np.uint8]:
        """The mean gaze map (S, S) of the training cases."""
        true_gaze = replace(gaze, control="none", per="case")
        cases = GazeDataset(store, "train", size=self.size, fit=self.fit, gaze=true_gaze)
        blank = torch.zeros(1, self.size, self.size)
        with progress("Averaging gaze", total=len(cases)) as bar:

            def batches() -> Iterator[Batch]:
                for start in range(0, len(cases), AVERAGED):
                    some = range(start, min(start + AVERAGED, len(cases)))
                    yield collate([cases._sample(i, 0, blank) for i in some])
                    bar.advance(len(some))

            return mean_map(batches(), (self.size, self.size))

    def _stand_in(self, i: int) -> Tensor | None:
        """The map (S, S) that stands in for the gaze on a case; None for none."""
        if self._stand_ins is None or not self._stand_ins.has_map[i]:
            return None
        same, lungs, donor = self._stand_ins.same, self._stand_ins.lungs, int(self._stand_ins.donors[i])
        if lungs is not None:
            same = lungs(self.case_ids[i])
        elif donor >= 0:
            same = controls.moved(self._marks.findings(donor), self._frames[donor], self._frames[i], self.fit)
        return torch.from_numpy(self._marks.findings(i) if same is None else same)

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
