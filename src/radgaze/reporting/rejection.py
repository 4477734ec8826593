"""RUN/rejection.md, rejection.html and figures/rejection.png: selective prediction of a run."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from radgaze.evaluation.interval_estimate import IntervalEstimate
from radgaze.evaluation.referral.measuring import ReferralEvaluation
from radgaze.evaluation.referral.options import GOALS
from radgaze.evaluation.referral.out_of_distribution import TITLES
from radgaze.evaluation.referral.results import ReferralResults, read_results
from radgaze.evaluation.statistics.evidence import Evidence
from radgaze.files import write_text
from radgaze.markdown import table_of
from radgaze.reporting.page import figure_picture, write_page
from radgaze.reporting.run_links import report_of
from radgaze.reporting.statistics_words import cautions
from radgaze.reporting.style import INK, MUTED, canvas, colour, line, save, styled
from radgaze.reporting.wording import estimate, number
from radgaze.runs.config import SELECTED_ON_TEST
from radgaze.runs.run import Run

COLUMNS = {
    "error_detection": ("AUROC of errors", True),
    "false_rejection": ("FRR at 95% TRR", False),
    "area_under_risk": ("AURC", False),
    "excess_area": ("E-AURC", False),
    "coverage": ("coverage", True),
    "frr": ("FRR", False),
    "accuracy_kept": ("accuracy kept", True),
    "auc_kept": ("AUC kept", True),
}
"""Heading of each figure of `ScoreResults`, and whether higher is better."""
GLOSSARY = (
    ("AUROC of errors", "how well the score separates wrong predictions from right ones; 0.5 is chance."),
    (
        "FRR at 95% TRR",
        "share of the right predictions that are referred where 95% of the wrong ones are (false and true "
        "rejection rate).",
    ),
    (
        "AURC",
        "area under the risk–coverage curve: the mean share of errors among accepted predictions, over all "
        "coverages.",
    ),
    (
        "E-AURC",
        "AURC above that of a perfect score, which accepts every right prediction before a wrong one.",
    ),
    ("coverage, FRR, accuracy, AUC", "with the threshold that was chosen on the validation cases."),
)


def write_rejection(run: Run, evaluation: ReferralEvaluation) -> Path:
    """Write the figure, the tables in Markdown and the page into the run's folder.

    Returns:
        Path of the page.
    """
    results = evaluation.results
    figure = save(risk_coverage(results, evaluation.curves), run.path / "figures" / "rejection.png")
    write_text(rejection_markdown(results), run.path / "rejection.md")
    return write_page(
        "rejection.html",
        run.path / "rejection.html",
        links=[report_of(run)],
        words="When to refer",
        title=f"{results.run}: when to refer – radgaze",
        results=results,
        stamp=SELECTED_ON_TEST if results.selection == "test" else None,
        rule=rule_in_words(results),
        findings=findings(results),
        figure=figure_picture(
            figure,
            "Share of errors among accepted predictions over coverage; share referred by kind of image",
        ),
        head=[(name, "↑" if higher else "↓") for name, higher in COLUMNS.values()],
        rows=[
            (score.title, name == results.score, list(score.figures().values()))
            for name, score in results.scores.items()
        ],
        image_kinds=[
            (_kind_title(name), kind.referred, kind.auroc)
            for name, kind in results.out_of_distribution.items()
        ],
        glossary=GLOSSARY,
        columns=1,
    )


def referral_sentences(folder: Path) -> list[str]:
    """Describe the rule of referral for the report of a run; empty where no rule has been chosen yet.

    Args:
        folder: Folder of the run.

    Raises:
        UserError: The run's rejection.json is damaged.
    """
    results = read_results(folder)
    return [] if results is None else [rule_in_words(results), *findings(results)]


def rule_in_words(results: ReferralResults) -> str:
    """Describe the rule that is stored with the run."""
    score, goal = results.chosen, results.goal
    moved = f" of the image moved by {score.magnitude:g}" if score.magnitude else ""
    tempered = f", logits divided by {score.temperature:.2f}" if score.temperature != 1 else ""
    return (
        f"A prediction is accepted where {score.title}{moved}{tempered} is at most {score.threshold:.3f}, "
        f"and referred otherwise. On the {score.validation.cases} validation cases, on which that was "
        f"chosen, the {GOALS[goal.name]} is {number(score.validation.reached(goal.name), 2)}, for a goal of "
        f"{goal.value:g}."
    )


def findings(results: ReferralResults) -> list[str]:
    """Summarise the results in sentences."""
    score, overall = results.chosen, results.all
    sentences = [
        f"{results.errors} of {results.cases} test predictions are wrong. {score.title} separates them from "
        f"the right ones with an AUROC of {estimate(score.error_detection)}"
        f"{_against_chance(score.error_detection, _evidence(results))}.",
        f"Of the test cases {estimate(score.coverage, 2)} are kept. Accuracy is "
        f"{estimate(overall.accuracy)} on all and {estimate(score.accuracy_kept)} on the kept ones, macro "
        f"AUC {estimate(overall.auc)} and {estimate(score.auc_kept)}.",
    ]
    if results.errors in (0, results.cases):
        sentences[0] = (
            f"All {results.cases} test predictions are {'wrong' if results.errors else 'right'}: "
            "no score can be measured on errors."
        )
    if score.accuracy_kept.value is None:
        sentences[1] = "No test case is kept: accuracy and AUC of kept cases are undefined."
    elif score.auc_kept.value is None:
        sentences.append(
            "The AUC of kept cases is undefined: for some class all kept cases have it, or none has."
        )
    referred = [
        (kind.referred.value, name)
        for name, kind in results.out_of_distribution.items()
        if name != "test" and kind.referred.value is not None
    ]
    least = min(referred, default=None)
    if least is not None and least[0] < 0.5:
        sentences.append(
            f"Images that are no radiographs are not reliably referred: of {TITLES[least[1]].lower()} images "
            f"{number(least[0], 2)} are. Confidence says nothing about images unlike those of the training."
        )
    return sentences


def risk_coverage(results: ReferralResults, curves: pl.DataFrame) -> Figure:
    """Draw risk–coverage curves of the scores, and the share referred by kind of image."""
    with styled():
        figure = canvas(10.4, 4.0)
        left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
        _draw_curves(left, results, curves)
        _draw_kinds(right, results)
    return figure


def _draw_curves(axis: Axes, results: ReferralResults, curves: pl.DataFrame) -> None:
    # The maximum probability orders cases like D_β, so that their curves are identical.
    names = ("alpha", "beta", "entropy", "alpha_perturbed", results.score)
    for place, name in enumerate(name for name in results.scores if name in names):
        curve = curves.filter(candidate=name)
        axis.plot(
            curve["coverage"],
            curve["risk"],
            color=colour(place),
            linestyle=line(place),
            label=results.scores[name].title.replace(" (baseline)", ""),
            linewidth=2.4 if name == results.score else 1.4,
        )
    share = results.errors / results.cases
    axis.axhline(share, color=MUTED, linewidth=0.9, linestyle=":")
    axis.annotate("all predictions", (0.01, share), xytext=(0, 3), textcoords="offset points", color=MUTED)
    coverage = results.chosen.coverage.value
    if coverage is not None:
        axis.axvline(coverage, color=INK, linewidth=0.8)
        axis.annotate(
            "kept", (coverage, 0), xytext=(-4, 4), textcoords="offset points", ha="right", color=INK
        )
    axis.set(
        xlabel="coverage: share of test cases accepted",
        ylabel="share of errors among them",
        title="Risk over coverage",
        xlim=(0, 1),
        ylim=(0, None),
    )
    axis.legend(loc="upper left", bbox_to_anchor=(0.0, 0.9))


def _draw_kinds(axis: Axes, results: ReferralResults) -> None:
    kinds = results.out_of_distribution
    for place, kind in enumerate(kinds.values()):
        referred = kind.referred
        if referred.value is None:
            continue
        axis.barh(place, referred.value, color=colour(0) if place == 0 else colour(1), height=0.55)
        if referred.low is not None and referred.high is not None:
            axis.plot([referred.low, referred.high], [place, place], color=INK, linewidth=1.2)
    axis.set_yticks(range(len(kinds)), [_kind_title(name) for name in kinds])
    axis.invert_yaxis()
    axis.set(xlabel="share referred, with 95% interval", title="What is referred", xlim=(0, 1))
    axis.grid(axis="y", visible=False)


def rejection_markdown(results: ReferralResults) -> str:
    """Return the tables as Markdown."""
    headings = [name + ("" if higher else " ↓") for name, higher in COLUMNS.values()]
    rows = [
        [score.title + (", kept" if name == results.score else "")]
        + [estimate(entry, 3) for entry in score.figures().values()]
        for name, score in results.scores.items()
    ]
    overall = [estimate(results.all.accuracy), estimate(results.all.auc)]
    rows.append(["all accepted", "", "", "", "", "1", "0", *overall])
    kinds = [
        [_kind_title(name), estimate(kind.referred, 2), estimate(kind.auroc, 2)]
        for name, kind in results.out_of_distribution.items()
    ]
    likelihood = results.likelihood
    parts = [
        f"# When to refer: {results.run}",
        rule_in_words(results),
        *findings(results),
        table_of(["score", *headings], rows),
        f"A perfect score would have an AURC of {number(results.best_area)}. Temperature scaling on the "
        f"validation cases gives T = {number(results.temperature, 2)}; the negative log likelihood of the "
        f"test cases changes from {number(likelihood.before)} to {number(likelihood.after)}.",
        "## Images that are no upright radiographs",
        table_of(["image", "share referred", "AUROC, against test cases"], kinds),
    ]
    text = "\n\n".join(parts) + "\n"
    return text + "".join(f"\n{note}\n" for note in cautions(text))


def _kind_title(name: str) -> str:
    return TITLES.get(name, "Test cases")


def _evidence(results: ReferralResults) -> Evidence:
    """Return the evidence of an AUROC of errors: pairs of a wrong and a right prediction are discordant."""
    discordant = results.discordant
    if discordant is None:
        discordant = min(results.errors, results.cases - results.errors)
    return Evidence(results.patients, discordant)


def _against_chance(entry: IntervalEstimate, evidence: Evidence) -> str:
    if entry.value is None or entry.low is None or entry.high is None:
        return ""
    if entry.low <= 0.5 <= entry.high:
        return ", not distinguishable from chance"
    if evidence.lacking:
        return f", no verdict on it: {evidence.lacking}"
    return ", better than chance" if entry.low > 0.5 else ", worse than chance"
