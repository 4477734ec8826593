from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from radgaze.evaluation.audit.aspects import ASPECTS
from radgaze.evaluation.audit.aspects.sanity import Cascade, WeightDependence
from radgaze.evaluation.audit.options import AuditOptions
from radgaze.evaluation.audit.results import (
    AuditEstimate,
    AuditResults,
    AuditSettings,
    BaselineComparison,
    MethodResults,
    Recipe,
)
from radgaze.evaluation.audit.verdicts import verdict_rows
from radgaze.evaluation.statistics.decision import Difference, Verdict
from radgaze.reporting.audit.figures import of_aspect, overview
from radgaze.reporting.audit.page import findings, write_audit_page
from radgaze.reporting.audit.rows import shown
from radgaze.reporting.wording import number
from tests.evaluation.known import known
from tests.reporting.fakes import FakeRun
from tests.reporting.lines import x_of, y_of
from tests.reporting.pages import Page, assert_accessible, assert_self_contained

FLOORS = ("mean_gaze", "lung_shape", "random")
COMPARED = ("agreement", "localisation", "faithfulness")
CASCADES = known(ASPECTS["sanity"].figure)


def entry(value: float, n: int = 20) -> AuditEstimate:
    return AuditEstimate(value, value - 0.05, value + 0.05, n=n, patients=n)


def method(verdict: Verdict, likeness: float, number: int) -> MethodResults:
    """A method of an audit; its figures differ from every other's."""
    figures = {
        name: {metric: entry(0.1 * number + 0.01 * k) for k, metric in enumerate(aspect.metrics)}
        for name, aspect in ASPECTS.items()
    }
    figures["sanity"]["cascading_rank_correlation"] = entry(likeness)
    figures["cost"] = {
        "images_per_second": AuditEstimate(20.0 * number, n=20),
        "forward_passes": AuditEstimate(1.0 + number, n=20),
    }
    difference = {"better": 0.2, "even": 0.0, "worse": -0.2}[verdict]
    differences = {floor: Difference(difference, difference - 0.05, difference + 0.05) for floor in FLOORS}
    cascades = tuple(
        Cascade(mode, ("head", "conv"), [0.8, likeness], [0.7, None]) for mode in ("cascading", "independent")
    )
    return MethodResults(
        figures,
        {aspect: BaselineComparison("nss", differences, verdict) for aspect in COMPARED},
        {"sanity": WeightDependence(likeness < 0.5, cascades)},
    )


def results(**changes: MethodResults) -> AuditResults:
    """Results of an audit; methods of these names are replaced."""
    methods = {
        "guided_backprop": method("better", 0.1, 1),
        "smooth_grad": method("even", 0.2, 2),
        "integrated_gradients": method("worse", 0.9, 3),
    } | changes
    methods |= {
        floor: MethodResults({a: {m: entry(0.6 + 0.01 * k) for m in ASPECTS[a].metrics} for a in COMPARED})
        for k, floor in enumerate(FLOORS)
    }
    methods["other_reader"] = MethodResults(
        {"agreement": {m: entry(0.9, 7) for m in ASPECTS["agreement"].metrics}}
    )
    options = AuditOptions()
    return AuditResults(
        experiment="set3_guided",
        classes=("a", "b"),
        software="0",
        selection="validate",
        settings=AuditSettings(
            split="test",
            resamples=2000,
            passes=4,
            constants={"blur": 0.1},
            size=224,
            target="predicted",
            baseline_counts={},
            device="cpu",
            steps=options.steps,
            subsets=options.subsets,
            share=options.share,
            stages=options.stages,
            noise=options.noise,
            draws=options.draws,
            shift=options.shift,
            seed=options.seed,
        ),
        recipes={
            "guided_backprop": Recipe("guided_backprop", {}),
            "smooth_grad": Recipe("smooth_grad", {"samples": 4}),
            "integrated_gradients": Recipe("integrated_gradients", {"steps": 4}),
        },
        cases=20,
        patients=18,
        probed=8,
        thresholds={"unchanged_from": 0.5},
        methods=methods,
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    run = FakeRun(tmp_path_factory.mktemp("runs") / "run")
    out = tmp_path_factory.mktemp("audit")
    written = write_audit_page(run, out, results())
    assert {path.name for path in out.iterdir()} == {"audit.html", "audit.png", "sanity.png"}
    return written.read_text(encoding="utf-8")


def test_the_page_is_balanced_self_contained_and_accessible(page: str) -> None:
    assert_self_contained(page)
    assert_accessible(page)


def test_every_figure_of_every_map_is_in_its_row(page: str) -> None:
    methods = results().methods
    for aspect, registered in ASPECTS.items():
        table = re.search(rf'<h2 id="{aspect}">.*?</table>', page, re.S)
        assert table
        rows = re.findall(r"<tr.*?</tr>", table[0], re.S)[1:]
        measured = [name for name in methods if aspect in methods[name].figures]
        assert len(rows) == len(measured)
        for name, row in zip(measured, rows, strict=True):
            text = Page(row).text
            digits = registered.digits
            for metric in shown(registered):
                own = methods[name].figures[aspect][metric]
                interval = f" [{number(own.low, digits)}, {number(own.high, digits)}]" if own.low else ""
                assert number(own.value, digits) + interval in text, (name, metric)


def test_every_metric_is_explained_and_has_a_direction_where_one_is_better(page: str) -> None:
    text = Page(page).text
    for aspect in ASPECTS.values():
        for metric in aspect.metrics.values():
            assert f"{metric.title}: {metric.words}" in text
        for metric in shown(aspect).values():
            arrow = f"{metric.title} {'↑' if metric.higher_is_better else '↓'}"
            assert (arrow in text) == metric.directed


def test_what_does_not_change_with_the_weights_is_marked_wherever_it_is_named(page: str) -> None:
    rows = [row for row in re.findall(r"<tr.*?</tr>", page, re.S) if '<tr><th scope="row">' in row]
    marked = [Page(row).text for row in rows if "✗" in row]
    assert len(marked) == 1 + len(ASPECTS)
    assert all(text.strip().startswith("integrated_gradients") for text in marked)


def test_findings_say_which_methods_beat_the_floors_and_which_ignore_the_weights() -> None:
    said = findings(results())
    assert said[0] == "guided_backprop points where the radiologist looked better than every floor (NSS)."
    assert said[-1].startswith("integrated_gradients does not change with the weights:")
    better = method("better", 0.1, 3)
    changed = results(integrated_gradients=better, smooth_grad=better)
    said = findings(changed)
    assert said[0].startswith(
        "All of 3 methods, guided_backprop, smooth_grad and integrated_gradients, point "
    )
    assert said[-1] == "Every method's maps change when the weights are randomised."
    figures = {name: values for name, values in better.figures.items() if name not in ("sanity", "stability")}
    changed = results(
        integrated_gradients=better,
        smooth_grad=replace(better, figures=figures, details={"sanity": WeightDependence()}),
    )
    said = findings(changed)
    assert said[-1].startswith("smooth_grad gives maps that are the same everywhere:")
    assert len(panels(overview(changed))) == len(ASPECTS)


def test_the_figure_has_a_panel_for_each_aspect_and_a_row_for_each_method() -> None:
    figure = overview(results())
    axes = panels(figure)
    assert len(axes) == len(ASPECTS)
    assert [label.get_text() for label in axes[0].get_yticklabels()] == [
        "guided_backprop",
        "smooth_grad (4 passes)",
        "integrated_gradients (4 passes)",
    ]
    for axis in axes:
        hollow = [
            line for line in axis.lines if line.get_marker() == "o" and line.get_markerfacecolor() == "white"
        ]
        assert [y_of(line)[0] for line in hollow] == [2.0]
    shown = [x_of(line)[0] for line in axes[0].lines if line.get_marker() == "o"]
    assert shown == pytest.approx([0.1, 0.2, 0.3])


def test_an_aspect_that_was_not_measured_has_no_panel_and_no_table(tmp_path: Path) -> None:
    without = results()
    for each in without.methods.values():
        each.figures.pop("localisation", None)
        (each.against_floors or {}).pop("localisation", None)
    assert len(panels(overview(without))) == len(ASPECTS) - 1
    page = write_audit_page(FakeRun(tmp_path / "run"), tmp_path, without).read_text(encoding="utf-8")
    assert 'id="localisation"' not in page
    assert 'id="faithfulness"' in page


def test_the_cascade_starts_at_the_trained_map_and_ends_without_a_learnt_weight() -> None:
    axes = panels(of_aspect(results(), CASCADES))
    assert [axis.get_title(loc="left") for axis in axes] == [
        "guided_backprop",
        "smooth_grad",
        "✗ integrated_gradients",
    ]
    fall = next(line for line in axes[0].lines if str(line.get_label()).startswith("rank correlation, all"))
    assert y_of(fall) == [1.0, 0.8, 0.1]


def panels(figure: Figure) -> list[Axes]:
    return [axis for axis in figure.axes if axis.axison]


def test_on_few_patients_the_reason_stands_in_the_place_of_a_verdict_and_nothing_is_green() -> None:
    few, why = results(), "too few patients (5; at least 20)"
    for each in few.audited().values():
        assert each.against_floors is not None
        for name, comparison in each.against_floors.items():
            each.against_floors[name] = replace(comparison, verdict="few", lacking=why)
    del known(few.methods["smooth_grad"].against_floors)["localisation"]
    assert {word for _, *words in verdict_rows(few) for word in words[:3]} == {why, "–"}
    assert findings(few)[0] == (
        f"Whether a method points where the radiologist looked better than every floor cannot be said: {why}."
    )
