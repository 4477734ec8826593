from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor, nn

from radgaze import attribution
from radgaze.attribution import registry
from radgaze.attribution.engine.capture import Capture
from radgaze.attribution.generator import Generator
from radgaze.errors import UserError
from radgaze.evaluation.audit import measuring
from radgaze.evaluation.audit.aspects.faithfulness import BLUR
from radgaze.evaluation.audit.aspects.sanity import UNCHANGED, weight_dependence
from radgaze.evaluation.audit.benchmark import audit
from radgaze.evaluation.audit.cache import MethodMeasurements, rows
from radgaze.evaluation.audit.files import Audit, read_results
from radgaze.evaluation.audit.measuring import recipe, select_methods
from radgaze.evaluation.audit.options import AuditOptions
from radgaze.evaluation.audit.sampling import Sample, load
from radgaze.evaluation.audit.summary import summarise_methods
from radgaze.evaluation.baselines import REGISTRY
from radgaze.evaluation.maps import smoothed
from radgaze.evaluation.metrics import agreement, faithfulness, localisation
from radgaze.evaluation.statistics.case_means import FEW, mean_interval
from radgaze.evaluation.statistics.policy import bootstrap
from radgaze.evaluation.statistics.resampling import estimates, mean_of
from radgaze.models import Output
from radgaze.records import plain_fields
from radgaze.reporting.audit.markdown import write_audit_markdown
from radgaze.store.batch import Batch
from radgaze.store.manifest import Manifest
from tests.evaluation.fakes import CLASSES, SIZE, FakeRun, Looker, cases, lungs_about_the_spot
from tests.evaluation.known import known

TWO = ("guided_backprop", "grad_cam")
FLOORS = tuple(REGISTRY)
OPTIONS: dict[str, Any] = {
    "methods": TWO,
    "probed": 4,
    "resamples": 50,
    "device": "cpu",
    "steps": 3,
    "subsets": 3,
    "stages": 2,
    "draws": 1,
}


def audited(run: FakeRun, out: Path, **options: Any) -> Audit:
    """Audit a run and write the tables in Markdown too."""
    audited = audit(run, out, AuditOptions(**(OPTIONS | options)))
    write_audit_markdown(audited.results, out, "run")
    return audited


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FakeRun:
    some = [replace(case, boxed=k % 2 == 0) for k, case in enumerate(cases(test=12))]
    return FakeRun(tmp_path_factory.mktemp("run"), tuple(some))


@pytest.fixture(scope="module")
def done(run: FakeRun, tmp_path_factory: pytest.TempPathFactory) -> tuple[Audit, Path]:
    out = tmp_path_factory.mktemp("audit")
    return audited(run, out), out


def plain_file(found: Audit) -> dict[str, Any]:
    """Content of audit.json: the fields of the aspects and the baseline maps stand beside the others."""
    content: dict[str, Any] = dict(plain_fields(found.results))
    content |= content.pop("thresholds")
    content["settings"] |= content["settings"].pop("constants") | content["settings"].pop("baseline_counts")
    for method in content["methods"].values():
        for details in method.pop("details").values():
            method |= details
    return content


def values(found: Audit, method: str, metric: str) -> dict[str, float | None]:
    own = found.cases.filter(method=method, metric=metric)
    return dict(zip(own["case_id"], own["value"], strict=True))


def numbers(of_cases: dict[str, float | None]) -> list[float]:
    return [known(value) for value in of_cases.values()]


def test_the_files_hold_what_was_returned(done: tuple[Audit, Path]) -> None:
    found, out = done
    text = (out / "audit.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON")) == plain_file(
        found
    )
    assert read_results(out) == found.results
    assert pl.read_csv(out / "audit.csv", schema=found.table.schema).equals(found.table)
    assert pl.read_parquet(out / "cases.parquet").equals(found.cases)
    assert not list(out.rglob("*.part"))
    markdown = (out / "audit.md").read_text(encoding="utf-8")
    for name in (*TWO, "mean gaze (floor)", "random (floor)"):
        assert f"| {name} |" in markdown


def test_agreement_is_that_of_the_blurred_map_of_the_predicted_class(
    done: tuple[Audit, Path], run: FakeRun
) -> None:
    """The fourth test case has no gaze: undefined, and not among those that are averaged."""
    found, _ = done
    (batch,) = run.batches("test", 99)
    model = run.model()
    for method in TWO:
        P = smoothed(attribution.create(method, model)(batch.image)[:, 0].numpy(), batch.sigma.numpy())
        F = agreement.fixation_counts(batch.points.numpy(), batch.weights.numpy() > 0, (SIZE, SIZE))
        Q = batch.gaze_maps()[:, 0].numpy()
        expected = {
            "nss": agreement.nss(P, F),
            "kl": agreement.kl(P, Q),
            "shuffled_auc": agreement.shuffled_auc(P, F, F.sum(0) - F),
        }
        for metric, of_case in expected.items():
            own = values(found, method, metric)
            assert own.pop("test-03") is None
            wanted = np.delete(of_case, 3)
            np.testing.assert_allclose(numbers(own), wanted, rtol=1e-4)
            row = found.table.row(
                by_predicate=(pl.col("method") == method) & (pl.col("metric") == metric), named=True
            )
            assert row["value"] == pytest.approx(wanted.mean(), rel=1e-4)
            assert row["n"] == 11
            assert row["low"] < row["value"] < row["high"]


def test_intervals_of_few_patients_are_those_for_few(done: tuple[Audit, Path], run: FakeRun) -> None:
    found, _ = done
    of_split = run.predictions().filter(pl.col("split").eq("test") & pl.col("case_id").ne("test-03"))
    own = values(found, "grad_cam", "nss")
    figures = [known(own[case_id]) for case_id in of_split["case_id"]]
    expected = mean_interval(figures, of_split["patient"].to_numpy())
    row = found.table.row(
        by_predicate=(pl.col("method") == "grad_cam") & (pl.col("metric") == "nss"), named=True
    )
    assert (row["low"], row["high"]) == pytest.approx(expected)


def test_boxes_are_compared_with_the_map_of_the_true_class(run: FakeRun, tmp_path: Path) -> None:
    deep = DeepRun(tmp_path / "run", run.cases)
    found = audited(deep, tmp_path / "out", methods=("backprop",))
    boxed = [case.case_id for case in deep.of_split("test") if case.boxed]
    (batch,) = deep.batches("test", 99, boxed)
    model, truth = deep.model(), batch.label.argmax(1)
    wrong = (model(batch.image).logits.argmax(1) != truth).numpy()
    assert wrong.any()
    of_truth, of_predicted = (
        localisation.measure_localisation(
            smoothed(maps[:, 0].numpy(), batch.sigma.numpy()), batch.boxes[:, :1].numpy()
        )
        for maps in (attribution.create("backprop", model)(batch.image, of) for of in (truth, "predicted"))
    )
    for metric, of_case in of_truth.items():
        own = values(found, "backprop", metric)
        assert list(own) == boxed
        np.testing.assert_allclose(numbers(own), of_case, atol=1e-5)
    assert (of_truth["energy_inside"] != of_predicted["energy_inside"])[wrong].all()


def test_the_true_class_is_one_that_the_case_has_whatever_the_level_of_the_logits(run: FakeRun) -> None:
    cases = [case.case_id for case in run.of_split("test")]
    model = run.model()
    assert isinstance(model, Looker)
    known(model.head.bias).data.sub_(5)
    loaded = load(run, model, Sample(run.predictions().filter(split="test"), ()), AuditOptions(), "cpu")
    truth = dict(zip(cases, next(run.batches("test", 99)).label.argmax(1).tolist(), strict=True))
    found = {
        name: int(k) for each in loaded.batches for name, k in zip(each.case_ids, each.truth, strict=True)
    }
    assert found == truth


def test_faithfulness_follows_the_probability_of_the_predicted_class(
    done: tuple[Audit, Path], run: FakeRun
) -> None:
    found, _ = done
    own = values(found, "grad_cam", "deletion")
    assert len(own) == 4
    (batch,) = run.batches("test", 99, list(own))
    model = run.model()
    predicted = model(batch.image).logits.argmax(1)

    def score(images: Tensor) -> Tensor:
        with torch.no_grad():
            p: Tensor = model(images).logits.softmax(1)
        return p[torch.arange(len(p)), predicted.repeat(len(images) // 4)]

    maps = attribution.create("grad_cam", model)(batch.image)
    baseline = faithfulness.blurred(batch.image, BLUR * SIZE)
    deleted = faithfulness.deletion(score, batch.image, maps, baseline, steps=3).area
    inserted = faithfulness.insertion(score, batch.image, maps, baseline, steps=3).area
    np.testing.assert_allclose(numbers(own), deleted.numpy(), rtol=1e-5)
    both = values(found, "grad_cam", "insertion_minus_deletion")
    np.testing.assert_allclose(numbers(both), (inserted - deleted).numpy(), atol=1e-6)


def test_floors_are_measured_where_methods_are_compared_with_them(done: tuple[Audit, Path]) -> None:
    methods = done[0].results.methods
    for floor in FLOORS:
        assert set(methods[floor].figures) == {"agreement", "localisation", "faithfulness"}
    assert methods["mean_gaze"].figures["agreement"]["information_gain"].value == pytest.approx(0, abs=1e-6)
    for method in TWO:
        assert set(methods[method].figures) == {
            "agreement",
            "localisation",
            "faithfulness",
            "sanity",
            "stability",
            "cost",
        }
        cost = methods[method].figures["cost"]
        assert known(cost["images_per_second"].value) > 0
        assert known(cost["forward_passes"].value) > 0
        against = known(methods[method].against_floors)["agreement"]
        assert set(against.differences) == set(FLOORS)


def test_the_lung_shape_is_of_the_cases_own_lungs_where_they_are_known(tmp_path: Path) -> None:
    six = FakeRun(tmp_path, cases(test=6))
    run = replace(six, lungs={case.case_id: lungs_about_the_spot(case) for case in six.of_split("test")[:4]})
    found = audited(run, tmp_path / "out", methods=["guided_backprop"], probed=1)
    assert found.results.settings.baseline_counts["own_lungs"] == 4
    nss = values(found, "lung_shape", "nss")
    known = [value for case_id in run.lungs if (value := nss[case_id]) is not None]
    others = [value for case_id, value in nss.items() if case_id not in run.lungs and value is not None]
    assert len(known) == 3  # one of them has no gaze
    assert min(known) > max(others)


def test_another_store_is_measured_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run = FakeRun(tmp_path, cases(test=4))
    audited(run, tmp_path / "out", methods=["guided_backprop"], probed=1)
    audited(run, tmp_path / "out", methods=["guided_backprop"], probed=1)
    assert "are in" in capfd.readouterr().err
    changed: Manifest = {**run.store.manifest, "hashes": {"regions.parquet": "of other masks"}}
    monkeypatch.setattr(FakeRun, "store", replace(run.store, manifest=changed))
    audited(FakeRun(tmp_path, run.cases), tmp_path / "out", methods=["guided_backprop"], probed=1)
    assert "are in" not in capfd.readouterr().err


def test_a_network_that_looks_where_the_reader_looked_is_better_than_every_floor(
    done: tuple[Audit, Path],
) -> None:
    found = known(done[0].results.methods["guided_backprop"].against_floors)
    for aspect in ("agreement", "localisation"):
        assert all(known(entry.low) > 0 for entry in found[aspect].differences.values())
        assert found[aspect].verdict == "few"  # of a dozen patients nothing is called better


@pytest.mark.parametrize(("patients", "verdict"), [(19, "few"), (20, "better"), (80, "better")])
def test_a_verdict_takes_enough_patients_and_the_resamples_of_the_tables(patients: int, verdict: str) -> None:
    random = np.random.default_rng(0)
    ids = [f"case-{k}" for k in range(patients)]
    labels = np.eye(3, dtype=np.int8)[np.arange(patients) % 3]
    cases = pl.DataFrame(
        {"case_id": ids, "patient": pl.Series(range(patients), dtype=pl.Int32)}
        | {f"label_{name}": labels[:, k] for k, name in enumerate(CLASSES)}
    )
    easy = random.normal(size=patients)  # what cases share tells nothing of a difference
    figures = {"mine": easy + random.normal(2, 0.1, patients), "mean_gaze": easy}
    parts = [
        MethodMeasurements(name, rows(name, "agreement", ids, {"nss": x})) for name, x in figures.items()
    ]
    found = summarise_methods(parts, Sample(cases, ()), AuditOptions(resamples=50))
    against = known(found["mine"].against_floors)["agreement"]
    assert against.verdict == verdict
    gained = figures["mine"] - figures["mean_gaze"]
    resampling = bootstrap(cases, resamples=50, seed=0)
    of_many = estimates({"nss": mean_of(gained)}, patients, resampling)["nss"].interval
    expected = mean_interval(gained, np.arange(patients)) if patients < FEW else of_many
    entry = against.differences["mean_gaze"]
    assert (entry.low, entry.high) == pytest.approx(expected)


@dataclass
class Edges(Generator):
    """Edge detector: its map does not depend on the network, though a gradient must exist."""

    def attribute(self, read: Capture) -> Tensor:
        x = read.images
        return (x - torch.nn.functional.avg_pool2d(x, 3, 1, 1)).abs() + 0 * read.gradient(x)


class Deep(nn.Module):
    """A network of three layers, so that its weights are something to lose."""

    def __init__(self) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(3)
        self.layers = nn.Sequential(nn.Conv2d(1, 8, 5, 2, 2), nn.ReLU(), nn.Conv2d(8, 8, 5, 2, 2), nn.ReLU())
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 3)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=draw))

    def forward(self, images: Tensor) -> Output:
        return Output(self.head(self.pool(self.layers(images)).flatten(1)), None)


@dataclass(frozen=True)
class DeepRun(FakeRun):
    def model(self, device: str = "cpu") -> nn.Module:
        return Deep().eval().to(device)


@dataclass
class Blank(Generator):
    """A map that is the same everywhere."""

    def attribute(self, read: Capture) -> Tensor:
        return 0 * read.gradient(read.images)


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The methods `edges` and `blank` beside the others."""
    known = attribution.methods
    for name, kind in (("edges", Edges), ("blank", Blank)):
        monkeypatch.setitem(registry.REGISTRY, name, kind)
        monkeypatch.setitem(registry.PRESETS, name, replace(registry.PRESETS["backprop"], generator=name))
    monkeypatch.setattr(attribution, "methods", lambda model, size: (*known(model), "edges", "blank"))


@pytest.mark.parametrize(("stages", "layers"), [(1, ["layers.0"]), (2, ["head", "layers.0"])])
def test_the_last_stage_is_the_network_without_any_learnt_weight(
    stages: int, layers: list[str], tmp_path: Path
) -> None:
    run = DeepRun(tmp_path / "run", cases(test=4))
    found = audited(run, tmp_path / "out", methods=("guided_backprop",), stages=stages, cases=4, probed=2)
    (cascade, *_) = weight_dependence(found.results.methods["guided_backprop"]).cascades
    assert list(cascade.layers) == layers


@pytest.mark.usefixtures("made_up")
def test_a_method_that_ignores_the_weights_is_marked_and_one_that_follows_them_is_not(tmp_path: Path) -> None:
    run = DeepRun(tmp_path / "run", cases(test=24))
    chosen = {"methods": ("edges", "guided_backprop"), "stages": 3, "cases": 24, "probed": 24}
    found = audited(run, tmp_path / "out", **chosen)
    methods = found.results.methods
    still, changing = methods["edges"], methods["guided_backprop"]
    assert weight_dependence(still).changes is False
    assert weight_dependence(changing).changes is True
    for figure in still.figures["sanity"].values():
        assert figure.value == pytest.approx(1)
    assert known(changing.figures["sanity"]["cascading_rank_correlation"].value) < UNCHANGED
    cascade = weight_dependence(changing).cascades[0]
    assert cascade.mode == "cascading"
    assert cascade.layers == ("head", "layers.2", "layers.0")
    assert len(cascade.rank_correlation) == len(cascade.ssim) == 3
    markdown = (tmp_path / "out" / "audit.md").read_text(encoding="utf-8")
    verdicts, *tables = markdown.split("\n## ")[1:]
    marked = [line for line in verdicts.splitlines() if "| ✗ does not change with the weights |" in line]
    assert [line.split(" |")[0] for line in marked] == ["| edges"]
    assert len(tables) == len(still.figures)
    for table in tables:
        assert "| edges ✗ |" in table
        assert table.count("✗") == 1
    told = set(pl.read_csv(tmp_path / "out" / "audit.csv").select("method", "changes").iter_rows())
    assert told == {("edges", False), ("guided_backprop", True), *((floor, None) for floor in FLOORS)}


@pytest.mark.usefixtures("made_up")
def test_of_maps_that_are_the_same_everywhere_nothing_is_said_of_the_weights(tmp_path: Path) -> None:
    found = audited(DeepRun(tmp_path / "run", cases(test=4)), tmp_path / "out", methods=("blank",))
    blank = found.results.methods["blank"]
    assert weight_dependence(blank).changes is None
    assert "cascading_rank_correlation" not in blank.figures["sanity"]
    assert blank.figures["agreement"]["nss"].value == pytest.approx(0)
    assert "stability" not in blank.figures


def test_the_trained_weights_are_as_before_and_the_files_repeat_whatever_the_batches(
    done: tuple[Audit, Path], run: FakeRun, tmp_path: Path
) -> None:
    again = audited(run, tmp_path, batch_size=5)
    for (aspect, *_), before in done[0].cases.group_by("aspect", "method", "metric", maintain_order=True):
        key = before.row(0, named=True)
        after = again.cases.filter(aspect=aspect, method=key["method"], metric=key["metric"])
        one, other = (table["value"].cast(pl.Float64).to_numpy() for table in (before, after))
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4, err_msg=str(key))


class Interrupted:
    """Measures methods, and is interrupted at one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: str | None = None) -> None:
        self.measured: list[str] = []
        whole = measuring.Benchmark.measure

        def measure(bench: measuring.Benchmark, name: str) -> MethodMeasurements:
            if name == at:
                raise KeyboardInterrupt
            self.measured.append(name)
            return whole(bench, name)

        monkeypatch.setattr(measuring.Benchmark, "measure", measure)


def test_an_interrupted_audit_goes_on_with_what_is_not_there(
    run: FakeRun, done: tuple[Audit, Path], tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        before = Interrupted(patch, at="grad_cam")
        with pytest.raises(KeyboardInterrupt, match=r"5 of 6 are measured and kept .* goes on"):
            audited(run, tmp_path)
    assert not (tmp_path / "audit.json").exists()
    with pytest.MonkeyPatch.context() as patch:
        after = Interrupted(patch)
        found = audited(run, tmp_path)
    assert after.measured == ["grad_cam"]
    assert before.measured == [*FLOORS, "other_reader", "guided_backprop"]
    assert found.cases.equals(done[0].cases)


def test_a_part_counts_only_for_the_same_settings_cases_weights_and_options(
    run: FakeRun, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spy = Interrupted(monkeypatch)

    def measured(run: FakeRun, **options: object) -> list[str]:
        spy.measured.clear()
        audited(run, tmp_path, **({"methods": ("grad_cam",)} | options))
        return list(spy.measured)

    everything = [*FLOORS, "other_reader", "grad_cam"]
    assert measured(run) == everything
    assert measured(run) == measured(run, resamples=20) == []
    assert measured(run, methods=("grad_cam", "smooth_grad"), passes=2) == ["smooth_grad"]
    assert measured(run, methods=("grad_cam", "smooth_grad"), passes=3) == ["smooth_grad"]
    assert measured(run, probed=3) == everything
    assert measured(DeepRun(run.path, run.cases)) == everything
    (tmp_path / "methods" / "grad_cam.json").write_text('{"made_with": 3}', encoding="utf-8")
    assert measured(DeepRun(run.path, run.cases)) == ["grad_cam"]


@dataclass(frozen=True)
class ReadTwice(FakeRun):
    """Every other case was read by a second reader, whose gaze lay where the first one's did, or off it."""

    off: float = 0.0

    def readers(
        self, split: str, case_ids: Sequence[str], batch_size: int = 16
    ) -> Iterator[tuple[Batch, Batch]]:
        (batch,) = self.batches(split, 99, [i for i in case_ids if i != "test-03"][::2])
        yield batch, replace(batch, points=batch.points + self.off)


def test_another_reader_is_the_ceiling_where_there_is_one(tmp_path: Path) -> None:
    at_one, apart = (
        audited(ReadTwice(tmp_path / "run", cases(test=8), off=off), tmp_path / str(off), methods=TWO[:1])
        for off in (0.0, 20.0)
    )
    of_one, of_other = (found.results.methods["other_reader"].figures for found in (at_one, apart))
    assert set(of_one) == {"agreement"}
    assert of_one["agreement"]["cc"].value == pytest.approx(1)
    assert of_one["agreement"]["cc"].n == 4
    assert known(of_other["agreement"]["cc"].value) < 0.5
    assert "another reader (ceiling)" in (tmp_path / "0.0" / "audit.md").read_text(encoding="utf-8")


def test_cases_are_drawn_by_the_seed_and_the_probed_ones_from_them(run: FakeRun, tmp_path: Path) -> None:
    found = audited(run, tmp_path, methods=TWO[:1], cases=5, probed=3)
    of = {a: set(found.cases.filter(aspect=a)["case_id"]) for a in ("agreement", "sanity", "faithfulness")}
    assert len(of["agreement"]) == 5
    assert of["sanity"] == of["faithfulness"] < of["agreement"]
    assert (found.results.cases, found.results.probed) == (5, 3)
    other = audited(run, tmp_path / "b", methods=TWO[:1], cases=5, seed=1)
    assert set(other.cases.filter(aspect="agreement")["case_id"]) != of["agreement"]


def test_averages_take_no_more_passes_than_told_and_nothing_else_is_changed() -> None:
    assert recipe("smooth_grad", 2).options["samples"] == 2
    whole = recipe("smooth_grad", 0)
    assert whole.options == dict(registry.PRESETS["smooth_grad"].options)
    assert recipe("integrated_gradients", 5).options["steps"] == 5
    assert recipe("grad_cam", 2) == recipe("grad_cam", 0)


def test_methods_that_draw_random_numbers_get_the_seed_of_the_audit() -> None:
    random = {name for name in registry.PRESETS if recipe(name, 4, 7) != recipe(name, 4)}
    assert random == {"smooth_grad", "guided_smooth_grad", "lime"}
    assert {recipe(name, 4, 7).options["seed"] for name in random} == {7}
    assert "seed" not in recipe("lime", 4, 0).options


@pytest.mark.parametrize("share", [1e-9, 1 - 1e-9])
def test_the_least_and_the_greatest_sets_and_shifts_are_measured(
    run: FakeRun, tmp_path: Path, share: float
) -> None:
    found = audited(run, tmp_path, methods=TWO[:1], cases=4, probed=2, share=share, shift=share)
    for metric in ("sensitivity_n", "under_shifts"):
        assert len(values(found, TWO[0], metric)) == 2


def test_methods_are_those_that_the_model_can_show() -> None:
    every = select_methods(Looker(), ("all",), 64)
    assert set(select_methods(Looker(), ("gradient",), 64)) <= set(every) <= set(registry.PRESETS)
    assert select_methods(Looker(), ("grad_cam", "backprop"), 64) == tuple(
        n for n in every if n in ("grad_cam", "backprop")
    )
    assert "pylon" not in every


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"methods": ("grad_cma",)}, "there is no method 'grad_cma'; there are all, gradient,"),
        ({"methods": ("pylon",)}, "the method pylon does not apply: the model gives no class maps"),
        ({"cases": 0}, "`cases` must be at least 1, got 0"),
        ({"passes": -1}, "`passes` must be at least 0, got -1"),
        ({"steps": 0}, "`steps` must be at least 1, got 0"),
        ({"share": 1.0}, "`share` must be above 0 and below 1, got 1.0"),
        ({"shift": 0.0}, "`shift` must be above 0 and below 1, got 0.0"),
        ({"split": "train"}, "`split` must be one of test, validate, got train"),
    ],
)
def test_what_makes_no_sense_is_told(
    run: FakeRun, tmp_path: Path, options: dict[str, object], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        audited(run, tmp_path, **options)


def test_what_is_written_holds_case_ids_and_no_patients(done: tuple[Audit, Path]) -> None:
    tables = [pl.read_parquet(path) for path in done[1].rglob("*.parquet")]
    assert len(tables) == len(TWO) + len(FLOORS) + 2
    for table in tables:
        assert table.columns == ["case_id", "method", "aspect", "metric", "value"]


def test_a_file_of_an_earlier_version_is_read(done: tuple[Audit, Path], tmp_path: Path) -> None:
    content = json.loads((done[1] / "audit.json").read_text(encoding="utf-8"))
    assert content.pop("schema") == 1
    (tmp_path / "audit.json").write_text(json.dumps(content), encoding="utf-8")
    assert read_results(tmp_path) == done[0].results
    content["methods"]["grad_cam"]["cascades"] = [{"mode": "cascading"}]
    (tmp_path / "audit.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match=r"audit\.json is damaged: sanity; audit the run again"):
        read_results(tmp_path)
    with pytest.raises(UserError, match=r"has no audit\.json"):
        read_results(tmp_path / "other")
