from pathlib import Path

import numpy as np
import polars as pl
import pytest

from radgaze.evaluation.results import EvaluationSettings
from radgaze.reporting.gallery import choose, choose_changed, decisions, draw_cases
from tests.evaluation.known import known
from tests.reporting.fakes import CLASSES, FakeRun, FakeStore


@pytest.fixture
def run(tmp_path: Path) -> FakeRun:
    return FakeRun(tmp_path / "run")


def test_decisions_take_the_class_with_the_highest_probability(run: FakeRun) -> None:
    test = run.test()
    table = decisions(test, CLASSES)
    for row, decided in zip(test.iter_rows(named=True), table.iter_rows(named=True), strict=True):
        assert decided["predicted"] == max(CLASSES, key=lambda c: row[f"probability_{c}"])
        assert row[f"label_{decided['truth']}"] == 1
        assert decided["of_truth"] == row[f"probability_{decided['truth']}"]


def test_the_chosen_cases_follow_the_rule_that_is_printed(run: FakeRun) -> None:
    table = decisions(run.test(), CLASSES)
    for name, choice in choose(run.test(), CLASSES, 3).items():
        own = table.filter(pl.col("truth") == name)
        right = own.filter(pl.col("predicted") == name).sort("of_truth", descending=True)["case_id"].to_list()
        wrong = (
            own.filter(pl.col("predicted") != name).sort("probability", descending=True)["case_id"].to_list()
        )
        assert choice.correct == (right[0], right[round((len(right) - 1) / 2)], right[-1])
        assert list(choice.wrong) == wrong[:3]
        assert (choice.all_correct, choice.all_wrong) == (len(right), len(wrong))


def test_the_choice_does_not_depend_on_the_order_of_rows(run: FakeRun) -> None:
    assert choose(run.test(), CLASSES) == choose(run.test().reverse(), CLASSES)


def test_few_cases_or_none_are_all_shown_once(run: FakeRun) -> None:
    few = choose(run.test().head(4), CLASSES, 5)
    shown = [i for choice in few.values() for i in (*choice.correct, *choice.wrong)]
    assert sorted(shown) == sorted(run.test().head(4)["case_id"])
    assert all(choice.correct == () for choice in choose(run.test().head(0), CLASSES).values())


def test_between_runs_the_greatest_gain_and_the_greatest_loss_are_shown(tmp_path: Path) -> None:
    before, after = (FakeRun(tmp_path / str(i), seed=i).test() for i in range(2))
    first, last = decisions(before, CLASSES), decisions(after, CLASSES)
    gain = dict(zip(first["case_id"], (last["of_truth"] - first["of_truth"]).to_list(), strict=True))
    for name, ids in choose_changed(before, after.reverse(), CLASSES).items():
        own = first.filter(pl.col("truth") == name)["case_id"].to_list()
        assert ids[0] == max(own, key=lambda i: gain[i])
        assert ids[-1] == min(own, key=lambda i: gain[i])


def test_drawn_cases_keep_their_maps_labels_and_shape(run: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    from radgaze.evaluation import maps

    random = np.random.default_rng(0)
    asked: dict[str, object] = {}
    stack = {
        name: random.random((2, 16, 16)).astype(np.float32)
        for name in ("image", "heatmap", "grad_cam", "gaze")
    }
    given = maps.CaseMaps(
        case_ids=("a", "b"),
        patients=np.array([1, 2]),
        mask=None,
        has_gaze=np.array([True, False]),
        points=np.zeros((2, 1, 2), np.float32),
        present=np.ones((2, 1), bool),
        sigma=np.full((2, 2), 1.5, np.float32),
        boxes=np.zeros((2, 0, 4), np.float32),
        regions=np.zeros((2, 16, 16), bool),
        probabilities=np.array([[0.2, 0.7, 0.1], [0.5, 0.2, 0.3]]),
        labels=np.array([[0, 1, 0], [0, 0, 1]]),
        **stack,
    )

    def case_maps(*_: object, **options: object) -> maps.CaseMaps:
        asked.update(options)
        return given

    monkeypatch.setattr(maps, "case_maps", case_maps)
    shapes = pl.DataFrame({"case_id": ["b", "a"], "rows": [200, 100], "columns": [100, 120]})
    monkeypatch.setattr(FakeRun, "store", FakeStore({}, shapes))
    a, b = draw_cases(run, ["a", "b"], EvaluationSettings(generator="backprop", target="true"))
    assert asked == {"generator": "backprop", "target": "true"}
    assert (a.truth, a.predicted, a.probability, a.aspect) == ("CHF", "CHF", 0.7, 1.2)
    assert (b.truth, b.predicted, b.correct, b.aspect) == ("pneumonia", "Normal", False, 0.5)
    assert known(a.scan).shape == (26, 32)  # 100 × 120 on a square of 32, without its padding
    assert known(b.scan).shape == (32, 16)
    assert (known(a.scan) == 1).all()  # each from its own row of the store
    assert (known(b.scan) == 0).all()
    assert a.gaze is not None
    assert b.gaze is None
    assert a.mask is None
    np.testing.assert_allclose(known(a.heatmap), maps.smoothed(stack["heatmap"], given.sigma)[0])
