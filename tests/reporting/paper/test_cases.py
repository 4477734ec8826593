from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from radgaze.errors import UserError
from radgaze.evaluation.results import EvaluationSettings
from radgaze.reporting.case_panels import Case
from radgaze.reporting.paper import Results, cases
from radgaze.runs.run import Run
from tests.evaluation.known import known
from tests.reporting.fakes import CLASSES, draw
from tests.reporting.paper.grids import REASON, grid


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("grid")
    return grid(folder, seeds=(3, 5), failed={("set1_guided", 3): REASON}, test_cases=40)


def nothing() -> None:
    pass


def labels(results: Results, seed: int) -> dict[str, str]:
    table = results.runs["baseline"][seed].predictions().filter(pl.col("split") == "test")
    return {row["case_id"]: c for row in table.iter_rows(named=True) for c in CLASSES if row[f"label_{c}"]}


def test_the_cases_are_of_their_class_and_of_the_first_seed_that_all_have(results: Results) -> None:
    choice = cases.choose(results, each=3)
    of = labels(results, 3)
    assert set(choice.seeds.values()) == {3}
    for name, ids in choice.ids.items():
        assert len(set(ids)) == 3
        assert {of[case_id] for case_id in ids} == {name}
    assert "seed 3" in choice.rule


def test_a_missing_run_moves_the_choice_to_a_seed_that_all_have(results: Results) -> None:
    runs = {**results.runs, "set3_guided": {5: results.runs["set3_guided"][5]}}
    choice = cases.choose(Results("honest", "validation", runs, {}))
    assert set(choice.seeds.values()) == {5}


def test_the_draw_repeats_with_its_seed_and_changes_with_another(results: Results) -> None:
    assert cases.choose(results, each=5) == cases.choose(results, each=5)
    assert cases.choose(results, each=5).ids != cases.choose(results, each=5, seed=1).ids


def test_only_cases_that_every_experiment_tested_are_shown(results: Results) -> None:
    class Fewer:
        path, classes = results.runs["baseline"][3].path, CLASSES

        def predictions(self) -> pl.DataFrame:
            return results.runs["baseline"][3].predictions().tail(12)

    runs: dict[str, Any] = {**results.runs, "baseline": {3: Fewer()}}
    choice = cases.choose(Results("honest", "validation", runs, {}), each=100)
    shown = {case_id for ids in choice.ids.values() for case_id in ids}
    assert shown == set(Fewer().predictions()["case_id"])
    assert "of the 12 test cases that all experiments share" in choice.rule


def test_cases_with_gaze_go_first(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set(sorted(labels(results, 3))[::4])
    monkeypatch.setattr(cases, "_with_gaze", lambda run: seen)
    for name, ids in cases.choose(results, each=100).ids.items():
        known = [case_id in seen for case_id in ids]
        assert known == sorted(known, reverse=True), name


def test_the_four_panels_are_the_papers_and_empty_ones_say_why(results: Results) -> None:
    choice = cases.choose(results, each=1)
    drawn = cases.draw_all(results, choice, draw, nothing)
    case_id = choice.ids["CHF"][0]

    def titles(name: str) -> list[tuple[str, str | None]]:
        row = cases.four_panels(drawn[name].cases.get(case_id), drawn[name])
        return [(panel.title, panel.note if panel.pixels is None else None) for panel in row]

    assert titles("set3_guided") == [(t, None) for t in ("Radiograph", "Gaze", "Mask", "Guided backprop")]
    assert titles("no_decoder")[2] == ("Mask", "no decoder")
    assert known(titles("set1_guided")[0][1]).startswith("failed: CUDA out of memory")


def test_a_run_whose_store_is_gone_leaves_empty_panels_and_no_path(results: Results) -> None:
    def gone(run: Run, ids: Sequence[str], settings: EvaluationSettings) -> list[Case]:
        raise UserError("the store of run, /archives/of somebody/store, is gone")

    drawn = cases.draw_all(results, cases.choose(results), gone, nothing)
    assert drawn["baseline"].reason == "no picture: the store of run, …/store, is gone"
    assert drawn["baseline"].cases == {}


def test_every_experiment_has_its_rows_and_case_ids_are_nowhere(results: Results, tmp_path: Path) -> None:
    choice = cases.choose(results, each=1)
    drawn = cases.draw_all(results, choice, draw, nothing)
    written = {path.relative_to(tmp_path).as_posix() for path in cases.write_figures(choice, drawn, tmp_path)}
    attempted = ("baseline", "no_decoder", "set1_guided", "set3_guided")
    assert written == {
        *(f"cases/{name}_{c}.png" for name in attempted for c in CLASSES),
        *(f"sheet_{c}.png" for c in CLASSES),
    }
    for path in written:
        image = Image.open(tmp_path / path)
        pixels = np.asarray(image.convert("L"), dtype=float)
        assert pixels.shape[0] > 1.8 * image.info["dpi"][0]
        assert pixels.std() > (2 if "set1" in path else 20)
    rows = cases.sheet(choice.ids["CHF"], drawn)
    assert [len(panels) for _, _, panels in rows] == [2] * 5
    assert [page.split(":")[0] for _, page, _ in rows][1:] == [
        "No decoder",
        "Baseline U-Net",
        "Set 1, guided",
        "Set 3, guided",
    ]
    ids = [case_id for of_class in choice.ids.values() for case_id in of_class]
    words = str([(words, page) for words, page, _ in rows]) + str(
        [(p.title, p.alt) for g in cases.page_groups(choice, drawn) for _, row in g.rows for p in row]
    )
    assert not any(case_id in words for case_id in ids)


def test_experiments_that_share_no_case_are_shown_without_cases(tmp_path: Path) -> None:
    one, other = (
        grid(tmp_path / str(seed), [name], [seed]) for seed, name in enumerate(("baseline", "set3_guided"))
    )
    both = Results("honest", "validation", {**one.runs, **other.runs}, {})
    choice = cases.choose(both)
    drawn = cases.draw_all(both, choice, draw, nothing)
    assert all(ids == () for ids in choice.ids.values())
    assert cases.write_figures(choice, drawn, tmp_path) == []
    assert [group.rows for group in cases.page_groups(choice, drawn)] == [()] * 3
