"""The order of cases: balanced over readers, cases, conditions and successive conditions."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise

import pytest

from radgaze.errors import UserError
from radgaze.records import plain
from radgaze.viewing.study.design import Condition, Design, Selection, checked
from radgaze.viewing.study.order import imbalance, rows_of, trials, unevenness, williams


def design(readers: int, conditions: int, **others: object) -> Design:
    values = {
        "readers": [f"R{k}" for k in range(readers)],
        "conditions": [{"name": f"c{k}"} for k in range(conditions)],
        "cases": {"per_class": 1},
        **others,
    }
    return checked(values)


CASES = [f"case-{k:02d}" for k in range(36)]


@pytest.mark.parametrize("conditions", [2, 3, 4, 5, 6])
def test_in_a_williams_square_each_condition_follows_each_other_equally_often(conditions: int) -> None:
    rows = williams(conditions)
    for column in zip(*rows, strict=True):
        assert set(Counter(column).values()) == {len(rows) // conditions}
    pairs = Counter(pair for row in rows for pair in pairwise(row))
    assert len(pairs) == conditions * (conditions - 1)
    assert len(set(pairs.values())) == 1


@pytest.mark.parametrize(
    ("conditions", "arrangement"), [(2, "crossover"), (3, "crossover"), (2, "split"), (3, "split")]
)
@pytest.mark.parametrize("order", ["mixed", "blocks"])
@pytest.mark.parametrize("times", [1, 2])
def test_each_case_is_read_equally_often_in_each_condition(
    conditions: int, arrangement: str, order: str, times: int
) -> None:
    needed = rows_of(design(2, conditions, arrangement=arrangement))
    study = design(needed * times, conditions, arrangement=arrangement, order=order)
    assert imbalance(study, len(CASES)) is None
    in_condition, in_session, followed = (
        Counter[tuple[str, str]](),
        Counter[tuple[str, int, str]](),
        Counter[tuple[str, str, str]](),
    )
    for reader in study.readers:
        of_reader = trials(study, CASES, [], reader)
        assert [(t.session, t.place) for t in of_reader] == sorted((t.session, t.place) for t in of_reader)
        seen: dict[str, list[str]] = {}
        for session in range(1, study.sessions + 1):
            shown = [t for t in of_reader if t.session == session]
            assert sorted(t.case_id for t in shown) == CASES  # each case once in a session
            assert [t.place for t in shown] == list(range(1, len(CASES) + 1))
            assert set(Counter(t.condition for t in shown).values()) == {len(CASES) // conditions}
            for t in shown:
                in_session[t.case_id, t.session, t.condition] += 1
                seen.setdefault(t.case_id, []).append(t.condition)
        for case_id, of_case in seen.items():
            assert len(set(of_case)) == len(of_case)
            in_condition.update((case_id, name) for name in of_case)
            followed.update((case_id, a, b) for a, b in pairwise(of_case))
    assert len(in_condition) == len(CASES) * conditions
    assert len(set(in_condition.values())) == 1
    assert len(set(in_session.values())) == 1
    if arrangement == "crossover":  # carry-over from one session to the next, of each case
        assert len(followed) == len(CASES) * conditions * (conditions - 1)
        assert len(set(followed.values())) == 1


@pytest.mark.parametrize("conditions", [2, 3])
def test_successive_conditions_of_a_mixed_session_are_balanced(conditions: int) -> None:
    study = design(6, conditions)
    names = [each.name for each in study.conditions]
    for reader in study.readers:
        of_reader = trials(study, CASES, [], reader)
        for session in range(1, study.sessions + 1):
            sequence = [t.condition for t in of_reader if t.session == session]
            assert unevenness(sequence, names) <= 1


def test_blocks_follow_each_other_equally_often_over_readers_and_sessions() -> None:
    study = design(6, 3, order="blocks")
    followed = Counter[tuple[str, str]]()
    for reader in study.readers:
        of_reader = trials(study, CASES, [], reader)
        for session in (1, 2, 3):
            sequence = [t.condition for t in of_reader if t.session == session]
            blocks = [name for k, name in enumerate(sequence) if k == 0 or sequence[k - 1] != name]
            assert len(blocks) == 3
            followed.update(pairwise(blocks))
    assert len(followed) == 6
    assert len(set(followed.values())) == 1


def test_conditions_are_spread_over_the_cases_of_each_class() -> None:
    study = design(2, 2)
    for reader in study.readers:
        first = {t.case_id: t.condition for t in trials(study, CASES, [], reader) if t.session == 1}
        for start in (0, 12, 24):  # classes stand together
            assert Counter(first[name] for name in CASES[start : start + 12]) == {"c0": 6, "c1": 6}


def test_the_order_depends_on_seed_and_reader_alone() -> None:
    study = design(4, 2)
    again = design(6, 2)  # two readers were added at the end
    assert trials(study, CASES, ["p1"], "R1") == trials(again, CASES, ["p1"], "R1")
    assert trials(study, CASES, [], "R1") != trials(study, CASES, [], "R3")
    assert trials(study, CASES, [], "R1") != trials(design(4, 2, seed=2), CASES, [], "R1")


def test_practice_comes_first_and_only_once() -> None:
    study = design(2, 2)
    shown = trials(study, CASES, ["p1", "p2"], "R0")
    assert [(t.session, t.place, t.case_id) for t in shown if t.practice] == [(1, 1, "p1"), (1, 2, "p2")]
    assert {t.condition for t in shown if t.practice} == {"c0", "c1"}


def test_what_is_not_balanced_is_told() -> None:
    told = imbalance(design(4, 3), 10)
    assert told is not None
    assert "4 readers is no multiple of 6" in told
    assert "10 cases is no multiple of 3" in told


GOOD = {
    "readers": ["R1", "R2"],
    "conditions": [{"name": "image"}, {"name": "map", "prediction": True, "method": "grad_cam"}],
    "cases": {"per_class": 3},
}


def test_a_design_is_read() -> None:
    study = checked(GOOD)
    assert study.conditions[1] == Condition("map", prediction=True, method="grad_cam")
    assert study.cases == Selection(per_class=3)
    assert study.sessions == 2
    assert study.scale == (1, 5)
    assert study == checked({**GOOD, "seed": 1}) != checked({**GOOD, "seed": 2})
    assert study == checked(json.loads(json.dumps(plain(study))))  # as the record keeps it


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"readers": []}, "at least 1"),
        ({"readers": ["Dr Jane Doe"]}, "must be a code"),
        ({"readers": ["R1", "r1"]}, "given twice"),
        ({"conditions": [{"name": "image"}]}, "at least 2"),
        ({"conditions": [{"name": "a"}, {"name": "b", "method": "grad-cam"}]}, "grad_cam"),
        ({"conditions": [{"name": "a"}, {"name": "b", "method": "all"}]}, "one method"),
        ({"conditions": [{"name": "a"}, {"name": "b", "heatmap": "cam"}]}, "heatmap"),
        ({"cases": {}}, "ids, or per_class"),
        ({"cases": {"ids": ["a"], "per_class": 1}}, "not both"),
        ({"cases": {"ids": ["a", "a"]}}, "twice"),
        ({"cases": {"ids": ["a"]}, "practice": {"ids": ["a"]}}, "one of the cases"),
        ({"confidence": 7}, "confidence"),
        ({"arrangement": "parallel"}, "arrangement"),
        ({"washout_days": -1}, "washout_days"),
        ({"answers": {"yes": ["a"], "no": []}, "normal": "none"}, "none of the answers"),
        ({"time_limits": 3}, "time_limits"),
    ],
)
def test_a_mistake_in_a_design_is_told(change: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        checked({**GOOD, **change})
