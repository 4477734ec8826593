"""RUN/rejection.md, .csv, .html and figures/rejection.png: what referring doubtful cases does."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from matplotlib.figure import Figure

from radgaze.errors import UserError
from radgaze.evaluation.referral.out_of_distribution import TITLES
from radgaze.evaluation.referral.rejection import Rejection
from radgaze.evaluation.referral.selective import GOALS
from radgaze.evaluation.statistics.evidence import Evidence
from radgaze.files import read_json, write_text, written
from radgaze.reporting.page import figure_picture, write_page
from radgaze.reporting.statistics_words import cautions
from radgaze.reporting.style import INK, MUTED, canvas, colour, line, save, styled
from radgaze.reporting.wording import bounds, estimate, number
from radgaze.runs.config import SELECTED_ON_TEST
from radgaze.tables import harmless

if TYPE_CHECKING:
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
GLOSSARY = (
    ("AUROC of errors", "how well the score tells wrong predictions from right ones; 0.5 is chance."),
    (
        "FRR at 95% TRR",
        "share of the right predictions that are referred where 95% of the wrong ones are (false and true "
        "rejection "
        "rate).",
    ),
    (
        "AURC",
        "area under the risk–coverage curve: the mean share of errors among what is accepted, over all "
        "coverages.",
    ),
    (
        "E-AURC",
        "AURC above that of a perfect score, which accepts every right prediction before a wrong one.",
    ),
    ("coverage, FRR, accuracy, AUC", "with the threshold that was chosen on the validation cases."),
)


def write_rejection(run: Run, found: Rejection) -> Path:
    """Write all of it into the run's folder; return the page's path."""
    summary = found.summary
    figure = save(risk_coverage(summary, found.curves), run.path / "figures" / "rejection.png")
    write_text(rejection_markdown(summary), run.path / "rejection.md")
    with (
        written(run.path / "rejection.csv") as aside,
        aside.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["score", "metric", "value", "low", "high"])
        for name, row in summary["scores"].items():
            for metric in COLUMNS:
                writer.writerow(
                    [harmless(name), metric, *("" if x is None else x for x in bounds(row[metric]))]
                )
    return write_page(
        "rejection.html",
        run.path / "rejection.html",
        title=f"{summary['run']}: when to refer – radgaze",
        summary=summary,
        stamp=SELECTED_ON_TEST if summary["selection"] == "test" else None,
        rule=rule_in_words(summary),
        findings=findings(summary),
        figure=figure_picture(
            figure,
            "Share of errors among accepted predictions over coverage; share referred by kind of image",
        ),
        head=[(name, "↑" if higher else "↓") for name, higher in COLUMNS.values()],
        rows=[
            (row["title"], name == summary["score"], [row[metric] for metric in COLUMNS])
            for name, row in summary["scores"].items()
        ],
        outside=[
            (TITLES.get(name, "Test cases"), entry["referred"], entry.get("auroc"))
            for name, entry in summary["out_of_distribution"].items()
        ],
        glossary=GLOSSARY,
        columns=1,
    )


def told(folder: Path) -> list[str]:
    """What a run's report says of referring; nothing where nothing was chosen yet.

    Raises:
        UserError: The run's rejection.json is broken.
    """
    path = folder / "rejection.json"
    if not path.is_file():
        return []
    advice = f"make it anew: radgaze evaluate {folder} --reject"
    summary = read_json(path, lambda found: isinstance(found, dict), advice)
    try:
        return [rule_in_words(summary), *findings(summary)]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} cannot be used; {advice}") from error


def rule_in_words(summary: dict[str, Any]) -> str:
    """What is kept with the run."""
    row, goal = summary["scores"][summary["score"]], summary["goal"]
    how = f" of the image moved by {row['magnitude']:g}" if row["magnitude"] else ""
    heat = f", logits divided by {row['temperature']:.2f}" if row["temperature"] != 1 else ""
    reached = number(row["validation"][goal["name"]], 2)
    return (
        f"A prediction is accepted where {row['title']}{how}{heat} is at most {row['threshold']:.3f}, and "
        f"referred otherwise. On the {row['validation']['cases']} validation cases, on which that was "
        "chosen, the "
        f"{GOALS[goal['name']]} is {reached}, for a goal of {goal['value']:g}."
    )


def findings(summary: dict[str, Any]) -> list[str]:
    """What may be said, and no more."""
    row, whole = summary["scores"][summary["score"]], summary["all"]
    sentences = [
        f"{summary['errors']} of {summary['cases']} test predictions are wrong. {row['title']} tells them "
        "from the "
        f"right ones with an AUROC of {estimate(row['error_detection'])}"
        + _against_chance(row["error_detection"], _evidence(summary))
        + ".",
        f"Of the test cases {estimate(row['coverage'], 2)} are kept. Accuracy is "
        f"{estimate(whole['accuracy'])} on "
        f"all and {estimate(row['accuracy_kept'])} on what is kept, macro AUC {estimate(whole['auc'])} and "
        f"{estimate(row['auc_kept'])}.",
    ]
    if summary["errors"] in (0, summary["cases"]):
        sentences[0] = (
            f"All {summary['cases']} test predictions are {'wrong' if summary['errors'] else 'right'}: "
            "no score can be measured on errors."
        )
    if bounds(row["accuracy_kept"])[0] is None:
        sentences[1] = "No test case is kept: accuracy and AUC of what is kept are undefined."
    elif bounds(row["auc_kept"])[0] is None:
        sentences.append(
            "The AUC of what is kept is undefined: of some class the kept cases are all, or none, of it."
        )
    least = min(
        (
            (bounds(entry["referred"])[0], name)
            for name, entry in summary["out_of_distribution"].items()
            if name != "test"
        ),
        default=None,
    )
    if least is not None and least[0] is not None and least[0] < 0.5:
        sentences.append(
            f"Images that are no radiographs are not safely caught: of {TITLES[least[1]].lower()} images "
            f"{number(least[0], 2)} are referred. Confidence knows nothing of what was never seen."
        )
    return sentences


def risk_coverage(summary: dict[str, Any], curves: pl.DataFrame) -> Figure:
    """Left: risk–coverage curves of the scores. Right: the share referred by kind of image."""
    shown = [
        name
        for name in summary["scores"]
        # The maximum probability orders cases as D_β does: their curves are one.
        if name in ("alpha", "beta", "entropy", "alpha_perturbed", summary["score"])
    ]
    with styled():
        figure = canvas(10.4, 4.0)
        left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
        for place, name in enumerate(shown):
            own = curves.filter(candidate=name)
            left.plot(
                own["coverage"],
                own["risk"],
                color=colour(place),
                linestyle=line(place),
                label=summary["scores"][name]["title"].replace(" (baseline)", ""),
                linewidth=2.4 if name == summary["score"] else 1.4,
            )
        share = summary["errors"] / summary["cases"]
        left.axhline(share, color=MUTED, linewidth=0.9, linestyle=":")
        left.annotate(
            "all predictions", (0.01, share), xytext=(0, 3), textcoords="offset points", color=MUTED
        )
        kept = bounds(summary["scores"][summary["score"]]["coverage"])[0]
        if kept is not None:
            left.axvline(kept, color=INK, linewidth=0.8)
            left.annotate(
                "kept", (kept, 0), xytext=(-4, 4), textcoords="offset points", ha="right", color=INK
            )
        left.set(
            xlabel="coverage: share of test cases accepted",
            ylabel="share of errors among them",
            title="Risk over coverage",
            xlim=(0, 1),
            ylim=(0, None),
        )
        left.legend(loc="upper left", bbox_to_anchor=(0.0, 0.9))
        kinds = summary["out_of_distribution"]
        names = [TITLES.get(name, "Test cases") for name in kinds]
        for place, entry in enumerate(kinds.values()):
            value, low, high = bounds(entry["referred"])
            if value is None:
                continue
            right.barh(place, value, color=colour(0) if place == 0 else colour(1), height=0.55)
            if low is not None and high is not None:
                right.plot([low, high], [place, place], color=INK, linewidth=1.2)
        right.set_yticks(range(len(names)), names)
        right.invert_yaxis()
        right.set(xlabel="share referred, with 95% interval", title="What is referred", xlim=(0, 1))
        right.grid(axis="y", visible=False)
    return figure


def rejection_markdown(summary: dict[str, Any]) -> str:
    """The tables as Markdown."""
    head = [name + ("" if higher else " ↓") for name, higher in COLUMNS.values()]
    rows = [
        [row["title"] + (", kept" if name == summary["score"] else "")]
        + [estimate(row[metric], 3) for metric in COLUMNS]
        for name, row in summary["scores"].items()
    ]
    rows.append(
        [
            "all accepted",
            "",
            "",
            "",
            "",
            "1",
            "0",
            *(estimate(summary["all"][k]) for k in ("accuracy", "auc")),
        ]
    )
    outside = [
        [TITLES.get(name, "Test cases"), estimate(entry["referred"], 2), estimate(entry.get("auroc"), 2)]
        for name, entry in summary["out_of_distribution"].items()
    ]
    likelihood = summary["likelihood"]
    text = (
        "\n\n".join(
            [
                f"# When to refer: {summary['run']}",
                rule_in_words(summary),
                *findings(summary),
                _table(["score", *head], rows),
                f"A perfect score would have an AURC of {number(summary['best_area'])}. Temperature scaling "
                "on the "
                f"validation cases gives T = {number(summary['temperature'], 2)}; the negative log "
                "likelihood of the "
                f"test cases goes from {number(likelihood['before'])} to {number(likelihood['after'])}.",
                "## Images that are no upright radiographs",
                _table(["image", "share referred", "AUROC, told from test cases"], outside),
            ]
        )
        + "\n"
    )
    return text + "".join(f"\n{note}\n" for note in cautions(text))


def _evidence(summary: dict[str, Any]) -> Evidence:
    """Every pair of a wrong and a right prediction is one that a score can tell apart, or not."""
    wrong = summary["errors"]
    return Evidence(summary["patients"], min(wrong, summary["cases"] - wrong))


def _against_chance(entry: Any, evidence: Evidence) -> str:
    _, low, high = bounds(entry)
    if low is None or high is None:
        return ""
    if low <= 0.5 <= high:
        return ", not distinguishable from chance"
    if evidence.lacking:
        return f", no verdict on it: {evidence.lacking}"
    return ", better than chance" if low > 0.5 else ", worse than chance"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
