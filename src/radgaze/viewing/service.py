"""Images, their predictions and their maps for the page, each made once and kept for a while."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from radgaze.dicom.error import DicomError
from radgaze.dicom.isolate import Isolated
from radgaze.errors import UserError
from radgaze.predicting.inputs import Subject
from radgaze.store.store import Store
from radgaze.viewing.decoding import Decoded, File, decode
from radgaze.viewing.kept import Kept
from radgaze.viewing.network import Network, Reading
from radgaze.viewing.refusals import RefusedError, forgotten, too_large, unreadable
from radgaze.viewing.shown import UPLOADED, Shown, place_of
from radgaze.viewing.stored import CasesOf, Stored
from radgaze.viewing.work import Work

AT_ONCE = 4
"""Files that are received and decoded at a time; others wait, unread."""
DECODERS = 2
PAUSE, LONGEST = 20.0, 300.0
"""Most seconds between two parts of a file, and for the whole of it."""
MAPS = 64 * 2**20
"""Bytes of the maps that are kept."""
READINGS = 10_000
"""Number of predictions that are kept."""
DECODER_MEMORY, DECODER_SECONDS = 2 * 2**30, 60.0
GAZE = "gaze"
"""Name of the readers' gaze among the maps."""


@dataclass(frozen=True)
class Limits:
    """Bounds of what the page takes.

    Attributes:
        largest: Largest file, in MiB; an image may have as many pixels as fill it with 16 bits each.
        memory: Bytes of the images that are kept.
    """

    largest: int = 64
    memory: int = 2**30

    @property
    def bytes(self) -> int:
        """Largest file in bytes."""
        return self.largest * 2**20

    @property
    def pixels(self) -> int:
        """Most pixels of an image."""
        return min(self.bytes, self.memory // 2) // 2


@dataclass(frozen=True)
class PlacedMap:
    """A map and where it lies.

    Attributes:
        values: The map (S, S), 65,535 for 1.
        place: Left, top, right and bottom edge on the shown image, in its pixels.
    """

    values: NDArray[np.uint16]
    place: tuple[float, float, float, float]


class Service:
    """Images, predictions and maps for the page; used from one event loop.

    Args:
        networks: The runs, one or two.
        store: Store whose cases can be picked; None for none.
        limits: Bounds of what is taken.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        store: Store | None = None,
        limits: Limits = Limits(),
    ) -> None:
        self.networks, self.limits = tuple(networks), limits
        self.stored = None if store is None else Stored(store)
        self._cases = [] if store is None else [CasesOf(network, store) for network in networks]
        self.images: Kept[Shown] = Kept(limits.memory, lambda shown: shown.bytes)
        self.maps: Kept[PlacedMap] = Kept(MAPS, lambda each: each.values.nbytes)
        self.readings: Kept[Reading] = Kept(READINGS, lambda _: 1)
        self._subjects: Kept[Subject] = Kept(64, lambda _: 1)
        self._work, self._receiving = Work(), asyncio.Semaphore(AT_ONCE)
        self._decode: Isolated[File, Decoded] = Isolated(
            decode, workers=DECODERS, timeout=DECODER_SECONDS, memory=DECODER_MEMORY
        )

    def close(self) -> None:
        """End the thread and the processes."""
        self._work.close()
        self._decode.close()

    async def receive(self, parts: AsyncIterator[bytes]) -> Shown:
        """Take a file that is sent, in memory alone.

        Args:
            parts: Its content.

        Raises:
            RefusedError: It is too large, comes too slowly, or cannot be read.
        """
        async with self._receiving:
            content = await _received(parts, self.limits)
            ways = frozenset((each.preparation.side, each.preparation.voi) for each in self.networks)
            file = File(content, ways, self.limits.pixels)
            try:
                decoded = await asyncio.to_thread(self._decode, file)
            except DicomError as error:
                raise unreadable(error) from None
        shown = Shown.sent(f"{UPLOADED}-{secrets.token_urlsafe(16)}", decoded)
        self.images.put(shown.key, shown)
        return shown

    async def image(self, key: str) -> Shown:
        """Return an image.

        Args:
            key: Key of an image that was sent, or of a case.

        Raises:
            RefusedError: There is no such image, or no longer.
        """
        shown = self.images.get(key)
        if shown is None and self.stored is not None:
            shown = await asyncio.to_thread(self.stored.shown, key)
            if shown is not None:
                self.images.put(key, shown)
        if shown is None:
            raise forgotten()
        return shown

    def forget(self, key: str) -> None:
        """Forget an image that was sent, with all that was computed of it."""
        self.images.drop(lambda other: other == key)
        for memory in (self.maps, self.readings, self._subjects):
            memory.drop(lambda other: isinstance(other, tuple) and other[0] == key)

    async def reading(self, key: str, run: int = 0) -> Reading:
        """Predict an image.

        Args:
            key: Key of the image.
            run: Index of the run.

        Raises:
            RefusedError: There is no such image, or the run cannot predict it.
        """
        shown = await self.image(key)
        made = self.readings.get((key, run))
        if made is None:
            made = await self._work(("reading", key, run), partial(self._read, shown, run))
        return made

    async def map_of(
        self, key: str, run: int, method: str, target: str, *, smoothed: bool = True
    ) -> PlacedMap:
        """Make a map of an image.

        Args:
            key: Key of the image.
            run: Index of the run.
            method: Name of one of the run's methods, or `GAZE`.
            target: Class that is explained; of no importance for `GAZE`.
            smoothed: Whether a heatmap is smoothed as in the run's report.

        Raises:
            RefusedError: There is no such image, or the run cannot make this map.
        """
        shown, network = await self.image(key), self.networks[run]
        if method != GAZE and (method not in network.methods or target not in network.classes):
            raise RefusedError(404, "no_map", "The run has no such map.", "Reload the page.")
        name = (key, run, method, "" if method == GAZE else target, smoothed)
        made = self.maps.get(name)
        if made is None:
            made = await self._work(("map", *name), partial(self._map, shown, *name[1:]))
        return made

    async def warm(self) -> None:
        """Start the processes that decode, so that the first file that is sent need not wait for it."""
        with suppress(DicomError):
            await asyncio.to_thread(self._decode, File(b"", frozenset(), 1))

    def _read(self, shown: Shown, run: int) -> Reading:
        with self._forgotten_with(shown):
            made = self.networks[run].read(self._subject(shown, run))
            self.readings.put((shown.key, run), made)
        return made

    @contextmanager
    def _forgotten_with(self, shown: Shown) -> Iterator[None]:
        """Forget what the block keeps of an image that was sent, where the image was forgotten meanwhile."""
        try:
            yield
        finally:
            if shown.case_id is None and self.images.get(shown.key) is None:
                self.forget(shown.key)

    def _map(self, shown: Shown, run: int, method: str, target: str, smoothed: bool) -> PlacedMap:
        with self._forgotten_with(shown):
            return self._made_map(shown, run, method, target, smoothed)

    def _made_map(self, shown: Shown, run: int, method: str, target: str, smoothed: bool) -> PlacedMap:
        subject, network = self._subject(shown, run), self.networks[run]
        if method == GAZE:
            values = subject.gaze
        else:
            values = network.map_of(subject, method, target, smoothed=smoothed)
        if values is None:
            raise RefusedError(404, "no_gaze", "There is no gaze on this image.", "Choose another map.")
        if method == GAZE:
            values = values / max(float(values.max()), 1e-12)
        levels = np.rint(np.clip(np.nan_to_num(values), 0, 1) * 65535).astype(np.uint16)
        made = PlacedMap(levels, place_of(subject, shown.scale))
        self.maps.put((shown.key, run, method, target, smoothed), made)
        return made

    def _subject(self, shown: Shown, run: int) -> Subject:
        """The image as input of a run's model."""
        subject = self._subjects.get((shown.key, run))
        if subject is not None:
            return subject
        network = self.networks[run]
        if shown.case_id is not None:
            try:
                subject = self._cases[run].subject(shown.case_id)
            except UserError:
                raise _unusable() from None
        elif network.run.config.model.needs_gaze:
            raise RefusedError(
                422,
                "needs_gaze",
                "This network reads the readers' gaze with the image, and a file has none.",
                "Pick a case of the store.",
            )
        else:
            way = network.preparation
            square = shown.squares[way.side, way.voi]
            subject = way.subject(UPLOADED, square, shown.rows, shown.columns)
        self._subjects.put((shown.key, run), subject)
        return subject


def _unusable() -> RefusedError:
    wrong = "This case of the store cannot be used with this run."
    return RefusedError(422, "case", wrong, "Check the store with `radgaze verify`.")


async def _received(parts: AsyncIterator[bytes], limits: Limits) -> bytes:
    """The content of a file that is sent, at most so many bytes of it."""
    content, size = list[bytes](), 0
    try:
        async with asyncio.timeout(LONGEST):
            while True:
                async with asyncio.timeout(PAUSE):
                    part = await anext(parts, None)
                if part is None:
                    if size > limits.bytes:
                        break
                    return b"".join(content)
                size += len(part)
                if size > limits.bytes:
                    content.clear()  # what follows is not kept: the sender hears the answer after it
                else:
                    content.append(part)
                if size > 4 * limits.bytes:
                    break
    except TimeoutError:
        raise RefusedError(
            408, "too_slow", "The file did not arrive completely.", "Check the connection, and send it again."
        ) from None
    raise too_large(limits.largest)
