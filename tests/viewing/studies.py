"""Reader studies for tests: made cases, and readers who are simulated with a planted effect."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from radgaze.viewing.study.design import Design, checked
from radgaze.viewing.study.order import Trial, trials
from radgaze.viewing.study.record import Answer, Known, Piece, Recorder

ANSWERS = {"normal": ("normal",), "disease": ("disease",)}


def design(readers: int = 6, per_class: int = 10, **others: object) -> Design:
    return checked(
        {
            "readers": [f"R{k + 1}" for k in range(readers)],
            "conditions": [{"name": "image"}, {"name": "map", "prediction": True, "method": "grad_cam"}],
            "cases": {"per_class": per_class},
            "normal": "normal",
            **others,
        }
    )


def known(per_class: int, wrong: int) -> list[Known]:
    """Cases of the two answers; of `wrong` of each the model's answer is wrong."""
    cases = list[Known]()
    for truth, other in (("normal", "disease"), ("disease", "normal")):
        for k in range(per_class):
            said = other if k < wrong else truth
            p = {name: 0.8 if name == said else 0.2 for name in ANSWERS}
            cases.append(Known(f"{truth}-{k:02d}", len(cases), truth, said, p, 100, 80))
    return cases


def begun(path: Path, study: Design, cases: Sequence[Known]) -> Recorder:
    recorder = Recorder(path)
    recorder.begin(study, ANSWERS, "hash of weights", cases)
    return recorder


def answer(
    reader: str, trial: Trial, said: str, confidence: int = 3, view: str = "", at: float = 100.0
) -> Answer:
    view = view or f"{reader}-{trial.session}-{trial.place}"
    return Answer(
        *(reader, trial.session, trial.place, trial.case_id, trial.condition, trial.practice),
        *(said, confidence, False, view, at),
    )


def read_by(
    recorder: Recorder,
    study: Design,
    cases: Sequence[Known],
    decide: Callable[[str, Trial, Known], tuple[str, int, float]],
) -> None:
    """Have simulated readers read all cases.

    Args:
        recorder: The record.
        study: The design.
        cases: The cases.
        decide: Gives answer, confidence and seconds for a reader, a trial and its case.
    """
    by_id = {each.case_id: each for each in cases}
    for reader in study.readers:
        for trial in trials(study, [each.case_id for each in cases], [], reader):
            said, confidence, seconds = decide(reader, trial, by_id[trial.case_id])
            row = answer(reader, trial, said, confidence)
            recorder.open_view(row.view, reader, trial.session, trial.place)
            recorder.add_answer(row, [Piece(row.view, 0, 1000.0, seconds, 0.0)])


def simulated(
    rng: np.random.Generator, study: Design, *, skill: float = 1.0, help_: float = 0.0, sway: float = 0.0
) -> Callable[[str, Trial, Known], tuple[str, int, float]]:
    """Readers and cases that differ, and an effect of the second condition.

    Args:
        rng: Random numbers.
        study: The design.
        skill: Mean evidence for the truth, in standard deviations.
        help_: Evidence for the truth that the second condition adds.
        sway: Evidence for the model's answer that it adds, right or wrong.
    """
    of_reader = {name: rng.normal(0, 0.3) for name in study.readers}
    of_case: dict[str, float] = {}
    helped = study.conditions[1].name

    def decide(reader: str, trial: Trial, case: Known) -> tuple[str, int, float]:
        with_it = trial.condition == helped
        hard = of_case.setdefault(case.case_id, rng.normal(0, 0.5))
        evidence = skill + of_reader[reader] + hard + rng.normal() + help_ * with_it
        evidence += sway * with_it * (1 if case.model == case.truth else -1)
        other = next(name for name in ANSWERS if name != case.truth)
        confidence = int(np.clip(1 + abs(evidence) * 2, 1, 5))
        seconds = float(np.exp(rng.normal(2.5, 0.3) + 0.3 * with_it))
        return (case.truth if evidence > 0 else other), confidence, seconds

    return decide
