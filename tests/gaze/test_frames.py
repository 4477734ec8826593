"""Fixations in frames, against loops over one fixation at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import pytest
import torch
from torch import Tensor

from radgaze.errors import UserError
from radgaze.gaze import Frames, GazeMaps, static_maps

READINGS = [7, 1, 0, 4]
LONGEST = 7


def gaze() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weights, times, order and recorded of four cases; some fixations weigh nothing, some were lost."""
    draw = torch.Generator().manual_seed(4)
    weights, order = torch.zeros(4, LONGEST), torch.full((4, LONGEST), -1)
    times = torch.zeros(4, LONGEST, 2)
    for i, count in enumerate(READINGS):
        weights[i, :count] = torch.rand(count, generator=draw) + 0.1
        order[i, :count] = 2 * torch.arange(count)
        times[i, :count, 0] = 3 * torch.rand(count, generator=draw).cumsum(0)
        times[i, :count, 1] = torch.rand(count, generator=draw)
    weights[0, 2] = weights[3, 3] = 0
    return weights, times, order, torch.tensor([15, 1, 2, 7])


def test_one_fixation_has_one_frame_and_none_is_left_empty() -> None:
    frame, counts = Frames().place(*gaze())
    assert frame.tolist()[0] == [0, 1, -1, 2, 3, 4, 5]
    assert frame.tolist()[3] == [0, 1, 2, -1, -1, -1, -1]
    assert counts.tolist() == [6, 1, 0, 3]


def test_off_image_fixations_have_frames_where_the_authors_gave_them_some() -> None:
    frame, counts = Frames(off_image=True).place(*gaze())
    assert frame.tolist()[0] == [0, 2, 4, 6, 8, 10, 12]
    assert counts.tolist() == [15, 1, 2, 7]


@pytest.mark.parametrize("seconds", [0.4, 1.0, 100.0])
def test_time_bins_equal_a_loop_over_fixations(seconds: float) -> None:
    weights, times, order, recorded = gaze()
    frame, counts = Frames("seconds", seconds).place(weights, times, order, recorded)
    for i in range(4):
        last = -1
        for k in range(LONGEST):
            onset, duration = times[i, k].double().tolist()
            own = math.floor((onset + duration / 2) / seconds) if weights[i, k] > 0 else -1
            assert frame[i, k] == own
            last = max(last, own)
        assert counts[i] == last + 1


def test_no_fixation_at_all_makes_no_frame() -> None:
    nothing = (torch.zeros(2, 0), torch.zeros(2, 0, 2), torch.zeros(2, 0, dtype=torch.long))
    for how in (Frames(), Frames("seconds"), Frames(off_image=True)):
        frame, counts = how.place(*nothing, torch.zeros(2, dtype=torch.long))
        assert frame.shape == (2, 0)
        assert counts.tolist() == [0, 0]


@pytest.mark.parametrize("weight", ["duration", "count"])
def test_drawn_frames_are_the_maps_of_their_fixations_alone(weight: Literal["duration", "count"]) -> None:
    weights, times, order, recorded = gaze()
    points = 40 * torch.rand(4, LONGEST, 2, generator=torch.Generator().manual_seed(1))
    spec, sigma = GazeMaps(weight), torch.full((4, 2), 3.0)
    frame, counts = Frames("seconds", 2.0).place(weights, times, order, recorded)
    most = int(counts.max())
    drawn = spec.draw_frames(points, weights, frame, most, (32, 40), sigma)
    for t in range(most):
        alone = torch.where(frame == t, weights, 0)
        torch.testing.assert_close(drawn[:, t : t + 1], static_maps(points, alone, (32, 40), sigma))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [(partial(Frames, seconds=0.0), "frame_seconds"), (partial(Frames, most=0), "most_frames")],
)
def test_what_makes_no_sense_is_told_by_its_option(wrong: Callable[[], Frames], said: str) -> None:
    with pytest.raises(UserError, match=said):
        wrong()
