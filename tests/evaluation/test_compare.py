from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from radgaze import records
from radgaze.errors import UserError
from radgaze.evaluation import Comparison, compare, comparison_rows, paired
from radgaze.evaluation.classification import class_estimates
from radgaze.evaluation.comparison_options import CompareOptions
from radgaze.evaluation.comparison_rows import PairedRow
from radgaze.evaluation.metrics.agreement import METRICS
from radgaze.evaluation.paired import differing
from radgaze.evaluation.results import MACRO
from radgaze.evaluation.statistics import policy
from radgaze.evaluation.statistics.case_means import mean_interval, mean_p
from radgaze.evaluation.statistics.delong import delong_test
from radgaze.evaluation.statistics.multiple_testing import holm
from radgaze.markdown import escaped, table_of
from radgaze.reporting.comparison_tables import comparison_markdown, write_markdown
from radgaze.reporting.statistics_words import verdict_words
from radgaze.reporting.wording import difference
from radgaze.runs import origin
from tests.evaluation.fakes import CLASSES, FakeCase, FakeRun, cases, without_class
from tests.evaluation.strata import strata_drawn

MANY = cases(test=90)


@dataclass(frozen=True)
class Evaluated(FakeRun):
    """A run whose agreement was measured already: `look` more than another's, with a little noise."""

    cases: tuple[FakeCase, ...] = MANY
    look: float | None = 0.0
    settings: dict[str, Any] = field(default_factory=lambda: {"generator": "guided_backprop"})

    def __post_init__(self) -> None:
        super().__post_init__()
        self.path.mkdir(parents=True, exist_ok=True)
        if self.look is None:
            return
        ids = [case.case_id for case in self.of_split("test") if case.gaze]
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


def compared(runs: Sequence[Evaluated], resamples: int) -> Comparison:
    return compare(runs, CompareOptions(resamples=resamples))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Evaluated]:
    folder = tmp_path_factory.mktemp("runs")
    return [
        Evaluated(folder / "baseline", experiment="baseline", skill=0.5, seed=1),
        Evaluated(folder / "set3_guided", experiment="set3_guided", skill=2.5, seed=2, look=0.3),
        Evaluated(folder / "no_decoder", experiment="no_decoder", skill=0.5, seed=3),
    ]


def test_values_and_differences_are_those_of_scikit_learn(runs: list[Evaluated]) -> None:
    found = compared(runs, 200)
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
    macro = compared(runs, 1000).paired.filter(metric="auc", group="macro", run="set3_guided")
    assert macro["p_bootstrap_holm"].item() < 0.01
    assert macro["p_delong_holm"].item() < 0.01


def test_equally_good_runs_are_rarely_told_apart(tmp_path: Path) -> None:
    found = []
    for seed in range(10, 50, 2):
        pair = [
            Evaluated(tmp_path, experiment=f"{s}", skill=0.5, seed=s, look=None) for s in (seed, seed + 1)
        ]
        found.append(compared(pair, 200).paired.filter(metric="auc", group="macro").row(0, named=True))
    # Of 20 at 5%, four or more come by chance in 1.6% of the cases; the draws are fixed.
    assert sum(row["p_bootstrap"] < 0.05 for row in found) < 4
    assert sum(row["p_delong"] < 0.05 for row in found) < 4


def test_agreement_is_compared_case_by_case(runs: list[Evaluated]) -> None:
    found = compared(runs, 1000)
    paired = found.paired.filter(map="heatmap", metric="nss")
    of_table = found.table.filter(map="heatmap", metric="nss")
    changed = paired.filter(run="set3_guided")
    assert changed["difference"].item() == pytest.approx(0.3, abs=0.05)
    # The cases differ by 1, the runs on one case by 0.1: only a paired interval is this narrow.
    assert changed["high"].item() - changed["low"].item() < 0.1
    assert (of_table["high"] - of_table["low"]).to_numpy().min() > 0.3
    assert changed["p_bootstrap"].item() == pytest.approx(2 / 1001)
    assert paired.filter(run="no_decoder")["p_bootstrap"].item() > 0.01
    assert not found.paired.filter(metric="kl")["higher_is_better"].any()
    assert found.paired.filter(metric="nss")["higher_is_better"].all()


def test_agreement_on_few_patients_has_the_interval_of_a_mean_of_few(tmp_path: Path) -> None:
    pair = [
        Evaluated(
            tmp_path / f"{seed}", experiment=f"{seed}", seed=seed, look=0.1 * seed, cases=cases(test=24)
        )
        for seed in (1, 2)
    ]
    found, test = compared(pair, 50), pair[0].predictions().filter(split="test")
    tables = [pl.read_parquet(run.path / "agreement.parquet").filter(map="heatmap") for run in pair]
    with_gaze = tables[0].select("case_id").join(test, on="case_id", maintain_order="left")
    patients, (first, second) = with_gaze["patient"].to_numpy(), (t["cc"].to_numpy() for t in tables)
    assert len(set(patients)) < 24
    own = found.table.row(by_predicate=_is(run="2", metric="cc", map="heatmap"), named=True)
    assert (own["low"], own["high"]) == pytest.approx(np.clip(mean_interval(second, patients), -1, 1))
    change = found.paired.row(by_predicate=_is(run="2", metric="cc", map="heatmap"), named=True)
    assert (change["low"], change["high"]) == pytest.approx(mean_interval(second - first, patients))
    assert change["p_bootstrap"] == mean_p(second - first, patients) < 2 / 51


def test_agreement_on_very_few_patients_has_no_interval_and_is_shown_all_the_same(tmp_path: Path) -> None:
    pair = [
        Evaluated(tmp_path / f"{seed}", experiment=f"{seed}", seed=seed, look=0.1, cases=cases(test=6))
        for seed in (1, 2)
    ]
    found = compared(pair, 50)
    own = found.paired.filter(map="heatmap")
    assert own["difference"].is_not_null().all()
    assert own["low"].is_null().all()
    assert own["p_bootstrap"].is_null().all()
    assert "nan" not in comparison_markdown(found).lower()


def _is(**values: str) -> pl.Expr:
    return pl.all_horizontal([pl.col(name) == value for name, value in values.items()])


def test_a_class_of_few_patients_is_said_to_have_too_narrow_differences(tmp_path: Path) -> None:
    def notes(of: tuple[FakeCase, ...]) -> list[str]:
        pair = [Evaluated(tmp_path / f"{s}", experiment=f"{s}", seed=s, look=None, cases=of) for s in (1, 2)]
        return [note for note in compared(pair, 20).notes if "have the class" in note]

    many = cases(test=150)  # 50 cases of each class
    assert notes(many) == []
    of_chf = [case for case in many if (case.label, case.split) == (1, "test")]
    fewer = tuple(replace(case, label=0) if case in of_chf[25:] else case for case in many)
    (note,) = notes(fewer)
    assert note.startswith(f"{CLASSES[1]}: fewer than 30 patients")


def test_a_run_does_not_differ_from_its_twin(runs: list[Evaluated]) -> None:
    found = compared([runs[0], runs[0]], 100)
    assert found.names == ("1: baseline", "2: baseline")
    again = replace(runs[0], path=runs[0].path.parent / "other" / "baseline")
    names = compared([runs[0], again], 20).names
    assert names == (f"{runs[0].path.parent.name}/baseline", "other/baseline")
    assert found.paired["difference"].abs().max() == 0
    assert found.paired["p_bootstrap"].min() == 1
    assert found.paired["p_delong"].drop_nulls().min() == 1


def test_the_order_of_a_runs_cases_does_not_matter(runs: list[Evaluated], tmp_path: Path) -> None:
    class Shuffled(Evaluated):
        def predictions(self) -> pl.DataFrame:
            return super().predictions().sample(fraction=1, shuffle=True, seed=1)

    shuffled = Shuffled(tmp_path / "set3_guided", experiment="set3_guided", skill=2.5, seed=2, look=0.3)
    expected = compared(runs[:2], 50)
    found = compared([runs[0], shuffled], 50)
    assert found.table.equals(expected.table)
    assert found.paired.equals(expected.paired)


def test_tables_are_written_as_markdown_and_csv(runs: list[Evaluated], tmp_path: Path) -> None:
    found = compared(runs, 50)
    found.write(tmp_path / "out")
    write_markdown(found, tmp_path / "out")
    text = (tmp_path / "out" / "compare.md").read_text(encoding="utf-8")
    macro = found.table.filter(run="baseline", metric="auc", group="macro")["value"].item()
    assert f"| baseline | {macro:.3f} [" in text
    assert "Holm" in text
    assert "## Agreement with gaze" in text
    assert text.count("mean gaze (floor)") == 1
    assert pl.read_csv(tmp_path / "out" / "compare.csv").height == found.table.height
    assert pl.read_csv(tmp_path / "out" / "paired.csv").columns == found.paired.columns


def test_repeated_patients_are_noted(runs: list[Evaluated]) -> None:
    found = compared(runs[:2], 20)
    assert found.patients < found.cases == 90
    assert any("over patients" in note for note in found.notes)


def test_delongs_p_value_is_over_patients(runs: list[Evaluated]) -> None:
    found = compared(runs[:2], 20)
    (labels, b), (_, a) = scored(runs[0]), scored(runs[1])
    patients = runs[0].predictions().filter(split="test")["patient"]
    p = found.paired.filter(metric="auc", group="macro")["p_delong"].item()
    assert p == pytest.approx(delong_test(labels, a, b, patients).p, rel=1e-6, abs=0)
    assert p != pytest.approx(delong_test(labels, a, b).p, rel=1e-6, abs=0)


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
        compared([runs[0], Evaluated(tmp_path / "other", experiment="other", **other)], 10)


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
        found = compared([runs[0], run], 10)
        assert found.paired["map"].null_count() == found.paired.height
        assert any(words in note for note in found.notes)
        assert words in comparison_markdown(found)


def test_holms_correction_of_a_worked_example() -> None:
    # Sorted: 4 · 0.005, 3 · 0.01, 2 · 0.03, then 0.04, lifted to its forerunner.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, None, 0.7]) == [1, None, 1]
    assert holm([0.02, float("nan")]) == [0.02, None]


def test_names_in_markdown_tables_are_text_on_one_line() -> None:
    name = "a|b\n| c <img> *x* [y](z) `q` _e_ set3_guided \x1b[2J"
    safe = r"a\|b \| c &lt;img&gt; \*x\* \[y\](z) \`q\` \_e\_ set3_guided \\x1b\[2J"
    assert escaped(name) == safe
    table = table_of(["run", escaped(name)], [["x", "1|2\n3"]])
    assert table == f"| run | {safe} |\n| --- | --- |\n| x | 1\\|2 3 |"


def test_detectable_difference_of_aucs_is_what_delongs_error_gives(runs: list[Evaluated]) -> None:
    found = compared(runs[:2], 2000).paired.filter(metric="auc", group="macro").row(0, named=True)
    assert found["detectable_at"] == 0.05
    (labels, b), (_, a) = scored(runs[0]), scored(runs[1])
    error = delong_test(labels, a, b).error
    # Patients of several cases make it a little larger than DeLong's over cases.
    assert found["detectable"] == pytest.approx((1.96 + 0.8416) * error, rel=0.15)
    three = compared(runs, 2000).paired.filter(metric="auc", group="macro", run="set3_guided")
    assert three["detectable_at"].item() == 0.025
    assert three["detectable"].item() == pytest.approx(
        found["detectable"] * (2.241 + 0.8416) / 2.8016, rel=0.01
    )


def scored(run: Evaluated) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """(C, n) labels and probabilities of the test cases."""
    table = run.predictions().filter(split="test")
    labels, scores = (
        table.select([f"{kind}_{c}" for c in CLASSES]).to_numpy().T for kind in ("label", "probability")
    )
    return labels, scores


def test_every_paired_figure_says_what_could_have_been_found_or_why_not(runs: list[Evaluated]) -> None:
    paired = compared(runs, 200).paired
    known = paired["detectable"].is_not_null()
    assert (known | paired["detectable_note"].is_not_null()).all()
    assert paired.filter(known)["metric"].n_unique() >= 3 + len(METRICS)
    assert paired["needed"].is_not_null().sum() == 2  # of the macro AUC, of each run


def test_a_twin_and_too_few_patients_have_no_detectable_difference(tmp_path: Path) -> None:
    few = [
        Evaluated(tmp_path / f"{s}", seed=s, cases=cases(test=12), look=None, experiment=f"{s}")
        for s in (1, 2)
    ]
    notes = set(compared(few, 100).paired["detectable_note"])
    assert len(notes) == 1
    assert "too few patients" in notes.pop()
    twin = compared([few[0], few[0]], 100)
    assert twin.paired["detectable"].null_count() == twin.paired.height
    assert "not stated: too few patients" in comparison_markdown(twin)


def test_a_bootstraps_p_at_its_floor_is_a_bound_in_every_form_and_delongs_is_none(
    runs: list[Evaluated], tmp_path: Path
) -> None:
    found = compared(runs, 99)
    found.write(tmp_path)
    written = pl.read_csv(tmp_path / "paired.csv")
    macro = written.filter(metric="auc", group="macro")
    clear = macro.filter(run="set3_guided").row(0, named=True)
    assert clear["p_bootstrap"] == pytest.approx(2 / 100)
    assert clear["p_bootstrap_holm"] == pytest.approx(4 / 100)
    assert clear["p_bootstrap_is_bound"]
    assert clear["p_bootstrap_holm_is_bound"]
    at_floor = written["p_bootstrap"] < 2 / 100 + 1e-9
    assert written["p_bootstrap_is_bound"].to_list() == at_floor.to_list()
    assert 0 < at_floor.sum() < written.height
    assert not any("delong" in name and "bound" in name for name in written.columns)
    line = next(
        one for one in comparison_markdown(found).splitlines() if one.startswith("| set3_guided | AUC macro")
    )
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[3:5] == ["better", "≤ 0.020"]
    assert cells[6] == "≤ 0.040"
    assert "≤" not in cells[5] + cells[7]


def test_on_five_patients_no_run_is_better_and_no_p_value_is_shown(tmp_path: Path) -> None:
    few = cases(test=5)
    runs = [
        Evaluated(tmp_path / "a", experiment="baseline", skill=-3.0, seed=1, cases=few),
        Evaluated(tmp_path / "set3_guided", experiment="set3_guided", skill=9.0, seed=2, look=3.0, cases=few),
    ]
    found = compared(runs, 200)
    assert (found.paired["low"] > 0).any()  # by its interval alone it would be better
    rows = [line for line in comparison_markdown(found).splitlines() if line.startswith("| set3_guided | ")]
    paired = [row for row in rows if "too few" in row]
    assert len(paired) == found.paired.height
    for row in paired:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[3].startswith("too few patients (")
        assert cells[4:6] == ["–", "–"]


def test_the_cases_that_differ_are_those_an_exchange_of_the_two_runs_scores_would_move() -> None:
    """Oracle: exchange one case's scores between the runs and see whether the difference of AUCs moves."""
    rng = np.random.default_rng(4)
    label = np.array([1, 1, 1, 0, 0, 0, 0, 0])
    first = rng.permutation(8) / 10
    second = first.copy()
    second[[0, 5]] = second[[5, 0]]
    table, reference = (
        pl.DataFrame({"patient": range(8), "probability_a": p, "label_a": label}) for p in (second, first)
    )
    differ = differing(table, reference, "auc", ["a"])
    for place in range(8):
        a, b = second.copy(), first.copy()
        a[place], b[place] = b[place], a[place]
        before = roc_auc_score(label, second) - roc_auc_score(label, first)
        after = roc_auc_score(label, a) - roc_auc_score(label, b)
        assert differ[place] or after == pytest.approx(before)  # none that matters is left out
    assert set(np.flatnonzero(differ)) <= {0, 5}
    # Another scale moves no case past another: AUCs cannot differ, Brier scores can.
    scaled = reference.with_columns(probability_a=pl.col("probability_a") / 2 + 0.1)
    assert not differing(scaled, reference, "auc", ["a"]).any()
    assert differing(scaled, reference, "brier", ["a"]).sum() == 7  # 0.2 / 2 + 0.1 stays


def test_a_perfect_figure_without_width_is_marked_and_explained(tmp_path: Path) -> None:
    runs = [
        Evaluated(tmp_path / "a", skill=60.0, seed=1, look=None),
        Evaluated(tmp_path / "b", experiment="baseline", skill=60.0, seed=2, look=None),
    ]
    text = comparison_markdown(compared(runs, 50))
    assert "1.000 [1.000, 1.000] †" in text
    assert text.count("a sound one-sided 95% lower limit") == 1


def test_rows_of_a_comparison_have_the_columns_of_its_tables(runs: list[Evaluated]) -> None:
    found = compared(runs[:2], 20)
    rows = found.differences(metric="auc", group="macro")
    assert [asdict(row) for row in found.differences()] == found.paired.to_dicts()
    assert [asdict(row) for row in found.estimates()] == found.table.to_dicts()
    (macro,) = rows
    assert macro.estimate.value == macro.difference
    assert macro.estimate.patients == found.patients
    assert macro.power.detectable_at == 0.05


@pytest.mark.parametrize("resamples", [0, 1_000_001])
def test_resamples_are_within_their_bounds(resamples: int) -> None:
    with pytest.raises(UserError, match="`resamples` must be from 1 to 1,000,000"):
        CompareOptions(resamples=resamples)


def test_runs_of_stores_with_other_images_are_compared_without_reliance_and_controls(tmp_path: Path) -> None:
    """The twins of one of them may show another marker."""
    runs = [Evaluated(tmp_path / name, seed=seed) for seed, name in enumerate(("a", "b"))]
    for run, images in zip(runs, ("one", "one"), strict=True):
        records.write(origin.Origin(dict.fromkeys(origin.PARTS, images)), run.path / origin.FILE)
    assert not any("other images" in note for note in compared(runs, 20).notes)
    records.write(origin.Origin(dict.fromkeys(origin.PARTS, "two")), runs[1].path / origin.FILE)
    assert any("The store of b has other images than that of a" in note for note in compared(runs, 20).notes)


def row(**fields: object) -> PairedRow:
    """A difference of +0.05 whose interval excludes 0, of one of several comparisons."""
    known: dict[str, Any] = dict.fromkeys(comparison_rows.PAIRED) | {
        "run": "b", "reference": "a", "metric": "auc", "group": MACRO, "difference": 0.05, "low": 0.01,
        "high": 0.09, "p_bootstrap": 0.02, "p_bootstrap_holm": 0.02, "higher_is_better": True,
        "patients": 100, "discordant": 50, "comparisons": 1, "p_bootstrap_is_bound": False,
        "p_bootstrap_holm_is_bound": False,
    }  # fmt: skip
    return PairedRow(**{**known, **fields})


def test_a_verdict_is_given_after_holms_correction() -> None:
    """Without it one of 11 equal runs would be called better in a third of all comparisons."""
    said = {holm: verdict_words(row(p_bootstrap_holm=holm, comparisons=11).estimate) for holm in (0.02, 0.22)}
    assert said == {0.02: "better", 0.22: "not distinguishable"}
    corrected = row(p_bootstrap_holm=0.22, comparisons=11)
    assert difference(corrected.estimate).endswith("from 0 after Holm's correction")
    assert "Holm" not in difference(replace(corrected, comparisons=1).estimate)
    assert "distinguishable" not in difference(row().estimate)
    # An exact sign-flip test needs nine discordant patients after a correction over eleven.
    assert verdict_words(row(comparisons=11, discordant=7).estimate) == (
        "too few discordant pairs (7; at least 9)"
    )
    assert verdict_words(row(comparisons=1, discordant=7).estimate) == "better"


def test_reliance_is_best_at_0_and_neither_direction_is_better() -> None:
    cases = pl.DataFrame({"case_id": [f"c{i}" for i in range(40)], "patient": list(range(40))})
    rng = np.random.default_rng(0)
    tables = [
        cases.with_columns(
            confounder=pl.lit("marker"),
            reliance=pl.Series(rng.normal(mean, 0.05, 40)),
            total_variation=pl.Series(rng.normal(abs(mean), 0.02, 40)),
            flips=pl.lit(0.0),
        )
        for mean in (0.0, -0.3)
    ]
    rows = paired.compare_reliance(
        ("a", "b"), tables, lambda each: policy.bootstrap(each, resamples=200, seed=0)
    )
    said = {
        each.metric: verdict_words(each.estimate, higher_is_better=each.higher_is_better)
        for each in rows.differences
    }
    assert said["reliance"] == "lower"
    assert said["total_variation"] == "worse"


def test_only_metrics_of_the_order_of_cases_are_compared_within_classes(
    runs: list[Evaluated], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = strata_drawn(monkeypatch)
    found = compare(runs, CompareOptions(resamples=50))
    assert [classes > 1 for _, classes in drawn] == [True, False, False]  # predictions twice, then the maps
    test = runs[0].predictions().filter(split="test")
    table = runs[1].predictions().filter(split="test")
    other = test.select("case_id").join(table, on="case_id", maintain_order="left")
    for metric, strata in (("average_precision", runs[0].classes), ("brier", ())):
        draws = policy.bootstrap(test, strata, resamples=50, seed=CompareOptions().seed)
        mine, theirs = (
            class_estimates(each, runs[0].classes, draws, (metric,))[metric, MACRO] for each in (test, other)
        )
        row_of_metric = found.differences(metric=metric, group=MACRO)[0]
        entry = (theirs - mine).summary()
        assert (row_of_metric.low, row_of_metric.high) == (entry.low, entry.high), metric
