"""The sections of a model card that are figures, each with its interval."""

from __future__ import annotations

from radgaze.evaluation.referral.results import read_results as read_referral
from radgaze.evaluation.referral.selective import Referral
from radgaze.evaluation.results import MACRO, EvaluationResults
from radgaze.exporting.card_words import NOT_EVALUATED, missing
from radgaze.markdown import escaped, table_of
from radgaze.reporting.rejection import findings, rule_in_words
from radgaze.reporting.wording import AGREEMENT, MAPS, RELIANCE, count, estimate, number
from radgaze.runs.controls import WORDS
from radgaze.runs.requirements import uses_gaze
from radgaze.runs.run import Run


def discrimination(run: Run, results: EvaluationResults | None) -> list[str]:
    """AUC, average precision and sensitivity of each class."""
    if results is None:
        return [NOT_EVALUATED]
    test, groups = results.test, [MACRO, *results.classes]
    columns = {"AUC": test.auc, "average precision": test.average_precision}
    columns |= {
        f"sensitivity at {float(s):.0%} specificity": groups_
        for s, groups_ in test.sensitivity_at_specificity.items()
    }
    rows = [
        [_group(group), *(estimate(values.get(group)) for values in columns.values())] for group in groups
    ]
    cases = f"{count(test.cases, 'test case')} of {count(test.patients, 'patient')}"
    parts = [
        f"On {cases}, with 95% intervals over patients.",
        table_of(["class", *columns], rows),
    ]
    whole = {"Accuracy": test.accuracy, "All classes right": test.exact_match}
    words = [f"{name} {estimate(entry)}." for name, entry in whole.items() if entry is not None]
    if test.not_averaged:
        words.append(
            f"The macro means leave out {escaped(', '.join(test.not_averaged))}: all or no cases have it."
        )
    validate = results.validate.auc.get(MACRO)
    if validate is not None:
        words.append(f"Macro AUC on the validation cases: {estimate(validate)}.")
    return [*parts, " ".join(words)] if words else parts


def controls(run: Run, results: EvaluationResults | None) -> list[str]:
    """State whether the run used gaze, and which control it is or lacks."""
    control = run.config.gaze.control
    if not uses_gaze(run.config):
        return ["The run used no gaze: there is nothing to control for."]
    if control != "none":
        return [
            f"This run is itself a control: in training, {WORDS.get(control, control)} stood in for the "
            "gaze on "
            "each case."
        ]
    words = (
        "The run used the gaze on each case. A run with a control in its place (setting gaze.control, as "
        "shuffled or lungs) is another run; its comparison (`radgaze compare`) is not stored in this one: "
        "missing."
    )
    return [words]


def maps(results: EvaluationResults | None) -> list[str]:
    """Agreement of the maps with gaze, beside the floors that depend on no network."""
    if results is None:
        return [NOT_EVALUATED]
    measured = {name: entry for name, entry in results.test.agreement.items() if entry}
    if not measured:
        return missing("Agreement of the maps with gaze", "radgaze evaluate")
    metrics = [name for name in AGREEMENT if any(name in entry for entry in measured.values())]
    rows = [
        [MAPS.get(name, name), *(estimate(entry.get(metric)) for metric in metrics)]
        for name, entry in measured.items()
    ]
    settings, cases = results.settings, results.test.agreement_cases.compared
    return [
        f"Agreement with gaze on {count(cases, 'test case')}; heatmap {settings.generator} of the "
        f"{settings.target} class. The last rows are floors: maps that depend on no network. A map that "
        "agrees "
        "with gaze is no evidence that the network uses what lies there.",
        table_of(["map", *(_title(metric) for metric in metrics)], rows),
    ]


def reliance(results: EvaluationResults | None) -> list[str]:
    """Reliance on confounders, measured on twins."""
    if results is None:
        return [NOT_EVALUATED]
    if not results.test.reliance:
        return [
            "Missing: the store has no twins of test cases, so that it is not known how far predictions "
            "depend on "
            "a marker, a device or the like (`radgaze paste` makes twins)."
        ]
    rows = [
        [
            escaped(name),
            *(estimate(relied.metrics.get(metric)) for metric in RELIANCE),
            f"{relied.cases:,}",
            f"{relied.pairs:,}",
        ]
        for name, relied in results.test.reliance.items()
    ]
    titles = [title for title, _ in RELIANCE.values()]
    return [
        "How far the prediction moves when the confounder alone is added; a network that does not use it "
        "has 0 in all columns.",
        table_of(["confounder", *titles, "cases", "pairs"], rows),
    ]


def calibration(run: Run, results: EvaluationResults | None) -> list[str]:
    """Brier score and calibration error, and the temperature, which is not applied."""
    rule = Referral.read(run.path)
    temperature = (
        "A temperature is missing (`radgaze evaluate` with reject fits one)."
        if rule is None
        else f"The temperature that minimises the validation loss is {number(rule.calibration)}; "
        "predictions are given without it."
    )
    if results is None:
        return [f"{NOT_EVALUATED} {temperature}"]
    test = results.test
    groups = [MACRO, *results.classes, *(["multiclass"] if "multiclass" in test.brier else [])]
    rows = [
        [
            _group(group),
            estimate(test.brier.get(group)),
            estimate(test.calibration_error.get(group)),
            estimate(test.calibration_error_if_calibrated.get(group)),
        ]
        for group in groups
    ]
    columns = ["class", "Brier score", "calibration error", "calibration error by chance"]
    chance = (
        "By chance: mean, and 2.5% and 97.5% quantiles, of the calibration error that calibrated "
        "probabilities have on as many cases. An error within this range is no evidence against calibration."
    )
    return [table_of(columns, rows), chance, temperature]


def referral(run: Run) -> list[str]:
    """The reject rule, and what it does on the test cases."""
    results = read_referral(run.path)
    if results is not None:
        return [escaped(" ".join([rule_in_words(results), *findings(results)]))]
    rule = Referral.read(run.path)
    if rule is None:
        return missing(
            "A rule of which predictions to accept and which cases to refer", "radgaze evaluate with reject"
        )
    return [
        f"A prediction is accepted where the score {rule.score} is at most {number(rule.threshold)}. How it "
        "does on "
        "the test cases is missing."
    ]


def _group(name: str) -> str:
    return {MACRO: "mean of the classes", "multiclass": "all classes at once"}.get(name, escaped(name))


def _title(metric: str) -> str:
    return AGREEMENT[metric][0]
