"""Count the bits of the Huffman codes of a sequential JPEG scan (ITU-T T.81, F.2), without their values.

The beginning of a code is known only after the code before it, so that a loop over codes is slow. But Huffman
codes synchronise: a walk from a wrong bit soon reaches the right ones. Long data are cut into lanes, which
are walked together from guessed bits; a lane is used only if it began exactly where the one before it ended,
else it is walked again. The result equals that of the loop from the first bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LANE, WARM = 2048, 768
"""Bits of a lane, and bits before it at which its walk begins."""
TAIL = 2048
"""Fewest bits at the end that are walked one by one: the data may end only there."""
SHORT = 2**17
"""Bits below which all are walked one by one."""
ROUNDS = 6
"""Most rounds in which lanes that began at a wrong bit are walked again together."""
END = 128
"""Value that the end of a block adds to the index of its coefficients."""


class CodesError(Exception):
    """The data are no valid codes of an image."""


@dataclass(frozen=True)
class Block:
    """A block of a unit: its component, the limit of its mean, and the tables of `lookup`."""

    component: int
    limit: int
    dc: NDArray[np.int32]
    ac: NDArray[np.int32]


@dataclass
class Place:
    """The state of a walk: bit, coefficient of the block, block of the unit, units done, sums of means."""

    at: int
    k: int
    block: int
    units: int
    means: list[int]


def lookup(table: dict[int, tuple[int, int]], *, ac: bool) -> NDArray[np.int32]:
    """The code at the beginning of each 16 bits; 0 where there is no valid one.

    An entry is the bits of the code and of its value, + 256 * its step in the block, + 65,536 * bits of the
    value.
    """
    entries = np.zeros(2**16, np.int32)
    for symbol, (code, length) in table.items():
        size, run = (symbol & 15, symbol >> 4) if ac else (symbol, 0)
        if size > 16:
            continue
        step = 1 if not ac else run + 1 if size else 16 if run == 15 else END
        entries[code << (16 - length) : (code + 1) << (16 - length)] = length + size | step << 8 | size << 16
    return entries


def walk(part: bytes, units: int, blocks: Sequence[Block]) -> int:
    """Count the bits of so many units of blocks.

    Raises:
        CodesError: The data do not hold so many units.
    """
    data = np.frombuffer(part + bytes(8), np.uint8).astype(np.int32)
    window = data[:-2] << 16 | data[1:-1] << 8 | data[2:]
    bits = 8 * len(part)
    place = Place(0, 0, 0, 0, [0] * (1 + max(block.component for block in blocks)))
    lanes = max(bits - TAIL, 0) // LANE if bits > SHORT else 0
    if lanes:
        _Lanes(window, blocks, lanes).follow(place, units)
    _one_by_one(window[place.at >> 3 :], place, place.at & ~7, units, bits, blocks)
    if place.units < units:
        raise CodesError
    return place.at


def _one_by_one(
    window: NDArray[np.int32], place: Place, origin: int, units: int, stop: int, blocks: Sequence[Block]
) -> None:
    """Move the place over codes until all units are done or it is at the bit `stop` or further."""
    view = np.ascontiguousarray(window).data
    tables = [(block.dc.data, block.ac.data, block.component, block.limit) for block in blocks]
    at, stop, k, b, done, means = (
        place.at - origin,
        stop - origin,
        place.k,
        place.block,
        place.units,
        place.means,
    )
    dc, ac, component, limit = tables[b]
    while done < units:
        if at >= stop:
            break
        entry = (ac if k else dc)[view[at >> 3] >> (8 - (at & 7)) & 0xFFFF]
        if not entry:
            raise CodesError
        if not k and (size := entry >> 16):
            value = at + (entry & 255) - size
            difference = (view[value >> 3] >> (8 - (value & 7)) & 0xFFFF) >> (16 - size)
            if not difference >> (size - 1):
                difference -= (1 << size) - 1
            means[component] += difference
            if not -limit <= means[component] <= limit:
                raise CodesError
        at += entry & 255
        k += entry >> 8 & 255
        if k >= 64:
            if 64 < k < END:
                raise CodesError
            k, b = 0, b + 1
            if b == len(tables):
                b, done = 0, done + 1
            dc, ac, component, limit = tables[b]
    place.at, place.k, place.block, place.units = at + origin, k, b, done


class _Lanes:
    """Lanes of equal length from the first bit on, and the results of a walk through each."""

    def __init__(self, window: NDArray[np.int32], blocks: Sequence[Block], count: int) -> None:
        self.window, self.blocks, self.count = window, blocks, count
        kinds = list({id(t): t for block in blocks for t in (block.dc, block.ac)}.values())
        self.table = np.concatenate(kinds)
        row = {id(t): i << 16 for i, t in enumerate(kinds)}
        self.dc = np.array([row[id(block.dc)] for block in blocks])
        self.ac = np.array([row[id(block.ac)] for block in blocks])
        self.component = np.array([block.component for block in blocks])
        components = 1 + int(self.component.max())
        self.starts = np.zeros((count, 3), np.int64)  # bit, coefficient, block
        self.ends = np.zeros((count, 3), np.int64)
        self.units = np.zeros(count, np.int64)
        self.sums, self.lows, self.highs = (np.zeros((count, components), np.int64) for _ in range(3))

    def follow(self, place: Place, units: int) -> None:
        """Move the place from the first bit to the end of the last lane, or of the units."""
        every = np.arange(self.count)
        self.starts[1:, 0] = every[1:] * LANE - WARM
        self._run(every[1:], every[1:] * LANE)
        dead = self.ends[:, 0] < 0  # the walk met invalid codes; the next begins at the lane's first bit
        self.starts = np.where(dead[:, None], every[:, None] * [LANE, 0, 0], self.ends)
        lost = every
        for _ in range(ROUNDS):
            self._run(lost, (lost + 1) * LANE)
            wrong = (self.starts[1:] != self.ends[:-1]).any(axis=1) & (self.ends[:-1, 0] >= 0)
            lost = np.flatnonzero(wrong) + 1
            if not len(lost):
                break
            self.starts[lost] = self.ends[lost - 1]
        limits = [0] * len(place.means)
        for block in self.blocks:
            limits[block.component] = block.limit
        lost_ones = set(lost.tolist())  # they have a new start, and have not been walked from it
        for i in range(self.count):
            if place.units >= units:
                return
            valid = i not in lost_ones and [place.at, place.k, place.block] == self.starts[i].tolist()
            if not valid:
                origin = place.at & ~7
                piece = self.window[origin >> 3 : ((i + 1) * LANE >> 3) + 8]
                _one_by_one(piece, place, origin, units, (i + 1) * LANE, self.blocks)
                continue
            if self.ends[i, 0] < 0:
                raise CodesError
            for c, limit in enumerate(limits):
                if place.means[c] + self.lows[i, c] < -limit or place.means[c] + self.highs[i, c] > limit:
                    raise CodesError
                place.means[c] += int(self.sums[i, c])
            place.at, place.k, place.block = self.ends[i].tolist()
            place.units += int(self.units[i])

    def _run(self, lanes: NDArray[np.int64], stops: NDArray[np.int64]) -> None:
        """Walk lanes from their starts to the stops; the end of one with invalid codes is -1."""
        at, k, b = (self.starts[lanes, i] for i in range(3))
        for held in (self.units, self.sums, self.lows, self.highs):
            held[lanes] = 0
        many = len(self.blocks)
        while True:
            on = (at >= 0) & (at < stops)
            if not on.all():
                over = lanes[~on]
                self.ends[over] = np.stack([at[~on], k[~on], b[~on]], axis=1)
                lanes, stops, at, k, b = lanes[on], stops[on], at[on], k[on], b[on]
            if not len(lanes):
                return
            for _ in range(8):  # at a time, since leaving takes as long as a step
                self._step(lanes, stops, at, k, b, many)

    def _step(
        self,
        lanes: NDArray[np.int64],
        stops: NDArray[np.int64],
        at: NDArray[np.int64],
        k: NDArray[np.int64],
        b: NDArray[np.int64],
        many: int,
    ) -> None:
        """Advance by one code, in place, the lanes whose stop is not reached."""
        begin = k == 0
        kind = (
            np.where(begin, self.dc[0], self.ac[0]) if many == 1 else np.where(begin, self.dc[b], self.ac[b])
        )
        entry = self.table[kind + (self.window[at >> 3] >> (8 - (at & 7)) & 0xFFFF)]
        entry[(at < 0) | (at >= stops)] = 0
        going = entry != 0
        new = np.flatnonzero(begin & (entry >> 16 != 0))
        if len(new):
            size = entry[new] >> 16
            value = at[new] + (entry[new] & 255) - size
            bits = (self.window[value >> 3] >> (8 - (value & 7)) & 0xFFFF) >> (16 - size)
            bits = bits - np.where(bits >> (size - 1) == 0, (1 << size) - 1, 0)
            spot = lanes[new], self.component[b[new]]
            self.sums[spot] += bits
            self.lows[spot] = np.minimum(self.lows[spot], self.sums[spot])
            self.highs[spot] = np.maximum(self.highs[spot], self.sums[spot])
        at[~going & (at < stops)] = -1
        at += entry & 255
        k += entry >> 8 & 255
        done = np.flatnonzero(k >= 64)
        if len(done):
            ends = k[done]
            at[done[(ends > 64) & (ends < END)]] = -1
            k[done] = 0
            if many == 1:
                self.units[lanes[done]] += 1
            else:
                following = b[done] + 1
                b[done] = following % many
                self.units[lanes[done]] += following == many
