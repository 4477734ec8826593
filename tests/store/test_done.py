"""Records of the images that are done: they behave like any mapping, however they are stored."""

from __future__ import annotations

import random

import pytest

from radgaze.store.journal import Done, DoneImages


def test_it_holds_what_a_dictionary_would() -> None:
    draw, expected, found = random.Random(0), dict[int, Done](), DoneImages(20)
    assert not found
    for _ in range(500):
        i = draw.randrange(20)
        if draw.random() < 0.3:
            assert found.pop(i, None) == expected.pop(i, None)
        else:
            regions = draw.randrange(3)
            found[i] = expected[i] = Done(
                rows=draw.randrange(1, 5000),
                columns=draw.randrange(1, 5000),
                sha256=f"{draw.getrandbits(256):064x}",
                burned_in=draw.random() < 0.5,
                unread=tuple(draw.choice(["", "not_an_image"]) for _ in range(regions)),
                areas=tuple(draw.randrange(4096) for _ in range(regions)),
            )
        assert dict(found) == expected
        assert list(found) == sorted(expected)
        assert len(found) == len(expected)
        assert sorted([*found.left(), *found]) == list(range(20))
        assert (i in found) == (i in expected)


def test_what_is_not_done_is_not_there() -> None:
    with pytest.raises(KeyError):
        DoneImages(3)[1]
