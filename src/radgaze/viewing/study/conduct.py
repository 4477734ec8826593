"""The course of a study without its web pages: the next case of a reader, and whether an answer is taken."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from radgaze.viewing.refusals import RefusedError
from radgaze.viewing.study.design import Condition, Design
from radgaze.viewing.study.order import Trial
from radgaze.viewing.study.record import Answer, Known, Outcome, Piece, Recorder

DAY = 86_400.0


@dataclass(frozen=True)
class Showing:
    """A case to be shown.

    Attributes:
        view: Key of this view of the page.
        trial: What is shown.
        condition: How it is shown.
        case: What the model says of it.
        cases: Number of cases of the session.
        spent: Seconds that the reader has spent on it in earlier views of the page.
    """

    view: str
    trial: Trial
    condition: Condition
    case: Known
    cases: int
    spent: float


@dataclass(frozen=True)
class Waiting:
    """The next session of a reader may not begin yet.

    Attributes:
        session: Number of the session.
        until: When it may, in seconds since 1970.
    """

    session: int
    until: float


class Conduct:
    """A running study; all that it knows of the readers is in the record.

    Args:
        design: The design.
        recorder: The record.
        answers: The answers that a reader may give.
        plan: The trials of each reader.
    """

    def __init__(
        self, design: Design, recorder: Recorder, answers: Sequence[str], plan: Mapping[str, Sequence[Trial]]
    ) -> None:
        self.design, self.recorder, self.answers = design, recorder, tuple(answers)
        self._plan = plan
        self._cases = {each.case_id: each for each in recorder.cases()}

    def reader(self, code: str) -> str:
        """The reader of a code, in whatever case it is written.

        Raises:
            RefusedError: The study has no such reader.
        """
        for name in self.design.readers:
            if name.lower() == code.strip().lower():
                return name
        raise RefusedError(
            404,
            "no_reader",
            "This study has no reader with this code.",
            "Check the code that you were given.",
        )

    def next(self, reader: str, now: float | None = None) -> Showing | Waiting | None:
        """Open a view of the reader's first case without an answer; None when all are answered.

        Args:
            reader: Code of the reader.
            now: The time in seconds since 1970; None for that of the clock.
        """
        trial = self._first_open(reader)
        if trial is None:
            return None
        before = [
            each.answered for each in self.recorder.answers(reader) if each.session == trial.session - 1
        ]
        until = max(before, default=0.0) + self.design.washout_days * DAY
        if before and (time.time() if now is None else now) < until:
            return Waiting(trial.session, until)
        view = secrets.token_urlsafe(12)
        self.recorder.open_view(view, reader, trial.session, trial.place)
        return Showing(
            view,
            trial,
            self.design.condition(trial.condition),
            self._cases[trial.case_id],
            sum(each.session == trial.session for each in self._plan[reader]),
            self._spent(reader, trial),
        )

    def shown_in(self, view: str) -> tuple[str, Trial]:
        """The reader and the trial of a view.

        Raises:
            RefusedError: There is no such view.
        """
        rows = self.recorder.rows("SELECT reader, session, place FROM views WHERE view = ?", view)
        for row in rows:
            for trial in self._plan.get(row["reader"], ()):
                if (trial.session, trial.place) == (row["session"], row["place"]):
                    return row["reader"], trial
        raise RefusedError(404, "no_view", "This case is not open.", "Reload the page.")

    def add_pieces(self, pieces: Sequence[Piece]) -> None:
        """Record pieces of views that there are.

        Raises:
            RefusedError: One is of no view.
        """
        for view in {each.view for each in pieces}:
            self.shown_in(view)
        self.recorder.add_pieces(pieces)

    def answer(
        self,
        view: str,
        answer: str,
        confidence: int,
        *,
        over_time: bool = False,
        pieces: Sequence[Piece] = (),
    ) -> Outcome:
        """Record the answer to the case of a view, together with the pieces of this view.

        Returns:
            See `Recorder.add_answer`.

        Raises:
            RefusedError: There is no such view, the answer is none of the study's, or the case is not the
                reader's next one.
        """
        reader, trial = self.shown_in(view)
        low, high = self.design.scale
        if answer not in self.answers or not low <= confidence <= high:
            raise RefusedError(
                422, "no_answer", "This is no answer of the study.", "Choose one, and save again."
            )
        row = Answer(
            *(reader, trial.session, trial.place, trial.case_id, trial.condition, trial.practice),
            *(answer, confidence, over_time, view, time.time()),
        )
        following = self._first_open(reader)
        is_ahead = following is not None and (trial.session, trial.place) > (
            following.session,
            following.place,
        )
        if is_ahead:
            raise RefusedError(409, "not_next", "An earlier case has no answer yet.", "Reload the page.")
        return self.recorder.add_answer(row, [each for each in pieces if each.view == view])

    def _first_open(self, reader: str) -> Trial | None:
        answered = {(each.session, each.place) for each in self.recorder.answers(reader)}
        return next((t for t in self._plan[reader] if (t.session, t.place) not in answered), None)

    def _spent(self, reader: str, trial: Trial) -> float:
        (row,) = self.recorder.rows(
            "SELECT COALESCE(SUM(active), 0) AS spent FROM (SELECT MAX(active) AS active FROM pieces JOIN "
            "views USING (view) WHERE reader = ? AND session = ? AND place = ? GROUP BY view)",
            *(reader, trial.session, trial.place),
        )
        return float(row["spent"])
