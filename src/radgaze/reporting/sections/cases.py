"""Section of the pictures of cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from radgaze.errors import UserError
from radgaze.reporting.attention import MAPS as ATTENTION_MAPS
from radgaze.reporting.case_panels import Case, gaze_of, mosaic, outlined_in, panels
from radgaze.reporting.gallery import OF_SEVERAL, SELECTION, Choice, choose, generator_title
from radgaze.reporting.page import slugs
from radgaze.reporting.sections.section import EvaluatedRun, Section, register
from radgaze.reporting.shown_panels import Pictures, ShownPanel
from radgaze.reporting.style import save
from radgaze.reporting.wording import number

PANELS = 5
"""Number of columns of pictures where no case is shown."""


@dataclass(frozen=True)
class ShownCase:
    """A case on the page.

    Attributes:
        case_id: Id of the case.
        truth: Name of the true class, or of several.
        predicted: Name of the predicted class, or of several.
        probability: Probability of the most probable class.
        most_probable: The most probable class, where it is not the predicted one.
        is_correct: Whether the prediction is correct.
        panels: Pictures of the case.
    """

    case_id: str
    truth: str
    predicted: str
    probability: str
    most_probable: str
    is_correct: bool
    panels: list[ShownPanel]


@dataclass(frozen=True)
class CaseGroup:
    """The cases of a class.

    Attributes:
        title: Name of the class, and the number of its correct cases.
        cases: The cases.
        remark: Remark on missing cases; may be empty.
    """

    title: str
    cases: tuple[ShownCase, ...]
    remark: str


@dataclass(frozen=True)
class Gallery:
    """Content of the section.

    Attributes:
        selection: The rule by which cases are selected.
        groups: The cases by class.
        missing: Reason why there are no pictures; empty where there are.
        outlined: What the outline on the maps is of, see `outlined_in`.
        map: The map of attention, in words.
    """

    selection: str
    groups: tuple[CaseGroup, ...]
    missing: str = ""
    outlined: str = "gaze"
    map: str = "gaze map"

    @property
    def columns(self) -> int:
        """Number of pictures of a case."""
        return max((len(case.panels) for group in self.groups for case in group.cases), default=PANELS)


@register("cases", title="Cases", order=50)
class CasesSection(Section):
    """Correct and wrong cases of each class, with their maps."""

    def content(self, evaluated: EvaluatedRun) -> Gallery:
        run, results = evaluated.run, evaluated.results
        selection = SELECTION if results.exclusive else OF_SEVERAL
        choices = choose(evaluated.test, run.classes, evaluated.options.each, exclusive=results.exclusive)
        ids = list(dict.fromkeys(i for choice in choices.values() for i in (*choice.correct, *choice.wrong)))
        if not ids:
            return Gallery(selection, (), "There are no test cases.")
        try:
            drawn = {case.case_id: case for case in evaluated.draw(run, ids, results.settings)}
        except UserError as error:
            return Gallery(selection, (), f"The pictures need the store: {error}.")
        pictures = Pictures()
        parts, folder = slugs(choices), run.path / "figures"
        groups = (
            _group(evaluated, name, choice, drawn, pictures, folder / f"cases_{parts[name]}.png")
            for name, choice in choices.items()
        )
        outlined = outlined_in([[gaze_of(case)] for case in drawn.values()])
        return Gallery(
            selection, tuple(groups), outlined=outlined, map=ATTENTION_MAPS[evaluated.store.attention]
        )


def _group(
    evaluated: EvaluatedRun,
    name: str,
    choice: Choice,
    drawn: Mapping[str, Case],
    pictures: Pictures,
    file: Path,
) -> CaseGroup:
    """The cases of a class, which are also written as a figure."""
    generator = generator_title(evaluated.results.settings)
    has_mask = any(case.mask is not None for case in drawn.values())
    cases = [drawn[i] for i in (*choice.correct, *choice.wrong)]
    rows = [(case, panels(case, generator, mask=has_mask)) for case in cases]
    if rows:
        figure = mosaic([(_label(case), row) for case, row in rows])
        save(figure, file)
    total = choice.all_correct + choice.all_wrong
    return CaseGroup(
        title=f"{name}: {choice.tally}",
        cases=tuple(
            ShownCase(
                case_id=case.case_id,
                truth=case.truth,
                predicted=case.predicted,
                probability=number(case.probability, 2),
                most_probable="" if case.predicted == case.most_probable else case.most_probable,
                is_correct=case.correct,
                panels=pictures.row(row, case.case_id),
            )
            for case, row in rows
        ),
        remark="No case of this class was classified wrongly." if total and not choice.wrong else "",
    )


def _label(case: Case) -> str:
    name = case.case_id if len(case.case_id) <= 16 else case.case_id[:8] + "…"
    mark = "✓" if case.correct else "✗"
    return f"{name}\ntrue: {case.truth}\n{mark} {case.predicted} {case.probability:.2f}"
