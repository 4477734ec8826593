"""The order of training cases: it depends on seed and epoch, and processes share it batch by batch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Sampler

from radgaze.options import FieldError
from radgaze.store.dataset import GazeDataset

FIELD = "optimisation.gaze_fraction"


class SeededShuffle(Sampler[int]):
    """A permutation of the cases that depends only on seed and epoch; it also sets the epoch of augmentation.

    Several processes share it batch by batch: the k-th batches of N processes are together the k-th batch
    that a single process would have with N times the batch size.

    Args:
        cases: Cases to shuffle.
        seed: Seed of the permutations.
        batch_size: Cases in a batch of one process.
        rank: Number of this process, from 0.
        processes: Number of processes.
        keep_last: Whether the cases that remain after the full batches make a smaller batch, if there are at
            least two for each process (one case has no batch statistics). Otherwise they are left out.
    """

    def __init__(
        self,
        cases: GazeDataset,
        seed: int,
        batch_size: int,
        rank: int = 0,
        processes: int = 1,
        *,
        keep_last: bool = False,
    ) -> None:
        self.cases, self.seed, self.epoch = cases, seed, 0
        self._together = min(batch_size * processes, len(cases))
        self._own = _share(self._together, rank, processes)
        left = len(cases) % self._together
        # The statistics of a few cases are noisy: they are left out by default.
        self._last = _share(left, rank, processes) if keep_last and left >= 2 * processes else slice(0, 0)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; Lightning calls this before each one."""
        self.epoch = epoch
        self.cases.set_epoch(epoch)

    def __len__(self) -> int:
        whole = len(self.cases) // self._together * (self._own.stop - self._own.start)
        return whole + self._last.stop - self._last.start

    def __iter__(self) -> Iterator[int]:
        order = torch.randperm(len(self.cases), generator=_generator(self.seed, self.epoch)).tolist()
        whole = len(order) - len(order) % self._together
        for start in range(0, whole, self._together):
            yield from order[start : start + self._together][self._own]
        yield from order[whole:][self._last]


class GazeShuffle(Sampler[tuple[int, int]]):
    """Batches of which a given share is drawn from the cases with gaze.

    It yields pairs (index of the case, number of times that it was drawn before in this epoch). An epoch is
    one pass over the cases without gaze, in a new order each time; the last ones, which do not fill a batch,
    are left out. The cases with gaze are drawn in one random order after the other, so that their numbers of
    draws differ by at most one. The order depends only on seed and epoch. Processes share it as in
    `SeededShuffle`, and numbers of cases with gaze differ by at most one between their batches. Boxes in
    place of gaze count as gaze.

    Args:
        cases: Cases to shuffle.
        fraction: Share of a batch of all processes that has gaze, in (0, 1); it is rounded to whole cases, at
            least one and not all.
        seed: Seed of the orders.
        batch_size: Cases in a batch of one process.
        rank: Number of this process, from 0.
        processes: Number of processes.

    Raises:
        UserError: The fraction is out of range, all or none of the cases have gaze, or batches have fewer
            than two cases.
    """

    def __init__(
        self,
        cases: GazeDataset,
        fraction: float,
        seed: int,
        batch_size: int,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        if not 0 < fraction < 1:
            raise FieldError(FIELD, f"must be above 0 and below 1, got {fraction}")
        self.cases, self.seed, self.epoch = cases, seed, 0
        self._seen: NDArray[np.int64] = np.flatnonzero(cases.attended)
        self._unseen: NDArray[np.int64] = np.flatnonzero(~cases.attended)
        if not (len(self._seen) and len(self._unseen)):
            which = "all" if len(self._seen) else "none"
            raise FieldError(FIELD, f"has no use where {which} of the training cases have gaze; leave it out")
        together = batch_size * processes
        if together < 2:
            raise FieldError(FIELD, "needs batches of two cases or more, with and without gaze")
        self._with = min(max(1, round(fraction * together)), together - 1)
        self._without = together - self._with
        if len(self._unseen) < self._without:  # then one smaller batch, with about that share, is all
            together = round(together * len(self._unseen) / self._without) // processes * processes
            if together < 2:
                rule = f"must be lower: {len(self._unseen)} cases without gaze make no batch, got {fraction}"
                raise FieldError(FIELD, rule)
            self._without = min(len(self._unseen), together - 1)
            self._with = together - self._without
        self._own = _share(self._with + self._without, rank, processes)
        self._own_with = _share(self._with, rank, processes)

    @property
    def batches(self) -> int:
        """The number of batches in an epoch."""
        return len(self._unseen) // self._without

    @property
    def turns(self) -> float:
        """The mean number of times that a case with gaze is drawn in an epoch."""
        return self.batches * self._with / len(self._seen)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; Lightning calls this before each one."""
        self.epoch = epoch
        self.cases.set_epoch(epoch)

    def __len__(self) -> int:
        return self.batches * (self._own.stop - self._own.start)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        generator = _generator(self.seed, self.epoch)
        unseen = self._unseen[_permutation(len(self._unseen), generator)].tolist()
        rounds = -(-self.batches * self._with // len(self._seen))
        seen = [
            (case, turn)
            for turn in range(rounds)
            for case in self._seen[_permutation(len(self._seen), generator)].tolist()
        ]
        # Of its cases, this process has those with gaze first, then as many without as it has room for.
        first = self._own.start - self._own_with.start
        last = self._own.stop - self._own_with.stop
        for batch in range(self.batches):
            yield from seen[batch * self._with : (batch + 1) * self._with][self._own_with]
            others = unseen[batch * self._without : (batch + 1) * self._without][first:last]
            yield from ((case, 0) for case in others)


def _share(cases: int, rank: int, processes: int) -> slice[int, int, None]:
    """The slice of one process in the cases that all processes have together."""
    return slice(rank * cases // processes, (rank + 1) * cases // processes)


def _generator(seed: int, epoch: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed * 100_003 + epoch)


def _permutation(n: int, generator: torch.Generator) -> NDArray[np.int64]:
    order: Tensor = torch.randperm(n, generator=generator)
    return np.asarray(order.numpy(), dtype=np.int64)
