from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from radgaze.errors import UserError
from radgaze.evaluation import compare
from radgaze.evaluation.agreement import METRICS
from radgaze.evaluation.markdown import escaped, table_of
from radgaze.evaluation.paired import holm
from tests.evaluation.fakes import CLASSES, FakeCase, FakeRun, cases, without_class

MANY = cases(test=90)


@dataclass
class Evaluated(FakeRun):
    """A run whose agreement was measured already: `look` more than another's, with a little noise."""

    cases: tuple[FakeCase, ...] = MANY
    look: float | None = 0.0
    settings: dict[str, Any] = field(default_factory=lambda: {"generator": "guided_backprop"})

    def __post_init__(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        if self.look is None:
            return
        ids = [case.case_id for case in self.dataset("test") if case.gaze]
        shared = np.random.default_rng(0).normal(size=len(ids))
        noise = 0.1 * np.random.default_rng(self.seed + 1).normal(size=len(ids))
        rows = [
            pl.DataFrame(
                {
                    "case_id": ids,
                    "map": [kind] * len(ids),
                    **dict.fromkeys(METRICS, shared + (noise + self.look if kind == "heatmap" else 0)),
                }
            )
            for kind in ("heatmap", "mean_gaze")
        ]
        pl.concat(rows).write_parquet(self.path / "agreement.parquet")
        (self.path / "metrics.json").write_text(json.dumps({"settings": self.settings}), encoding="utf-8")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Evaluated]:
    folder = tmp_path_factory.mktemp("runs")
    return [
        Evaluated(folder / "a", experiment="baseline", skill=0.5, seed=1),
        Evaluated(folder / "b", experiment="set3_guided", skill=2.5, seed=2, look=0.3),
        Evaluated(folder / "c", experiment="no_decoder", skill=0.5, seed=3),
    ]


def test_values_and_differences_are_those_of_scikit_learn(runs: list[Evaluated]) -> None:
    found = compare(runs, resamples=200)
    tables = [run.predictions().filter(split="test") for run in runs]
    auc = [{c: roc_auc_score(t[f"label_{c}"], t[f"probability_{c}"]) for c in CLASSES} for t in tables]
    for of_run in auc:
        of_run["macro"] = np.mean(list(of_run.values()))
    for name, of_run in zip(found.names, auc, strict=True):
        for group, value in of_run.items():
            own = found.table.filter(run=name, metric="auc", group=group)
            assert own["value"].item() == pytest.approx(value)
            if name != found.reference:
                change = found.paired.filter(run=name, metric="auc", group=group)
                assert change["difference"].item() == pytest.approx(value - auc[0][group])
                assert change["low"].item() < change["difference"].item() < change["high"].item()


def test_a_much_better_run_is_told_from_the_reference(runs: list[Evaluated]) -> None:
    macro = compare(runs, resamples=1000).paired.filter(metric="auc", group="macro", run="set3_guided")
    assert macro["p_bootstrap_holm"].item() < 0.01
    assert macro["p_delong_holm"].item() < 0.01


def test_equally_good_runs_are_rarely_told_apart(tmp_path: Path) -> None:
    found = []
    for seed in range(10, 50, 2):
        pair = [
            Evaluated(tmp_path, experiment=f"{s}", skill=0.5, seed=s, look=None) for s in (seed, seed + 1)
        ]
        found.append(
            compare(pair, resamples=200).paired.filter(metric="auc", group="macro").row(0, named=True)
        )
    # Of 20 at 5%, four or more come by chance in 1.6% of the cases; the draws are fixed.
    assert sum(row["p_bootstrap"] < 0.05 for row in found) < 4
    assert sum(row["p_delong"] < 0.05 for row in found) < 4


def test_agreement_is_compared_case_by_case(runs: list[Evaluated]) -> None:
    found = compare(runs, resamples=1000)
    paired = found.paired.filter(map="heatmap", metric="nss")
    of_table = found.table.filter(map="heatmap", metric="nss")
    changed = paired.filter(run="set3_guided")
    assert changed["difference"].item() == pytest.approx(0.3, abs=0.05)
    # The cases differ by 1, the runs on one case by 0.1: only a paired interval is this narrow.
    assert changed["high"].item() - changed["low"].item() < 0.1
    assert (of_table["high"] - of_table["low"]).min() > 0.3
    assert changed["p_bootstrap"].item() == pytest.approx(2 / 1001)
    assert paired.filter(run="no_decoder")["p_bootstrap"].item() > 0.01
    assert not found.paired.filter(metric="kl")["higher_is_better"].any()
    assert found.paired.filter(metric="nss")["higher_is_better"].all()


def test_a_run_does_not_differ_from_its_twin(runs: list[Evaluated]) -> None:
    found = compare([runs[0], runs[0]], resamples=100)
    assert found.names == ("1: baseline", "2: baseline")
    assert found.paired["difference"].abs().max() == 0
    assert found.paired["p_bootstrap"].min() == 1
    assert found.paired["p_delong"].drop_nulls().min() == 1


def test_the_order_of_a_runs_cases_does_not_matter(runs: list[Evaluated], tmp_path: Path) -> None:
    class Shuffled(Evaluated):
        def predictions(self) -> pl.DataFrame:
            return super().predictions().sample(fraction=1, shuffle=True, seed=1)

    shuffled = Shuffled(tmp_path, experiment="set3_guided", skill=2.5, seed=2, look=0.3)
    expected = compare(runs[:2], resamples=50)
    found = compare([runs[0], shuffled], resamples=50)
    assert found.table.equals(expected.table)
    assert found.paired.equals(expected.paired)


def test_tables_are_written_as_markdown_and_csv(runs: list[Evaluated], tmp_path: Path) -> None:
    found = compare(runs, tmp_path / "out", resamples=50)
    text = (tmp_path / "out" / "compare.md").read_text(encoding="utf-8")
    macro = found.table.filter(run="baseline", metric="auc", group="macro")["value"].item()
    assert f"| baseline | {macro:.3f} [" in text
    assert "Holm" in text
    assert "## Agreement with gaze" in text
    assert text.count("mean gaze (floor)") == 1
    assert pl.read_csv(tmp_path / "out" / "compare.csv").height == found.table.height
    assert pl.read_csv(tmp_path / "out" / "paired.csv").columns == found.paired.columns


def test_repeated_patients_are_noted(runs: list[Evaluated]) -> None:
    found = compare(runs[:2], resamples=20)
    assert found.patients < found.cases == 90
    assert any("DeLong" in note for note in found.notes)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (
            {"cases": cases(test=89)},
            "baseline and other have different test cases .1 are in one of them only, such as test-89",
        ),
        ({"cases": without_class(MANY, 2)}, "disagree on labels"),
        ({"classes": ("Normal", "CHF")}, "different classes: Normal, CHF, pneumonia against Normal, CHF"),
    ],
)
def test_runs_that_cannot_be_compared_are_named(
    runs: list[Evaluated], tmp_path: Path, other: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        compare([runs[0], Evaluated(tmp_path, experiment="other", **other)], resamples=10)


def test_one_run_is_not_enough(runs: list[Evaluated]) -> None:
    with pytest.raises(UserError, match="at least two"):
        compare(runs[:1])


def test_agreement_measured_otherwise_is_left_out_with_the_reason(
    runs: list[Evaluated], tmp_path: Path
) -> None:
    others = {
        "was not evaluated yet": Evaluated(tmp_path / "x", experiment="x", look=None),
        "with another generator": Evaluated(
            tmp_path / "y", experiment="y", settings={"generator": "grad_cam"}
        ),
    }
    for words, run in others.items():
        found = compare([runs[0], run], resamples=10)
        assert found.paired["map"].null_count() == found.paired.height
        assert any(words in note for note in found.notes)
        assert words in found.markdown()


def test_holms_correction_of_a_worked_example() -> None:
    # Sorted: 4 · 0.005, 3 · 0.01, 2 · 0.03, then 0.04, lifted to its forerunner.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, None, 0.7]) == [1, None, 1]
    assert holm([0.02, float("nan")]) == [0.02, None]


def test_names_in_markdown_tables_are_text_on_one_line():
    name = "a|b\n| c <img> *x* [y](z) `q` _e_ set3_guided \x1b[2J"
    safe = r"a\|b \| c &lt;img&gt; \*x\* \[y\](z) \`q\` \_e\_ set3_guided \\x1b\[2J"
    assert escaped(name) == safe
    table = table_of(["run", escaped(name)], [["x", "1|2\n3"]])
    assert table == f"| run | {safe} |\n| --- | --- |\n| x | 1\\|2 3 |"
