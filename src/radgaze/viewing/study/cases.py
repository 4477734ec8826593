"""The cases of a study, drawn from a store, and the answer that is true of each."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from radgaze.errors import UserError, close_to
from radgaze.store.store import Store
from radgaze.viewing.study.design import Design, Selection


@dataclass(frozen=True)
class StudyCase:
    """A case of a study.

    Attributes:
        case_id: Id of the case.
        patient: Number of the patient in the store.
        truth: The answer that is true.
    """

    case_id: str
    patient: int
    truth: str


def draw(store: Store, design: Design) -> tuple[list[StudyCase], list[StudyCase]]:
    """The cases that count, those of an answer side by side, and the cases for practice.

    A drawn case is of a patient who has no other case in the study.

    Raises:
        UserError: The store has no such case, too few of them, or one without a single true answer.
    """
    answers = design.answers_of(store.classes)
    if design.normal is not None and design.normal not in answers:
        raise UserError(f"normal: {design.normal} is none of the answers: {', '.join(answers)}")
    counting = _chosen(store, design.cases, np.random.default_rng([design.seed, 2]), "cases", ())
    for_practice = _chosen(
        store, design.practice, np.random.default_rng([design.seed, 3]), "practice", counting
    )
    rows = {row["case_id"]: row for row in store.cases.to_dicts()}
    by_id = {
        name: StudyCase(name, rows[name]["patient"], truth(rows[name], answers))
        for name in (*counting, *for_practice)
    }
    order = list(answers)
    counting.sort(key=lambda name: order.index(by_id[name].truth))
    return [by_id[name] for name in counting], [by_id[name] for name in for_practice]


def truth(row: Mapping[str, object], answers: Mapping[str, Sequence[str]]) -> str:
    """The answer that is true of a case.

    Args:
        row: Row of the store's table of cases.
        answers: Classes that each answer stands for.

    Raises:
        UserError: None is, or several are.
    """
    true = [text for text, classes in answers.items() if any(row[f"label_{name}"] for name in classes)]
    true = true or [text for text, classes in answers.items() if not classes]
    if len(true) != 1:
        fault = "no answer is true" if not true else f"{' and '.join(true)} are both true"
        raise UserError(f"of case {row['case_id']} {fault}; change the answers, or leave the case out")
    return true[0]


def _chosen(
    store: Store, selection: Selection, rng: np.random.Generator, field: str, taken: Collection[str]
) -> list[str]:
    if selection.ids:
        available = store.cases["case_id"].to_list()
        for case_id in selection.ids:
            if case_id not in available:
                raise UserError(
                    f"{field}: {store.path} has no case {case_id!r}{close_to(case_id, available)}"
                )
        return list(selection.ids)
    if not selection.per_class:
        return []
    of_split = store.cases.filter(pl.col("split") == selection.split)
    used = set(store.cases.filter(pl.col("case_id").is_in(list(taken)))["patient"])
    drawn = list[str]()
    # The rarest class first, before others have taken its patients.
    for name in sorted(store.classes, key=lambda name: int(of_split[f"label_{name}"].sum())):
        members = of_split.filter(pl.col(f"label_{name}") == 1)
        patients = dict(zip(members["case_id"], members["patient"], strict=True))
        before = len(drawn)
        for case_id in rng.permutation(sorted(patients)).tolist():
            if len(drawn) - before == selection.per_class:
                break
            if patients[case_id] not in used:
                used.add(patients[case_id])
                drawn.append(case_id)
        if len(drawn) - before < selection.per_class:
            raise UserError(
                f"{field}: the split {selection.split!r} has {len(drawn) - before} patients with "
                f"{name} for it, and {selection.per_class} are to be drawn"
            )
    return drawn
