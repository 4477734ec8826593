"""The sections of a model card that are words: use, data, training, limits."""

from __future__ import annotations

import polars as pl

from radgaze.errors import UserError
from radgaze.evaluation.results import EvaluationResults
from radgaze.markdown import escaped, table_of
from radgaze.reporting import description
from radgaze.reporting.attention import told_of
from radgaze.reporting.description import StoreFacts
from radgaze.reporting.pretraining import pretraining_words, taken_words
from radgaze.reporting.sections.limits import AGREEMENT, CONTROL, NO_CONTROL
from radgaze.reporting.wording import count, listed
from radgaze.runs.config import SELECTED_ON_TEST
from radgaze.runs.requirements import uses_gaze
from radgaze.runs.run import Run

PARTS = {"train": "training", "validate": "validation", "test": "test"}
NOT_EVALUATED = "The run is not evaluated: it has no figures (`radgaze evaluate`)."


def summary(run: Run, results: EvaluationResults | None, store: StoreFacts) -> str:
    """Say which model was trained on which data, and how gaze was used."""
    exclusive = True if results is None else results.exclusive
    stamp = f" **{SELECTED_ON_TEST}**" if run.config.selection == "test" else ""
    return (
        f"{escaped(description.summary(run, store, exclusive=exclusive))}{stamp}\n\n"
        "**Research use only. Not a medical device; no clinical validation.**"
    )


def intended(run: Run, results: EvaluationResults | None) -> list[str]:
    """State the intended use."""
    exclusive = True if results is None else results.exclusive
    task = "one of" if exclusive else "each of, independently,"
    return [
        "Research on gaze-guided classifiers of chest radiographs: to compare methods, to study heatmaps "
        "and what "
        "a network relies on, and as a baseline. The input is one frontal chest "
        f"radiograph{_gaze_input(run)}; the "
        f"output is a probability of {task} {escaped(listed(run.classes))}."
    ]


def out_of_scope(run: Run) -> list[str]:
    """List the uses that the model is not for."""
    classes = escaped(listed(run.classes))
    return [
        "\n".join(
            (
                "- Diagnosis, triage, or any decision about a patient.",
                "- Lateral views, images of another kind than those of the training, computed tomography, "
                "other parts of the body. The network gives probabilities for any "
                "image, also for one that is no radiograph.",
                f"- Findings other than {classes}: it cannot say “none of these” unless that is one of them.",
                "- A heatmap as proof of what the network uses, or of where a finding is.",
                "- Identification of patients, or of readers by their gaze.",
            )
        )
    ]


def data(run: Run, store: StoreFacts) -> list[str]:
    """The data, and how they were split."""
    parts = list[str]()
    if store.source is None:
        parts.append(
            "The store of the run is missing or has changed: source and numbers of its cases are missing."
        )
    else:
        parts.append(f"Source “{escaped(store.source)}”, {count(store.cases or 0, 'case')} in the store.")
    split = run.config.split
    how = "the split of the store" if split.kind == "store" else f"a split of kind {split.kind}"
    table = _cases(run, store)
    parts[-1] += f" It is divided by {how}.{_shared(table)}"
    rows = [] if table is None else _split_rows(run, table)
    if rows:
        parts.append(table_of(["part", "cases", "patients", *map(escaped, run.classes)], rows))
    left_out = {reason: n for reason, n in store.rejections.items() if n}
    if left_out:
        words = ", ".join(f"{reason.replace('_', ' ')} {n:,}" for reason, n in left_out.items())
        parts.append(f"Left out of the store, by reason (cases, fixations and boxes): {words}.")
    return parts


def _cases(run: Run, store: StoreFacts) -> pl.DataFrame | None:
    """The cases with their parts and labels: those of the store or, without it, those that were predicted."""
    if store.source is not None:
        return run.store.cases
    try:
        return run.predictions()
    except UserError:
        return None


def _shared(table: pl.DataFrame | None) -> str:
    """Say how many patients have cases in several parts, where all parts are known."""
    if table is None or table.filter(split="train").is_empty():
        return ""
    parts = table.filter(pl.col("split").is_in(PARTS)).group_by("patient").agg(pl.col("split").n_unique())
    several = parts.filter(pl.col("split") > 1).height
    return (
        f" {several:,} patients have cases in more than one part."
        if several
        else (" No patient has cases in two parts.")
    )


def _split_rows(run: Run, table: pl.DataFrame) -> list[list[str]]:
    """Numbers of cases and patients of each part that is known, and of each class."""
    rows = list[list[str]]()
    for part, name in PARTS.items():
        cases = table.filter(split=part)
        if cases.height:
            classes = (f"{int(cases[f'label_{each}'].sum()):,}" for each in run.classes)
            rows.append([name, f"{cases.height:,}", f"{cases['patient'].n_unique():,}", *classes])
    return rows


def training(run: Run, results: EvaluationResults | None, store: StoreFacts) -> list[str]:
    """Experiment, objective, gaze and its control, as a table."""
    config = run.config
    shown = description.facts(run, EvaluationResults() if results is None else results, store)
    without = ("Heatmap shown", "Data source") if results is None else ("Data source",)
    rows = [[name, escaped(value)] for name, value in shown if name not in without]
    optimisation = config.optimisation
    rows += [
        ["Input", f"{config.input.size} × {config.input.size} px, {config.input.fit}"],
        ["Classification loss", config.objective.classification],
        [
            "Optimiser",
            f"{optimisation.optimiser}, learning rate {optimisation.learning_rate:g}, weight decay "
            f"{optimisation.weight_decay:g}, batches of {optimisation.batch_size}",
        ],
    ]
    return [table_of(["setting", "value"], rows)]


def pretraining(run: Run, results: EvaluationResults | None) -> list[str]:
    """Whether the initial weights saw images of MIMIC-CXR, and test cases among them."""
    words = pretraining_words(run, results)
    if not words:
        words = "The encoder started from random weights: it saw nothing before."
        if run.config.model.has_own_encoder:
            words = "The network's encoder has no pretrained weights."
        elif run.config.model.is_own:
            words = "The network is the user's own: what it saw before is not recorded."
    return [escaped(" ".join(filter(None, (words, taken_words(run)))))]


def limits(run: Run, results: EvaluationResults | None, store: StoreFacts) -> list[str]:
    """List the limits of the figures."""
    sentences = [
        "The intervals cover the choice of test patients, not another random start of the training, another "
        "split, another hospital or another reader.",
        AGREEMENT[store.attention],
        "Figures on the store's own test cases say little about images of another device, population or "
        "time.",
    ]
    if results is not None and results.selection == "test":
        sentences.insert(0, "The epoch was selected on the test cases: the figures are too good.")
    if uses_gaze(run.config) and run.config.gaze.control == "none":
        sentences.append(told_of(NO_CONTROL, store.attention) + CONTROL)
    sentences.append("No figure is by subgroup: a store has no sex, age or ethnicity of its patients.")
    return ["\n".join(f"- {sentence}" for sentence in sentences)]


def use(run: Run) -> list[str]:
    """How the model is used."""
    return [
        "A run is used by `radgaze predict`; a folder with `model.safetensors` and `config.json` is loaded "
        "by `radgaze.models.load(folder)`, or as initial weights (setting model.weights). For other files of "
        "an export, `model.json` describes the way from a DICOM file to its input."
    ]


def _gaze_input(run: Run) -> str:
    return ", with the gaze of a reader" if run.config.model.needs_gaze else ""


def missing(what: str, command: str) -> list[str]:
    """A section that the run has no figures for."""
    return [f"{what}: missing (`{command}`)."]
