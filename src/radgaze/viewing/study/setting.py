"""Set up a study: the cases of a store, what a run says of them, and the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from radgaze.console import note, progress, say
from radgaze.errors import UserError
from radgaze.outputs import check_folder
from radgaze.store.digest import file_digest
from radgaze.store.store import Store
from radgaze.viewing.network import MASK, Network
from radgaze.viewing.stored import CASE, CasesOf
from radgaze.viewing.study.cases import StudyCase, draw
from radgaze.viewing.study.conduct import Conduct
from radgaze.viewing.study.design import Design
from radgaze.viewing.study.order import imbalance, trials
from radgaze.viewing.study.record import Known, Recorder
from radgaze.words import count


@dataclass(frozen=True)
class Setting:
    """A study that is ready to be conducted.

    Attributes:
        conduct: The study.
        keys: Key of each case's image.
        targets: Class that the heatmap of each case explains, by the target that a condition names.
    """

    conduct: Conduct
    keys: Mapping[str, str]
    targets: Mapping[tuple[str, str], str]


def set_up(design: Design, network: Network, store: Store, path: Path) -> Setting:
    """Set up a study, or go on with one.

    Args:
        design: The design.
        network: The run.
        store: Store of the cases.
        path: The record.

    Raises:
        UserError: The design does not fit the run or the store, or the record is of another study.
    """
    check_folder(path.parent, "record", may_be=("run",))
    answers = design.answers_of(network.classes)
    _check_conditions(design, network, answers)
    if tuple(store.classes) != network.classes:
        raise UserError(f"the classes of {store.path} are not those of the run {network.run.path}")
    counting, practice = draw(store, design)
    predicted_cases, targets = list[Known](), dict[tuple[str, str], str]()
    cases = CasesOf(network, store)
    sizes = {name: (r, c) for name, r, c in store.cases.select("case_id", "rows", "columns").iter_rows()}
    with progress("Predicting the cases of the study", len(counting) + len(practice)) as bar:
        for case, for_practice in (*((c, False) for c in counting), *((c, True) for c in practice)):
            p = network.read(cases.subject(case.case_id)).probabilities
            row = _known(case, p, answers, network, sizes[case.case_id], for_practice)
            predicted_cases.append(row)
            predicted = most_probable(p, answers[row.model], network.classes)
            for each in design.conditions:
                targets[case.case_id, each.name] = predicted if each.target == "predicted" else each.target
            bar.advance()
    recorder = Recorder(path)
    try:
        recorder.begin(design, answers, _weights(network), predicted_cases)
    except BaseException:
        recorder.close()
        raise
    ids = [each.case_id for each in counting]
    plan = {name: trials(design, ids, [each.case_id for each in practice], name) for name in design.readers}
    _tell(design, recorder, len(counting))
    rows = {case_id: row for row, case_id in enumerate(store.cases["case_id"])}
    keys = {each.case_id: f"{CASE}{rows[each.case_id]}" for each in predicted_cases}
    return Setting(Conduct(design, recorder, list(answers), plan), keys, targets)


def model_answer(
    p: NDArray[np.float64], answers: Mapping[str, Sequence[str]], classes: Sequence[str], *, exclusive: bool
) -> tuple[str, dict[str, float]]:
    """The answer of a model, and the probability of each answer.

    Args:
        p: Probability of each class, (C,).
        answers: Classes that each answer stands for; none for the absence of all the others'.
        classes: Names of the classes.
        exclusive: Whether a case has exactly one class: the probabilities of an answer's classes are then
            added, and else the highest counts.
    """
    of_class = dict(zip(classes, p.tolist(), strict=True))
    chances: dict[str, float] = {}
    for text, names in answers.items():
        if names:
            chances[text] = sum(of_class[n] for n in names) if exclusive else max(of_class[n] for n in names)
    for text, names in answers.items():
        if not names:
            chances[text] = 1 - (sum(chances.values()) if exclusive else max(chances.values()))
    chances = {text: min(1.0, max(0.0, chances[text])) for text in answers}
    return max(chances, key=lambda text: chances[text]), chances


def most_probable(p: NDArray[np.float64], of_answer: Sequence[str], classes: Sequence[str]) -> str:
    """The most probable class of an answer; of all classes for an answer that stands for none.

    The most probable class of all need not be one of the model's answer: of two answers, the one with more
    classes can have the higher sum.

    Args:
        p: Probability of each class, (C,).
        of_answer: Classes that the answer stands for.
        classes: Names of the classes.
    """
    of_class = dict(zip(classes, p.tolist(), strict=True))
    return max(of_answer or classes, key=lambda name: of_class[name])


def _known(
    case: StudyCase,
    p: NDArray[np.float64],
    answers: Mapping[str, Sequence[str]],
    network: Network,
    size: tuple[int, int],
    practice: bool,
) -> Known:
    said, chances = model_answer(p, answers, network.classes, exclusive=network.one_class)
    return Known(case.case_id, case.patient, case.truth, said, chances, *size, practice)


def _check_conditions(design: Design, network: Network, answers: Mapping[str, Sequence[str]]) -> None:
    absence = next((text for text, names in answers.items() if not names), None)
    for each in design.conditions:
        if each.method is not None and each.method not in network.methods:
            raise UserError(
                f"conditions: {each.name}: the method {each.method} does not apply to the run; there are "
                f"{', '.join(network.methods)}"
            )
        if each.target not in ("predicted", *network.classes):
            raise UserError(
                f"conditions: {each.name}: target must be predicted or one of {', '.join(network.classes)}"
            )
        if each.method is not None and each.target == "predicted" and absence is not None:
            raise UserError(
                f"conditions: {each.name}: where the model's answer is {absence}, which stands for no class, "
                f"there is no predicted class to explain; set target to one of {', '.join(network.classes)}"
            )
        if each.method == MASK and each.target != "predicted":
            note(f"Condition {each.name}: of most networks the mask is the same for every class.")


def _weights(network: Network) -> str:
    """Hash of the weights of a run, or of those that it is a vote of."""
    return " ".join(file_digest(voter.weights) for voter in network.run.voters)


def _tell(design: Design, recorder: Recorder, cases: int) -> None:
    done = len(recorder.answers())
    say(
        f"Study: {count(len(design.readers), 'reader')}, {count(cases, 'case')}, "
        f"{count(design.sessions, 'session')}, {count(len(design.conditions), 'condition')}; "
        f"{count(done, 'answer')} recorded in {recorder.path}"
    )
    if (words := imbalance(design, cases)) is not None:
        note(f"The design is not balanced exactly: {words}")
