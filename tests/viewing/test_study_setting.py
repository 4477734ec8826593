"""A study over a store and a run: its cases, the model's answers, and the command line."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
import polars as pl
import pytest
import yaml

from radgaze.cli import main
from radgaze.errors import UserError
from radgaze.runs.run import Run
from radgaze.store.store import Store
from radgaze.viewing.network import Network
from radgaze.viewing.study.cases import draw, truth
from radgaze.viewing.study.conduct import Showing
from radgaze.viewing.study.design import checked, read
from radgaze.viewing.study.setting import model_answer, most_probable, set_up
from radgaze.viewing.study.template import template

GOOD = {
    "readers": ["R1", "R2"],
    "conditions": [{"name": "image"}, {"name": "map", "prediction": True, "method": "grad_cam"}],
}


def content(store: Store, **others: object) -> dict[str, object]:
    name = store.cases["split"].value_counts().sort("count")["split"][-1]  # the split with the most cases
    return {
        **GOOD,
        "cases": {"per_class": 1, "split": name},
        "washout_days": 0,
        **others,
    }


@dataclass(frozen=True)
class Made:
    """The parts of a store that are needed: 60 cases of 30 patients, a few with pneumonia."""

    path: Path = Path("store")
    classes: tuple[str, ...] = ("Normal", "CHF", "pneumonia")

    @cached_property
    def cases(self) -> pl.DataFrame:
        label = ["pneumonia" if k % 10 == 9 else "Normal" if k % 2 else "CHF" for k in range(60)]
        return pl.DataFrame(
            {
                "case_id": [f"case-{k}" for k in range(60)],
                "patient": [k // 2 for k in range(60)],
                "split": "test",
                **{f"label_{name}": [int(each == name) for each in label] for name in self.classes},
            }
        )


def test_drawn_cases_are_some_of_each_class_and_of_different_patients() -> None:
    made = cast(Store, Made())
    wanted = {**GOOD, "cases": {"per_class": 3}, "practice": {"per_class": 1, "split": "test"}}
    design = checked(wanted)
    counting, practice = draw(made, design)
    assert Counter(each.truth for each in counting) == dict.fromkeys(made.classes, 3)
    assert [each.truth for each in counting] == sorted(
        (each.truth for each in counting), key=made.classes.index
    )
    assert Counter(each.truth for each in practice) == dict.fromkeys(made.classes, 1)
    patients = [each.patient for each in (*counting, *practice)]
    assert len(set(patients)) == len(patients)
    assert draw(made, design) == (counting, practice)
    assert draw(made, checked({**wanted, "seed": 2})) != (counting, practice)


def test_cases_that_there_are_not_are_told(store: Store) -> None:
    with pytest.raises(UserError, match="has no case"):
        draw(store, checked(content(store, cases={"ids": ["no such case"]})))
    with pytest.raises(UserError, match="are to be drawn"):
        draw(store, checked(content(store, cases={"per_class": 1000})))
    with pytest.raises(UserError, match="no class"):
        draw(store, checked(content(store, answers={"yes": ["cough"], "no": []})))


def test_the_true_answer_is_that_of_the_classes() -> None:
    row = {"case_id": "a", "label_x": 1, "label_y": 1, "label_z": 0}
    assert truth(row, {"some": ("x", "y"), "none": ()}) == "some"
    assert truth({**row, "label_x": 0, "label_y": 0}, {"some": ("x", "y"), "none": ()}) == "none"
    with pytest.raises(UserError, match="both true"):
        truth(row, {"x": ("x",), "y": ("y",)})
    with pytest.raises(UserError, match="no answer"):
        truth(row, {"z": ("z",), "also z": ("z",)})


def test_the_model_s_answer() -> None:
    p = np.array([0.4, 0.35, 0.25])
    names = ("Normal", "CHF", "pneumonia")
    each = {name: (name,) for name in names}
    assert model_answer(p, each, names, exclusive=True) == ("Normal", dict(zip(names, p, strict=True)))
    said, chances = model_answer(
        p, {"healthy": ("Normal",), "ill": ("CHF", "pneumonia")}, names, exclusive=True
    )
    assert said == "ill"
    assert chances["ill"] == pytest.approx(0.6)
    said, chances = model_answer(p, {"ill": ("CHF", "pneumonia"), "not": ()}, names, exclusive=False)
    assert (said, chances["ill"], chances["not"]) == ("not", 0.35, 0.65)


def test_the_predicted_class_is_one_of_the_model_s_answer() -> None:
    names = ("Normal", "CHF", "pneumonia")
    p = np.array([0.4, 0.28, 0.32])
    answers = {"ill": ("CHF", "pneumonia"), "healthy": ("Normal",)}
    said, _ = model_answer(p, answers, names, exclusive=True)
    assert (said, most_probable(p, answers[said], names)) == ("ill", "pneumonia")


def test_the_heatmap_explains_a_class_of_the_model_s_answer(
    store: Store, networks: list[Network], tmp_path: Path
) -> None:
    first, *others = store.classes
    for k, answers in enumerate(({"a": others, "b": [first]}, {"a": [others[0], first], "b": others[1:]})):
        design = checked(content(store, answers=answers))
        setting = set_up(design, networks[0], store, tmp_path / f"{k}.sqlite")
        for case in setting.conduct.recorder.cases():
            assert setting.targets[case.case_id, "map"] in answers[case.model]


def test_a_heatmap_of_the_predicted_class_needs_answers_with_classes(
    store: Store, networks: list[Network], tmp_path: Path
) -> None:
    others = store.classes[1:]
    answers = {"ill": others, "absent": []}
    with pytest.raises(UserError, match="absent, which stands for no class"):
        set_up(checked(content(store, answers=answers)), networks[0], store, tmp_path / "a.sqlite")
    conditions = [{"name": "image"}, {"name": "map", "method": "grad_cam", "target": others[0]}]
    design = checked(content(store, answers=answers, conditions=conditions))
    setting = set_up(design, networks[0], store, tmp_path / "b.sqlite")
    maps = {target for (_, condition), target in setting.targets.items() if condition == "map"}
    assert maps == {others[0]}


def test_a_study_is_set_up_and_gone_on_with(
    run: Run, store: Store, networks: list[Network], tmp_path: Path
) -> None:
    design = checked(content(store))
    setting = set_up(design, networks[0], store, tmp_path / "record.sqlite")
    shown = setting.conduct.next("R1")
    assert isinstance(shown, Showing)
    setting.conduct.answer(shown.view, setting.conduct.answers[0], 3)
    again = set_up(design, networks[0], store, tmp_path / "record.sqlite")
    following = again.conduct.next("R1")
    assert isinstance(following, Showing)
    assert following.trial.place == 2
    predicted = run.predictions()
    for case in again.conduct.recorder.cases():
        rows = predicted.filter(predicted["case_id"] == case.case_id)
        if rows.height:
            expected = {name: rows[f"probability_{name}"][0] for name in run.classes}
            assert dict(case.probabilities) == pytest.approx(expected, abs=1e-4)
            assert case.model == max(expected, key=lambda name: expected[name])


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ({"method": "attention"}, "does not apply"),
        ({"method": "grad_cam", "target": "cough"}, "target must be"),
    ],
)
def test_a_condition_that_the_run_cannot_show_is_told(
    condition: dict[str, str], words: str, store: Store, networks: list[Network], tmp_path: Path
) -> None:
    design = checked(content(store, conditions=[{"name": "image"}, {"name": "map", **condition}]))
    with pytest.raises(UserError, match=words):
        set_up(design, networks[0], store, tmp_path / "record.sqlite")
    assert not (tmp_path / "record.sqlite").exists()


def test_the_example_is_a_design(tmp_path: Path) -> None:
    for classes in (("Normal", "CHF"), ("yes", "a: b #c")):
        text = template(classes, "grad_cam", 3)
        (tmp_path / "design.yaml").write_text(text)
        design = read(tmp_path / "design.yaml")
        assert design.normal == ("Normal" if "Normal" in classes else None)
        assert [each.explained for each in design.conditions] == [False, True, True]
        commented = text.replace("# answers:", "answers:")
        for name in classes:
            line = f"{yaml.safe_dump({name: [name]}, default_flow_style=True).strip()[1:-1]}"
            assert f"#   {line}" in commented
            commented = commented.replace(f"#   {line}", f"  {line}")
        assert yaml.safe_load(commented)["answers"] == {name: [name] for name in classes}


@pytest.mark.parametrize("space", ["\n", "\x85", "\u2028"])
def test_a_class_name_with_a_line_break_stays_in_its_comment(space: str) -> None:
    name = space.join(("a", "readers: [E1]", "x: \U0001f600b"))
    text = template(("Normal", name), "grad_cam", 3)
    assert yaml.safe_load(text)["readers"] == [f"R{k}" for k in range(1, 7)]
    answers = yaml.safe_load(text.replace("# answers:", "answers:").replace("#   ", "  "))["answers"]
    assert answers == {"Normal": ["Normal"], name: [name]}


def test_the_command_line_writes_a_design_and_results(
    run: Run, store: Store, networks: list[Network], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    design, record = tmp_path / "design.yaml", tmp_path / "design.sqlite"
    assert main(["study", "init", str(design), "--run", str(run.path), "--data", str(store.path)]) == 0
    assert read(design).readers[0] == "R1"
    assert main(["study", "init", str(design), "--run", str(run.path)]) == 2
    assert "exists" in capsys.readouterr().err
    setting = set_up(checked(content(store)), networks[0], store, record)
    while isinstance(shown := setting.conduct.next("R1"), Showing):
        setting.conduct.answer(shown.view, setting.conduct.answers[0], 3)
    out = tmp_path / "results"
    assert main(["study", "results", str(record), "--out", str(out)]) == 0
    assert "Reader R1" in capsys.readouterr().out
    assert (out / "index.html").is_file()
    assert main(["study", "export", str(record), "--out", str(tmp_path / "tables")]) == 0
    assert (tmp_path / "tables" / "readings.csv").is_file()
    (tmp_path / "tracker.csv").write_text("time,x,y\n5,1,1\n")
    gaze = [
        "study",
        "gaze",
        str(record),
        str(tmp_path / "tracker.csv"),
        "--reader",
        "R1",
        "--out",
        str(tmp_path / "g.csv"),
    ]
    assert main(gaze) == 2
    assert "--offset" in capsys.readouterr().err
