"""A model card has the figures of the run and no others, and names no patient, case or place."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from radgaze.cli import main
from radgaze.evaluation import EvaluationOptions, evaluate
from radgaze.exporting.card import SECTIONS, card, write_card
from radgaze.exporting.options import CardOptions
from radgaze.runs.run import Run
from radgaze.store.store import Store
from tests.exporting.conftest import trained


@pytest.fixture(scope="module")
def evaluated(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = trained(store, tmp_path_factory.mktemp("card") / "run")
    evaluate(run, EvaluationOptions(resamples=50))
    return run


def section(text: str, title: str) -> str:
    return text.split(f"## {title}\n")[1].split("\n## ")[0]


def header(text: str) -> dict[str, object]:
    content: dict[str, object] = yaml.safe_load(text.split("---\n")[1])
    return content


def test_a_card_has_every_figure_of_the_run_with_its_interval(evaluated: Run) -> None:
    text = card(evaluated)
    test = json.loads((evaluated.path / "metrics.json").read_text())["test"]
    for group in ("macro", *evaluated.classes):
        auc = test["auc"][group]
        assert f"{auc['value']:.3f}" in section(text, "Results")
        if auc["low"] is not None:
            assert f"[{auc['low']:.3f}, {auc['high']:.3f}]" in section(text, "Results")
    assert f"{test['agreement']['heatmap']['nss']['value']:.3f}".replace("-", "−") in section(
        text, "Explanation maps"
    )
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        f"## {title}" for title in SECTIONS
    ]
    index = header(text)["model-index"]
    assert isinstance(index, list)
    named = {figure["type"]: figure["value"] for figure in index[0]["results"][0]["metrics"]}
    assert named["roc_auc"] == pytest.approx(test["auc"]["macro"]["value"], abs=1e-4)


def test_what_a_run_lacks_is_said_to_be_missing(evaluated: Run, store: Store, tmp_path: Path) -> None:
    text = card(evaluated)
    assert "Missing" in section(text, "Reliance on confounders")
    assert "missing" in section(text, "When to refer a case")
    assert "missing" in section(text, "Controls")
    bare = tmp_path / "bare"
    shutil.copytree(evaluated.path, bare)
    (bare / "metrics.json").unlink()
    text = card(Run.open(bare))
    assert "not evaluated" in section(text, "Results")
    assert "metrics" not in header(text)
    assert not re.search(r"\d\.\d{3} \[", text)


def test_a_card_names_no_patient_case_or_place(evaluated: Run, store: Store) -> None:
    text = card(evaluated)
    assert not [case for case in store.cases["case_id"] if case in text]
    assert not [
        patient for patient in store.cases["patient"] if len(str(patient)) > 2 and str(patient) in text
    ]
    assert "ecret" not in text  # of the files' names and numbers
    assert str(store.path) not in text
    assert str(evaluated.path) not in text


def test_a_hub_reads_the_header(evaluated: Run) -> None:
    from huggingface_hub import ModelCard

    data: Any = ModelCard(card(evaluated)).data
    assert data.library_name == "radgaze"
    assert data.eval_results is not None
    assert {result.metric_type for result in data.eval_results} >= {"roc_auc", "brier_score"}


@pytest.mark.parametrize(
    ("source", "words"), [("egd", "PhysioNet Credentialed"), ("mine", "No licence is stated")]
)
def test_weights_of_mimic_are_not_for_a_public_place(
    source: str, words: str, evaluated: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from radgaze.exporting import card as module
    from radgaze.reporting.description import StoreFacts

    monkeypatch.setattr(module, "store_facts", lambda run: StoreFacts(source, 24))
    text = card(evaluated)
    assert words in section(text, "Licence")
    assert header(text)["license"] == {"egd": "other", "mine": "unknown"}[source]
    named = card(evaluated, CardOptions("cc-by-4.0"))
    assert header(named)["license"] == "cc-by-4.0"
    assert ("Do not upload" in named) == (source == "egd")


def test_the_verb_writes_the_card_alone(
    evaluated: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = set(evaluated.path.rglob("*"))
    assert main(["card", str(evaluated.path)]) == 0
    assert set(evaluated.path.rglob("*")) - before == {evaluated.path / "card.md"}
    assert main(["card", str(evaluated.path), "--out", str(tmp_path / "new" / "README.md")]) == 0
    assert (tmp_path / "new" / "README.md").read_text() == (evaluated.path / "card.md").read_text()
    assert main(["card", str(evaluated.path), "--out", str(tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err
    assert write_card(evaluated) == evaluated.path / "card.md"


def test_a_card_replaces_another_card_and_no_other_file(
    evaluated: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "README.md"
    assert write_card(evaluated, out, CardOptions("cc-by-4.0")) == write_card(evaluated, out) == out
    hub, config = tmp_path / "hub.md", evaluated.path / "config.yaml"
    hub.write_text("---\nlicense: mit\nlibrary_name: timm\n---\n")  # the card of another library
    for other in (hub, config):
        before = other.read_bytes()
        assert main(["card", str(evaluated.path), "--out", str(other)]) == 2
        assert f"--out {other} is a file and no card" in capsys.readouterr().err
        assert other.read_bytes() == before
