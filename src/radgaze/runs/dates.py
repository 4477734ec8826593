"""RUN/dates.json: the days on which a run was trained and evaluated.

Pages show these days, and not the one on which they are written: the same run gives the same page.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from radgaze import records
from radgaze.errors import UserError
from radgaze.records import Record, optional

FILE = "dates.json"

Day = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]


@dataclass(frozen=True)
class Dates(Record):
    """The days of a run, as YYYY-MM-DD in UTC; None where they are not known.

    Attributes:
        trained: Day on which the training ended.
        evaluated: Day of the last evaluation.
    """

    trained: Day | None = optional()
    evaluated: Day | None = optional()


def read(run: Path) -> Dates:
    """Read the days of a run; none in runs from before they were recorded, and where the file is damaged."""
    try:
        return records.read(Dates, run / FILE, "remove it") if (run / FILE).is_file() else Dates()
    except UserError:
        return Dates()


def note(run: Path, what: Literal["trained", "evaluated"]) -> None:
    """Record that a run was trained or evaluated today, or on the day of SOURCE_DATE_EPOCH if it is set."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    day = datetime.fromtimestamp(int(epoch), UTC) if epoch.isdigit() else datetime.now(UTC)
    today = day.strftime("%Y-%m-%d")
    days = Dates(trained=today) if what == "trained" else replace(read(run), evaluated=today)
    records.write(days, run / FILE)
