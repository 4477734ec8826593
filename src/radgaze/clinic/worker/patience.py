"""Wait for a PACS that is away: longer each time, and not all workers at the same moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import SystemRandom
from typing import TypeVar

from radgaze.clinic.worker.faults import AwayError
from radgaze.console import note
from radgaze.errors import UserError

Value = TypeVar("Value")

FIRST, LONGEST = 1.0, 60.0
"""Pauses in seconds: the first one, and the longest."""
LONGEST_ASKED = 600.0
"""The longest pause in seconds that a PACS may ask for."""

_random = SystemRandom()


def pause(attempt: int) -> float:
    """Return the seconds to wait after a failed attempt, counted from 0: they double, with jitter.

    The pause is drawn from the upper half of FIRST · 2^attempt, at most LONGEST.
    """
    whole = min(FIRST * 2 ** min(attempt, 16), LONGEST)
    return _random.uniform(whole / 2, whole)


class Patience:
    """Repeat a call until the PACS answers it.

    Args:
        longest: Seconds after which a PACS that stays away is an error; None to wait for ever.
        sleep: Function that waits.
        clock: Function that gives the time in seconds.
    """

    def __init__(
        self,
        longest: float | None,
        *,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.longest, self._sleep, self._clock = longest, sleep, clock

    def __call__(self, function: Callable[[], Value]) -> Value:
        """Return the value of a call, which is repeated while the PACS is away.

        Raises:
            UserError: The PACS stayed away for too long.
        """
        began, attempt = self._clock(), 0
        while True:
            try:
                value = function()
            except AwayError as away:
                self._wait(away, attempt, began)
                attempt += 1
                continue
            if attempt:
                note("the PACS answers again")
            return value

    def rest(self, attempt: int, asked: float | None = None) -> None:
        """Wait after a failed attempt, or as long as the PACS asks."""
        self._sleep(max(pause(attempt), min(asked or 0.0, LONGEST_ASKED)))

    def _wait(self, away: AwayError, attempt: int, began: float) -> None:
        seconds = max(pause(attempt), min(away.pause or 0.0, LONGEST_ASKED))
        waited = self._clock() - began
        if self.longest is not None and waited + seconds > self.longest:
            raise UserError(
                f"the PACS is away ({away.reason}) and did not come back within {waited:.0f} s; what is done "
                "is kept, and the same command goes on"
            ) from away
        note(f"the PACS is away ({away.reason}); another attempt in {seconds:.1f} s")
        self._sleep(seconds)
