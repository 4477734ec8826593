"""Result files: written atomically, read with validation, and older ones without a schema too."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from radgaze import records
from radgaze.errors import UserError
from radgaze.records import Record, optional

ADVICE = "evaluate the run again"


@dataclass(frozen=True)
class Interval:
    low: float
    high: float
    undefined: int | None = optional()


@dataclass(frozen=True)
class Scores(Record):
    name: str
    auc: Interval | None = None
    counts: dict[str, int] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    exact: Interval | None = optional()


@dataclass(frozen=True)
class LaterScores(Scores):
    schema: int = field(default=2, kw_only=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "scores.json"


def test_a_record_comes_back_as_it_was_written(path: Path) -> None:
    whole = Scores(
        "größer", auc=Interval(0.5, 1.0, 3), counts={"cases": 7}, seeds=(1, 2), exact=Interval(0.0, 0.1)
    )
    records.write(whole, path)
    assert records.read(Scores, path, ADVICE) == whole
    assert path.read_text(encoding="utf-8").startswith('{\n  "schema": 1,\n  "name": "größer"')


def test_optional_fields_are_left_out_while_they_are_none_and_others_are_null(path: Path) -> None:
    records.write(Scores("a", auc=None), path)
    assert json.loads(path.read_text()) == {"schema": 1, "name": "a", "auc": None, "counts": {}, "seeds": []}
    assert records.read(Scores, path, ADVICE) == Scores("a")
    assert records.plain(Interval(0.0, 1.0)) == {"low": 0.0, "high": 1.0}
    assert records.plain(Interval(0.0, 1.0, 2)) == {"low": 0.0, "high": 1.0, "undefined": 2}


def test_a_file_of_an_earlier_version_without_schema_is_read(path: Path) -> None:
    path.write_text('{"name": "a", "seeds": [3], "no_longer_there": true}')
    assert records.read(Scores, path, ADVICE) == Scores("a", seeds=(3,))
    records.write(Scores("a"), path)
    assert records.read(LaterScores, path, ADVICE).schema == 1


def test_a_file_of_a_later_schema_is_refused(path: Path) -> None:
    records.write(LaterScores("a"), path)
    with pytest.raises(UserError, match=r"scores\.json has schema 2, this radgaze reads up to 1; update"):
        records.read(Scores, path, ADVICE)
    assert records.read(LaterScores, path, ADVICE) == LaterScores("a")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"name": "a", "auc": {"low": "wide", "high": 1}}', "auc.low: "),
        ('{"name": "a", "auc": {"low": 0}}', "auc.high: Field required"),
        ('{"name": "a", "counts": {"cases": 1.5}}', "counts.cases: "),
        ('{"name": "a", "seeds": [1, null]}', "seeds.1: "),
        ('{"name": 3}', "name: "),
        ("{}", "name: Field required"),
        ('{"name": "a", "schema": "new"}', "schema: "),
        ('{"name": "a", "auc": {"low": NaN, "high": 1}}', "auc.low: not a finite number"),
        ('{"name": "a", "seeds": [1, Infinity]}', "seeds.1: not a finite number"),
    ],
)
def test_a_damaged_value_is_named_by_its_place_with_advice(path: Path, text: str, place: str) -> None:
    path.write_text(text)
    with pytest.raises(UserError) as error:
        records.read(Scores, path, ADVICE)
    assert str(error.value).startswith(f"{path} is damaged: {place}")
    assert str(error.value).endswith(f"; {ADVICE}")


@pytest.mark.parametrize("text", ["", "[]", "null", '{"name": "a"', "\x00"])
def test_a_file_that_is_no_record_is_refused_with_advice(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(UserError, match=ADVICE):
        records.read(Scores, path, ADVICE)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_json_does_not_have_is_refused_and_the_file_stays(path: Path, number: float) -> None:
    records.write(Scores("a"), path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        records.write(Scores("b", auc=Interval(number, 1.0)), path)
    assert records.read(Scores, path, ADVICE) == Scores("a")


def test_a_value_that_json_does_not_have_is_refused() -> None:
    with pytest.raises(TypeError, match="Path is no value of a JSON file"):
        records.plain({"file": Path("a")})
