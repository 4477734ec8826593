"""Memory is bounded, and what is asked for twice is made once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radgaze.viewing import service as service_module
from radgaze.viewing.decoding import window_of
from radgaze.viewing.kept import Kept
from radgaze.viewing.network import Network
from radgaze.viewing.refusals import RefusedError
from radgaze.viewing.service import Limits, Service
from radgaze.viewing.work import Work
from tests.viewing.files import png


async def parts_of(*parts: bytes, pause: float = 0.0) -> AsyncIterator[bytes]:
    for part in parts:
        await asyncio.sleep(pause)
        yield part


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 60)), max_size=40))
def test_kept_items_never_take_more_than_is_allowed_and_the_last_stays(items: list[tuple[int, int]]) -> None:
    kept: Kept[bytes] = Kept(100, len)
    held: dict[int, bytes] = {}
    for key, size in items:
        held[key] = bytes(size)
        kept.put(key, held[key])
        assert kept.get(key) == held[key]
        there = {key: item for key in held if (item := kept.get(key)) is not None}
        assert kept.bytes == sum(map(len, there.values())) <= 100
        assert len(there) == len(kept)


def test_what_was_used_longest_ago_makes_room() -> None:
    kept: Kept[bytes] = Kept(100, len)
    for key in "abc":
        kept.put(key, bytes(30))
    kept.get("a")
    kept.put("d", bytes(30))
    assert [key for key in "abcd" if kept.get(key) is not None] == ["a", "c", "d"]
    kept.put("e", bytes(101))
    assert kept.get("e") is None


@settings(max_examples=50)
@given(
    st.floats(0.05, 0.6),
    st.floats(0.05, 0.4),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["linear", "curved"]),
)
def test_a_window_is_found_where_there_is_one(low: float, width: float, seed: int, kind: str) -> None:
    whole = np.random.default_rng(seed).random((40, 40)).astype(np.float32)
    shown = np.clip((whole - low) / width, 0, 1)
    if kind == "curved":
        shown = shown**3
    found = window_of(whole, shown.astype(np.float32))
    if kind == "linear":
        assert found == pytest.approx((low, low + width), abs=1e-3)
    else:
        assert found is None


def test_equal_requests_share_one_result_and_abandoned_ones_are_not_computed() -> None:
    made: list[str] = []
    going = threading.Event()

    def making(name: str) -> Callable[[], str]:
        def make() -> str:
            going.wait(10)
            made.append(name)
            return name

        return make

    async def play() -> None:
        work = Work()
        first = [asyncio.create_task(work("a", making("a"))) for _ in range(5)]
        left = asyncio.create_task(work("b", making("b")))
        last = asyncio.create_task(work("c", making("c")))
        await asyncio.sleep(0.05)
        first[0].cancel()  # others still wait for it
        left.cancel()
        await asyncio.sleep(0.05)
        going.set()
        assert await asyncio.gather(*first[1:], last) == ["a"] * 4 + ["c"]
        assert made == ["a", "c"]
        assert await work("b", making("b")) == "b"  # it can be asked for again
        with pytest.raises(ZeroDivisionError):
            await work("d", lambda: 1 // 0)
        work.close()

    asyncio.run(play())


@pytest.fixture
def small(networks: list[Network]) -> Iterator[Service]:
    """A service that keeps two images of a quarter of a MiB."""
    made = Service(networks[:1], None, Limits(largest=1, memory=5 * 2**17))
    yield made
    made.close()


def test_memory_is_bounded_and_an_old_image_is_told_to_be_gone(small: Service) -> None:
    content = png((255 * np.random.default_rng(0).random((360, 360))).astype(np.uint8))

    async def play() -> None:
        keys = [(await small.receive(parts_of(content))).key for _ in range(5)]
        assert len(set(keys)) == 5
        assert small.images.bytes <= small.limits.memory
        assert len(small.images) == 2
        assert (await small.reading(keys[-1])).predicted
        with pytest.raises(RefusedError) as told:
            await small.reading(keys[0])
        assert (told.value.status, told.value.reason) == (404, "forgotten")

    asyncio.run(play())


def test_a_file_that_comes_too_slowly_is_refused(small: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_module, "PAUSE", 0.05)
    with pytest.raises(RefusedError) as told:
        asyncio.run(small.receive(parts_of(b"a", b"b", pause=1)))
    assert told.value.status == 408


def test_few_files_are_received_at_a_time(small: Service) -> None:
    """Those that wait are not read, so that many clients take no memory."""
    begun = []

    async def slow(number: int, going: asyncio.Event) -> AsyncIterator[bytes]:
        begun.append(number)
        await going.wait()
        yield b"no image"

    async def play() -> None:
        going = asyncio.Event()
        sent = [asyncio.create_task(small.receive(slow(k, going))) for k in range(20)]
        await asyncio.sleep(0.1)
        assert len(begun) == service_module.AT_ONCE
        going.set()
        outcomes = await asyncio.gather(*sent, return_exceptions=True)
        assert [each.status for each in outcomes if isinstance(each, RefusedError)] == [422] * 20

    asyncio.run(play())


@pytest.mark.parametrize("wanted", ["read", "map_of"])
def test_an_image_that_is_forgotten_while_it_is_worked_on_leaves_nothing_in_memory(
    wanted: str, networks: list[Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Service(networks[:1], None)
    begun, going, work = threading.Event(), threading.Event(), getattr(networks[0], wanted)

    def slow(_: Network, *given: Any, **named: Any) -> Any:
        begun.set()
        going.wait(10)
        return work(*given, **named)

    async def forgotten_meanwhile() -> None:
        shown = await made.receive(parts_of(png(np.zeros((40, 40), np.uint8))))
        asked = made.reading(shown.key) if wanted == "read" else made.map_of(shown.key, 0, "grad_cam", "CHF")
        answered = asyncio.create_task(asked)
        await asyncio.to_thread(begun.wait, 10)
        made.forget(shown.key)
        going.set()
        await answered

    monkeypatch.setattr(Network, wanted, slow)
    try:
        asyncio.run(forgotten_meanwhile())
        assert [len(memory) for memory in (made.images, made.readings, made.maps, made._subjects)] == [0] * 4
    finally:
        made.close()
