"""Section of the headline figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from radgaze.evaluation import baselines
from radgaze.evaluation.constant import WORDS, is_constant
from radgaze.evaluation.results import MACRO, EvaluationResults
from radgaze.reporting.groups import shown_classes
from radgaze.reporting.sections.section import EvaluatedRun, Section, register
from radgaze.reporting.statistics_words import marked
from radgaze.reporting.verdicts import chance_sentence
from radgaze.reporting.wording import bounds, count, estimate, listed, number


@dataclass(frozen=True)
class Tile:
    """A headline figure.

    Attributes:
        name: Name of the figure.
        value: The figure.
        remark: Remark below it.
    """

    name: str
    value: str
    remark: str


@dataclass(frozen=True)
class Headline:
    """Content of the section.

    Attributes:
        tiles: The headline figures.
        findings: Interpretation of these figures, in sentences.
    """

    tiles: tuple[Tile, ...]
    findings: tuple[str, ...]


@register("results", title="Results on the test cases", order=10)
class HeadlineSection(Section):
    """The headline figures, and sentences on them."""

    def content(self, evaluated: EvaluatedRun) -> Headline:
        results, test = evaluated.results, evaluated.test
        patients = count(test["patient"].n_unique(), "patient")
        shown = shown_classes(test, evaluated.run.classes)
        tiles = (
            _auc_tile(results, shown),
            _agreement_tile(results),
            Tile("Test cases", f"{test.height:,}", f"of {patients}, none of whom is in the training cases"),
        )
        constant = (WORDS,) if is_constant(test, evaluated.run.classes) else ()
        return Headline(tiles, (*constant, *findings(results, shown)))


def findings(results: EvaluationResults, classes: Sequence[str]) -> tuple[str, ...]:
    """State in sentences what the headline figures mean.

    Args:
        results: The results.
        classes: The classes that the page shows, see `shown_classes`.
    """
    auc, name = results.test.auc, "macro AUC" if len(classes) > 1 else "AUC"
    defined = [(value, each) for each in classes if (value := bounds(auc.get(each))[0]) is not None]
    sentences = []
    if len(defined) > 1 and max(defined)[0] > min(defined)[0]:
        best, worst = max(defined)[1], min(defined)[1]
        sentences.append(
            f"{best} has the highest one-vs-rest AUC ({estimate(auc[best])}), "
            f"{worst} the lowest ({estimate(auc[worst])})."
        )
    if left_out := results.test.not_averaged:
        sentences.append(
            f"{listed(left_out)} {'is' if len(left_out) == 1 else 'are'} left out of the macro mean: the "
            "test cases do not include both cases with and without the class, and its AUC is undefined."
        )
    if sentence := chance_sentence(auc, tuple(classes)):
        sentences.append(sentence)
    validation = results.validate.auc.get(MACRO)
    if bounds(validation)[0] is not None:
        start = (
            "The test cases selected the epoch; on the validation cases"
            if results.selection == "test"
            else "On the validation cases, which selected the epoch,"
        )
        sentences.append(f"{start} the {name} is {estimate(validation)}.")
    return tuple(sentences)


def _auc_tile(results: EvaluationResults, shown: Sequence[str]) -> Tile:
    of_one = len(shown) == 1
    value, low, high = bounds(results.test.auc.get(shown[0] if of_one else MACRO))
    interval = "no interval"
    if low is not None and high is not None:
        interval = f"95% interval {number(low)} to {number(high)}{marked(low, high)}"
    name = f"AUC of {shown[0]}" if of_one else "Macro AUC"
    return Tile(f"{name} on the test cases", number(value), interval)


def _agreement_tile(results: EvaluationResults) -> Tile:
    maps = results.test.agreement
    nss = (maps.get("heatmap") or {}).get("nss")
    remark = "not measured"
    inside = (results.test.localisation.get("heatmap") or {}).get("energy_inside")
    if nss is None and inside is not None:
        cases = count(results.test.localisation_cases.compared, "case")
        remark = f"share of the heatmap inside the boxes or masks, in {cases}"
        return Tile("Heatmap inside the boxes", number(bounds(inside)[0], 2), remark)
    if nss is not None:
        name, baseline = next(iter(baselines.evaluated().items()))
        floor = number(bounds((maps.get(name) or {}).get("nss"))[0], 2)
        remark = f"{baseline.summary({}).removeprefix('the ')} reaches {floor}"
    return Tile("Heatmap–gaze agreement (NSS)", number(bounds(nss)[0], 2), remark)
