"""Whether maps tell the truth about reliance, on linear networks whose reliance on a marker is known."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from radgaze import attribution
from radgaze.attribution import registry
from radgaze.attribution.engine.capture import Capture
from radgaze.attribution.generator import Generator
from radgaze.evaluation.audit import confounders
from radgaze.evaluation.audit.aspects import ASPECTS
from radgaze.evaluation.audit.aspects.reliance import PLACE, WARNING
from radgaze.evaluation.audit.benchmark import audit
from radgaze.evaluation.audit.cache import MethodMeasurements, rows
from radgaze.evaluation.audit.files import Audit, read_results
from radgaze.evaluation.audit.options import AuditOptions
from radgaze.evaluation.audit.results import AuditEstimate
from radgaze.evaluation.audit.sampling import Sample
from radgaze.evaluation.audit.summary import summarise_methods
from radgaze.evaluation.reliance import measure
from radgaze.evaluation.statistics.auc_intervals import auc_interval, placed
from radgaze.evaluation.statistics.policy import bootstrap
from radgaze.models import Output
from radgaze.reporting.audit.figures import overview
from radgaze.reporting.audit.markdown import write_audit_markdown
from radgaze.reporting.audit.page import write_audit_page
from radgaze.runs.config import Config, InputConfig
from radgaze.runs.run import Run
from radgaze.sources.cohort import Cohort
from radgaze.sources.contents import NO_TWINS
from radgaze.store.store import Store
from tests.evaluation.fakes import FakeRun
from tests.evaluation.fakes import cases as spots
from tests.evaluation.known import known
from tests.reporting.fakes import FakeRun as PageRun
from tests.reporting.pages import Page
from tests.store.cohorts import CLASSES, write_dicom
from tests.stores import prepare

SIZE, BAND, TESTED = 64, 16, 24
NAN = float("nan")
Grey = NDArray[np.float64]
Place = tuple[slice, slice]


@dataclass(frozen=True)
class World:
    """Images with a marker in their upper band, of another size, place and brightness in each."""

    plain: list[Grey]
    marked: list[Grey]
    places: list[Place]


def world() -> World:
    rng = np.random.default_rng(3)
    plain, marked, places = [], [], []
    for _ in range(TESTED):
        image = rng.uniform(0.1, 0.3, (SIZE, SIZE))
        tall, wide = rng.integers(4, 11, 2)
        top, left = rng.integers(0, BAND - tall), rng.integers(0, SIZE - wide)
        place = (slice(top, top + tall), slice(left, left + wide))
        shown = image.copy()
        shown[place] += rng.uniform(0.05, 0.65)
        plain.append(image)
        marked.append(shown)
        places.append(place)
    return World(plain, marked, places)


WORLD = world()


def made(folder: Path, *, case_shows: bool = True, kinds: tuple[str, ...] = ("marker",)) -> Store:
    """A store whose test cases show the marker and whose twins do not, or the other way round.

    The kind "processing" has a twin whose whole image is brighter.
    """
    folder.mkdir(parents=True)
    cases, twins = list[dict[str, object]](), list[tuple[str | None, ...]]()

    def file(name: str, image: Grey) -> str:
        write_dicom(folder / f"{name}.dcm", image)
        return str(folder / f"{name}.dcm")

    def case(name: str, patient: int, split: str, image: Grey) -> None:
        labels = {f"label_{one}": int(k == patient % 3) for k, one in enumerate(CLASSES)}
        cases.append(
            {"case_id": name, "patient": patient, "split": split, "image": file(name, image), **labels}
        )

    for k, split in enumerate(("train", "train", "validate")):
        case(f"other-{k}", 100 + k, split, WORLD.plain[k])
    for k in range(TESTED):
        own, other = (WORLD.marked[k], WORLD.plain[k])[:: 1 if case_shows else -1]
        case(f"test-{k:02d}", k // 2, "test", own)  # two cases of each patient
        shows = "CHF" if case_shows else None
        for kind in kinds:
            image = other if kind == "marker" else own + 0.1
            twin_shows = (None if case_shows else "CHF") if kind == "marker" else None
            name = f"twin-{kind}-{k:02d}"
            twins.append((name, f"test-{k:02d}", file(name, image), kind, twin_shows, shows))
    schema = {"patient": pl.Int32, **{f"label_{name}": pl.Int8 for name in CLASSES}}
    cohort = Cohort(
        source="made",
        classes=CLASSES,
        cases=pl.DataFrame(cases, schema_overrides=schema),
        parameters={},
        twins=pl.DataFrame(twins, schema=NO_TWINS, orient="row"),
    )
    return prepare(cohort, folder / "store", size=SIZE, workers=1)


class Linear(nn.Module):
    """Scores of the first two classes that are linear in the pixels of some rows, with opposite signs."""

    def __init__(self, rows: slice, slope: float = 0.3) -> None:
        super().__init__()
        weight = torch.zeros(3, SIZE, SIZE)
        weight[0, rows], weight[1, rows] = slope, -slope
        n = int((weight[0] != 0).sum())
        # Without a marker the second class is predicted, with one of a sum above 15 the first.
        bias = torch.tensor([-slope, slope, 0.0]) * (0.2 * n + 15) + torch.tensor([0.0, 0.0, -50.0])
        self.head = nn.Linear(SIZE * SIZE, 3)
        with torch.no_grad():
            self.head.weight.copy_(weight.flatten(1))
            self.head.bias.copy_(bias)

    def forward(self, images: Tensor) -> Output:
        return Output(self.head(images.flatten(1)), None)


READS, IGNORES = slice(0, BAND), slice(SIZE - BAND, SIZE)


@dataclass(frozen=True)
class LinearRun(Run):
    reads_marker: bool = True
    config: Config = field(init=False, repr=False)
    data: Path = Path()
    classes: tuple[str, ...] = CLASSES
    vote: None = None

    def __post_init__(self) -> None:
        config = Config(experiment="baseline", data=str(self.data), input=InputConfig(size=SIZE))
        object.__setattr__(self, "config", config)

    @property
    def voters(self) -> tuple[Run, ...]:
        return (self,)

    @cached_property
    def store(self) -> Store:
        return Store.open(self.data)

    def model(self, device: str = "cpu") -> nn.Module:
        return Linear(READS if self.reads_marker else IGNORES).eval().to(device)

    def predictions(self) -> pl.DataFrame:
        cases = self.store.cases.filter(pl.col("split") != "train")
        rows = [k for k, split in enumerate(self.store.cases["split"]) if split != "train"]
        images = np.stack([self.store.images[row] for row in rows])
        with torch.no_grad():
            logits = self.model()(torch.tensor(images)[:, None].float() / 255).logits.double().numpy()
        scores = np.exp(logits - logits.max(1, keepdims=True))
        values = scores / scores.sum(1, keepdims=True)
        labels = [f"label_{name}" for name in CLASSES]
        names = [f"probability_{name}" for name in CLASSES]
        return cases.select("case_id", "patient", "split", *labels).with_columns(pl.from_numpy(values, names))


@dataclass
class Elsewhere(Generator):
    """A map of the lower rows alone, whatever the network does."""

    def attribute(self, read: Capture) -> Tensor:
        mask = torch.zeros_like(read.images)
        mask[:, :, IGNORES] = 1
        return mask * read.images + 0 * read.gradient(read.images)


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The method `elsewhere` beside the others."""
    others = attribution.methods
    monkeypatch.setitem(registry.REGISTRY, "elsewhere", Elsewhere)
    monkeypatch.setitem(
        registry.PRESETS, "elsewhere", replace(registry.PRESETS["backprop"], generator="elsewhere")
    )
    monkeypatch.setattr(attribution, "methods", lambda model, size: (*others(model), "elsewhere"))


def audited(run: Run, out: Path, *methods: str, **options: object) -> Audit:
    chosen: dict[str, object] = {
        "methods": methods or ("input_x_gradient", "elsewhere"), "resamples": 60, "device": "cpu",
        "probed": 1, "steps": 1, "subsets": 2, "stages": 1, "draws": 1,
    }  # fmt: skip
    return audit(run, out, AuditOptions(**(chosen | options)))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return made(tmp_path_factory.mktemp("shown") / "made")


def run_on(store: Store, *, reads_marker: bool = True) -> LinearRun:
    return LinearRun(store.path.parent / "run", reads_marker=reads_marker, data=store.path)


def per_case(found: Audit, method: str, metric: str, name: str = "marker") -> Grey:
    own = found.cases.filter(aspect="reliance", method=method, metric=f"{metric}:{name}").sort("case_id")
    return own["value"].cast(pl.Float64).to_numpy().round(6)


def figure(found: Audit, method: str, metric: str, name: str = "marker") -> AuditEstimate:
    return found.results.methods[method].figures["reliance"][f"{metric}:{name}"]


def expected_shares(store: Store, rows: slice) -> list[float]:
    """Shares of |w x| on the marker, from the images of the store."""
    shares = []
    for k, place in enumerate(WORLD.places):
        row = store.cases["case_id"].to_list().index(f"test-{k:02d}")
        blamed = np.zeros((SIZE, SIZE))
        blamed[rows] = store.images[row][rows]
        shares.append(blamed[place].sum() / blamed.sum())
    return shares


def test_input_x_gradient_of_a_network_that_reads_the_marker_tells_its_effect(
    store: Store, tmp_path: Path
) -> None:
    run = run_on(store)
    found = audited(run, tmp_path)
    shares = per_case(found, "input_x_gradient", "share")
    np.testing.assert_allclose(shares, expected_shares(store, READS), atol=1e-6)
    areas = [(p[0].stop - p[0].start) * (p[1].stop - p[1].start) / SIZE**2 for p in WORLD.places]
    np.testing.assert_allclose(per_case(found, "input_x_gradient", "area"), areas, atol=1e-6)
    evaluated = measure(run, "cpu").sort("case_id")
    for metric in ("reliance", "total_variation", "flips"):
        own = per_case(found, "input_x_gradient", metric)
        np.testing.assert_allclose(own, evaluated[metric].to_numpy(), atol=1e-6)
        assert figure(found, "input_x_gradient", metric).value == pytest.approx(own.mean(), abs=1e-6)
    effect, flips = evaluated["total_variation"].to_numpy().round(6), evaluated["flips"].to_numpy()
    assert 4 < flips.sum() < TESTED - 4  # else this test says little
    correlation, auc = (
        figure(found, "input_x_gradient", name) for name in ("rank_correlation", "auc_of_flips")
    )
    assert correlation.value == pytest.approx(spearmanr(shares, effect).statistic)
    assert auc.value == pytest.approx(roc_auc_score(flips, shares))
    assert known(correlation.value) > 0.8
    assert known(auc.value) > 0.9
    assert (correlation.n, correlation.patients) == (TESTED, TESTED // 2)
    share = figure(found, "input_x_gradient", "share")
    assert known(share.low) < known(share.value) < known(share.high)


def test_intervals_are_over_patients(store: Store, tmp_path: Path) -> None:
    run = run_on(store)
    found = audited(run, tmp_path, "input_x_gradient")
    shares = per_case(found, "input_x_gradient", "share")
    effect = per_case(found, "input_x_gradient", "total_variation")
    cases = run.predictions().filter(split="test").sort("case_id")
    patients = cases["patient"].to_numpy()
    (weights,) = bootstrap(cases, resamples=60, seed=0).chunks()
    assert (weights[:, 0::2] == weights[:, 1::2]).all()  # both cases of a patient
    resampled = [
        spearmanr(np.repeat(shares, row), np.repeat(effect, row)).statistic for row in weights.astype(int)
    ]
    correlation, auc = (
        figure(found, "input_x_gradient", name) for name in ("rank_correlation", "auc_of_flips")
    )
    assert (correlation.low, correlation.high) == pytest.approx(tuple(np.quantile(resampled, [0.025, 0.975])))
    flips = per_case(found, "input_x_gradient", "flips") > 0
    assert (auc.low, auc.high) == pytest.approx(auc_interval([placed(flips, shares, patients)]))
    against = known(found.results.methods["input_x_gradient"].against_floors)["reliance"]
    floor = per_case(found, "lung_shape", "share")
    gained = [
        spearmanr(np.repeat(shares, row), np.repeat(effect, row)).statistic
        - spearmanr(np.repeat(floor, row), np.repeat(effect, row)).statistic
        for row in weights.astype(int)
    ]
    difference = against.differences["lung_shape:marker"]
    assert (difference.low, difference.high) == pytest.approx(tuple(np.quantile(gained, [0.025, 0.975])))
    assert difference.patients == TESTED // 2
    assert against.verdict == "few"


def test_a_map_that_looks_elsewhere_has_no_share_though_the_network_uses_the_marker(
    store: Store, tmp_path: Path
) -> None:
    found = audited(run_on(store), tmp_path)
    assert figure(found, "elsewhere", "share").value == 0
    assert known(figure(found, "elsewhere", "total_variation").value) > 0.2
    assert figure(found, "elsewhere", "rank_correlation").undefined == "the same share in every case"
    assert figure(found, "elsewhere", "auc_of_flips").value == 0.5
    write_audit_markdown(found.results, tmp_path, "run")
    write_audit_page(PageRun(tmp_path / "page"), tmp_path, found.results)
    text = (tmp_path / "audit.md").read_text(encoding="utf-8")
    (table,) = [part for part in text.split("\n## ") if part.startswith("Reliance. ")]
    words = Page((tmp_path / "audit.html").read_text(encoding="utf-8")).text
    assert re.search(r"\| elsewhere( ✗)? \| the same share in every case \| 0.500", table)
    effect = known(figure(found, "elsewhere", "total_variation").value)
    for shown in (table, words):
        assert WARNING in shown
        assert PLACE in shown
        assert "the same share in every case" in shown
        assert "This network (marker), 24 cases: reliance " in shown
        assert f"total variation {effect:.3f} [" in shown
        assert "nan" not in shown.lower().replace("explanation", "")
    titles = [axis.get_title(loc="left") for axis in overview(found.results).axes]
    assert "Reliance: rank correlation (marker)" in titles


def test_of_a_network_that_ignores_the_marker_its_map_has_no_share_and_no_prediction_changes(
    store: Store, tmp_path: Path
) -> None:
    found = audited(run_on(store, reads_marker=False), tmp_path, "input_x_gradient")
    assert figure(found, "input_x_gradient", "share").value == 0
    assert figure(found, "input_x_gradient", "total_variation").value == pytest.approx(0, abs=1e-6)
    assert figure(found, "input_x_gradient", "auc_of_flips").undefined == "no prediction flips"
    assert figure(found, "lung_shape", "rank_correlation").undefined == "the same effect in every case"
    assert figure(found, "lung_shape", "auc_of_flips").undefined == "no prediction flips"
    against = known(found.results.methods["input_x_gradient"].against_floors)
    assert "reliance" not in against
    assert read_results(tmp_path) == found.results


def test_baseline_maps_go_through_the_same_measure(store: Store, tmp_path: Path) -> None:
    found = audited(run_on(store), tmp_path, "input_x_gradient")
    floors = {name for name, of in found.results.methods.items() if "reliance" in of.figures}
    assert floors == {"input_x_gradient", "lung_shape", "random"}  # no training case has gaze
    share, area = (figure(found, "random", name) for name in ("share", "area"))
    assert share.value == pytest.approx(area.value, rel=0.2)


def test_a_case_without_the_marker_is_measured_on_its_twin_that_shows_it(
    store: Store, tmp_path: Path
) -> None:
    """Which of both images is the case is a matter of names alone."""
    swapped = made(tmp_path / "swapped", case_shows=False)
    one = audited(run_on(store), tmp_path / "one", "input_x_gradient")
    other = audited(run_on(swapped), tmp_path / "other", "input_x_gradient", batch_size=5)
    for metric in ("share", "area", "reliance", "total_variation", "flips"):
        of_one, of_other = (per_case(found, "input_x_gradient", metric) for found in (one, other))
        np.testing.assert_allclose(of_one, of_other, rtol=1e-5, atol=1e-6, err_msg=metric)


def test_a_confounder_of_the_whole_image_is_left_out_and_named(tmp_path: Path) -> None:
    both = made(tmp_path / "both", kinds=("marker", "processing"))
    found = audited(run_on(both), tmp_path / "two", "input_x_gradient")
    names = {name.partition(":")[2] for name in found.results.methods["random"].figures["reliance"]}
    assert names == {"marker"}
    text = write_audit_markdown(found.results, tmp_path / "two", "run")
    left_out = (
        "Processing changes 100% of the pixels: it has no place that a map could show, and is left out."
    )
    assert left_out in text
    alone = made(tmp_path / "alone", kinds=("processing",))
    found = audited(run_on(alone), tmp_path / "one", "input_x_gradient")
    assert "reliance" not in found.results.methods["input_x_gradient"].figures
    assert known(found.results.unmeasured)["reliance"] == left_out
    text = write_audit_markdown(found.results, tmp_path / "one", "run")
    assert f"Reliance was not measured: {left_out}" in text


def test_each_of_several_confounders_has_its_own_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confounders, "WHOLE", 1.0)  # so that the other kind counts as one with a place
    both = made(tmp_path / "both", kinds=("marker", "processing"))
    found = audited(run_on(both), tmp_path / "out", "input_x_gradient")
    assert figure(found, "input_x_gradient", "share", "processing").value == pytest.approx(1)
    assert known(figure(found, "input_x_gradient", "share").value) < 0.5
    text = write_audit_markdown(found.results, tmp_path / "out", "run")
    for row in ("| marker: input_x_gradient", "| processing: input_x_gradient", "| marker: random (floor)"):
        assert row in text
    titles = [axis.get_title(loc="left") for axis in overview(found.results).axes]
    assert sum(title.startswith("Reliance: ") for title in titles) == 2


def test_without_twins_the_audit_says_why_it_does_not_apply(store: Store, tmp_path: Path) -> None:
    options = {"probed": 1, "resamples": 20, "steps": 1, "subsets": 2, "stages": 1, "draws": 1}
    found = audited(FakeRun(tmp_path / "run", spots(test=6)), tmp_path / "none", "grad_cam", **options)
    why = "no audited case has a twin, which differs from it in a confounder alone"
    assert known(found.results.unmeasured)["reliance"] == why
    text = write_audit_markdown(found.results, tmp_path / "none", "run")
    assert f"Reliance was not measured: {why}." in text
    assert "| reliance |" not in text  # no column of verdicts either
    again = audited(FakeRun(tmp_path / "run", spots(test=6)), tmp_path / "none", "grad_cam", **options)
    assert again.results == found.results  # from what is kept
    other = audited(run_on(store), tmp_path / "validate", "input_x_gradient", split="validate")
    assert "of the split validate has a twin" in known(other.results.unmeasured)["reliance"]


def test_a_method_is_compared_with_a_floor_on_the_cases_on_which_both_have_a_share() -> None:
    rng, ids = np.random.default_rng(2), [f"case-{k}" for k in range(30)]
    effect, floor = rng.random((2, 30)).round(6)
    share = (effect + 0.3 * rng.random(30)).round(6)
    share[20:] = NAN  # empty maps
    figures = {
        name: {"share:marker": x, "total_variation:marker": effect, "flips:marker": np.round(effect)}
        for name, x in (("mine", share), ("random", floor))
    }
    labels = {f"label_{name}": [int(k == 0)] * 30 for k, name in enumerate(CLASSES)}
    cases = pl.DataFrame({"case_id": ids, "patient": list(range(30)), **labels})
    parts = [MethodMeasurements(name, rows(name, "reliance", ids, each)) for name, each in figures.items()]
    mine = summarise_methods(parts, Sample(cases, ()), AuditOptions(resamples=50))["mine"]
    difference = known(mine.against_floors)["reliance"].differences["random:marker"]
    rho = [spearmanr(x[:20], effect[:20]).statistic for x in (share, floor)]
    assert difference.value == pytest.approx(rho[0] - rho[1])
    assert difference.patients == 20
    assert known(mine.against_floors)["reliance"].verdict == "better"


def across(
    share: list[float], effect: list[float], flips: list[float]
) -> dict[str, tuple[float | None, str]]:
    patients = np.arange(len(share))
    labels = {f"label_{name}": [int(k == 0)] * len(share) for k, name in enumerate(CLASSES)}
    cases = pl.DataFrame({"patient": patients, **labels})
    values = {
        name: np.array(x, dtype=np.float64)
        for name, x in (("share", share), ("total_variation", effect), ("flips", flips))
    }
    found = ASPECTS["reliance"].across_cases(values, patients, bootstrap(cases, resamples=20, seed=0))
    return {
        name: (None if each.estimate is None else each.estimate.value, each.undefined)
        for name, each in found.items()
    }


@pytest.mark.parametrize(
    ("share", "effect", "flips", "correlation", "auc"),
    [
        ([NAN] * 4, [0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1], "no map with a confounder in view",
         "no map with a confounder in view"),
        ([0.1, 0.2, NAN, NAN], [0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1], "fewer than 3 cases",
         "no prediction flips"),
        ([0.1] * 4, [0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1], "the same share in every case", 0.5),
        ([0.1, 0.2, 0.3, 0.4], [0.5] * 4, [1, 1, 1, 1], "the same effect in every case",
         "every prediction flips"),
        ([0.1, 0.3, 0.2, 0.4], [0.1, 0.2, 0.3, 0.4], [0, 0, 0.5, 1], 0.8, 0.75),
    ],
)  # fmt: skip
def test_what_is_undefined_is_said_in_words(
    share: list[float], effect: list[float], flips: list[float], correlation: str | float, auc: str | float
) -> None:
    found = across(share, effect, flips)
    for name, wanted in (("rank_correlation", correlation), ("auc_of_flips", auc)):
        value, words = found[name]
        if isinstance(wanted, str):
            assert (value, words) == (None, wanted)
        else:
            assert value == pytest.approx(wanted)
            assert not words


def test_fewer_than_six_patients_give_no_interval_of_the_rank_correlation() -> None:
    for cases, has_interval in ((5, False), (6, True)):
        x = np.random.default_rng(0).random(cases)
        patients = np.arange(cases)
        table = pl.DataFrame({"patient": patients, **{f"label_{name}": [1] * cases for name in CLASSES}})
        values = {"share": x, "total_variation": x + np.roll(x, 1), "flips": np.zeros(cases)}
        found = ASPECTS["reliance"].across_cases(values, patients, bootstrap(table, resamples=50, seed=0))
        estimate = known(found["rank_correlation"].estimate).summary()
        assert (estimate.low is not None) == has_interval


@pytest.mark.parametrize(
    ("images", "views"),
    [
        # A phantom: the case shows its own class's, one twin none.
        ([("x", "a"), ("x0", None), ("xb", "b"), ("xc", "c")], [("x", ["x0"])]),
        # Pasted markers: the case shows none.
        ([("x", None), ("xa", "a"), ("xb", "b")], [("xa", ["x"]), ("xb", ["x"])]),
        # Another class's confounder, none without.
        ([("x", "a"), ("xb", "b"), ("xc", "c")], [("x", ["xb", "xc"])]),
        # A table that does not say what shows it.
        ([("x", None), ("x0", None)], [("x0", ["x"])]),
    ],
)
def test_the_image_that_shows_the_confounder_is_compared_with_the_one_that_does_not(
    images: list[tuple[str, str | None]], views: list[tuple[str, list[str]]]
) -> None:
    assert confounders._views(images) == views


def test_differences_of_two_grey_levels_are_not_the_confounder() -> None:
    one = np.array([[10, 10, 10, 10, 250]], np.uint8)
    other = np.array([[10, 12, 13, 7, 0]], np.uint8)
    assert confounders._differs(one, other).tolist() == [[False, False, True, True, True]]
