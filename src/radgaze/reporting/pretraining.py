"""Words for what the encoder of a run saw before: its initial weights, their input, and MIMIC-CXR."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from radgaze.errors import UserError
from radgaze.evaluation.pretraining import SeenCases
from radgaze.evaluation.results import EvaluationResults, read_results
from radgaze.models.pretraining import Pretraining, pretraining_of
from radgaze.models.weight_sources import is_path
from radgaze.reporting.wording import count, listed
from radgaze.runs import initial_weights
from radgaze.runs.initial_weights import InitialWeights

if TYPE_CHECKING:
    from radgaze.runs.run import Run

LOCAL = "a local file"
OPTION = "the option pretraining_ids counts them"


def input_words(run: Run) -> str:
    """Describe the input of a run's encoder; empty where it is not known."""
    weights = initial_weights.read(run)
    if weights is None or not weights.input:
        return ""
    by = {"settings": "", "assumed": ", assumed: nothing states what the weights expect"}
    return weights.input + by.get(weights.stated_by, f", as stated by {weights.stated_by}")


def weights_words(weights: str) -> str:
    """Name initial weights; those of a file or folder without its name, which may be a person's."""
    return LOCAL if is_path(weights) else weights


def taken_words(run: Run) -> str:
    """Say which tensors a run's encoder took from a file or a hub, as a sentence; empty for other weights."""
    weights = initial_weights.read(run)
    if weights is None or weights.taken is None:
        return ""
    return f"Initial weights ({weights_words(weights.weights)}): {weights.taken}."


def pretraining_words(run: Run, results: EvaluationResults | None = None) -> str:
    """Say whether the weights that a run's encoder started from saw MIMIC-CXR, as a sentence.

    Args:
        run: The run.
        results: Its results, with the counted test cases; None to read them, if there are any.

    Returns:
        The sentence; empty where the encoder started from random weights, and no list of images is given.
    """
    weights = initial_weights.read(run)
    if weights is None:
        return ""
    seen = _seen(run) if results is None else results.pretraining
    return sentence(weights, seen)


def sentences(runs: Iterable[tuple[str, Run]]) -> list[str]:
    """The sentences of several runs, each once, with the names of the runs that it is about."""
    names: dict[str, list[str]] = {}
    for name, run in runs:
        if words := pretraining_words(run):
            about = names.setdefault(words, [])
            about += [] if name in about else [name]
    several = len(names) > 1
    return [f"{listed(about)}: {words}" if several else words for words, about in names.items()]


def sentence(weights: InitialWeights, seen: SeenCases | None) -> str:
    """Say what weights saw, and how many test cases are among it; empty for random weights without a list."""
    if weights.weights == "none" and seen is None:
        return ""
    entry = pretraining_of(weights.weights, weights.encoder, weights.tag)
    words = _of_weights(weights, entry)
    if seen is not None:
        return f"{words}: {_counted(seen)}."
    if entry is not None and entry.images:
        return f"{words}; how many of the test cases are among them is not known ({OPTION})."
    return f"{words}."


def _of_weights(weights: InitialWeights, known: Pretraining | None) -> str:
    name = weights_words(weights.weights)
    if name == "none":
        return "The encoder started from random weights"
    if known is None:
        return (
            f"It is not known whether the encoder's weights ({name}) were pretrained on images of MIMIC-CXR"
        )
    if known.images is None:
        return (
            f"It is not confirmed whether the encoder's weights ({known.name}, {name}) were pretrained on "
            f"images of MIMIC-CXR ({known.source})"
        )
    if not known.images:
        return f"The encoder's weights ({name}) were not pretrained on MIMIC-CXR ({known.source})"
    labels = {True: ", with their labels", False: ", without their labels", None: ""}[known.labels]
    return (
        f"The encoder's weights ({known.name}, {name}) were pretrained on images of MIMIC-CXR{labels} "
        f"({known.source})"
    )


def _counted(seen: SeenCases) -> str:
    words = f"{seen.images} of {count(seen.cases, 'test case')} are in the list of images that they saw"
    further = [
        f"{number} are of {what} with a listed image"
        for what, number in (("studies", seen.studies), ("patients", seen.patients))
        if number is not None
    ]
    return f"{words}; {listed(further)}" if further else words


def _seen(run: Run) -> SeenCases | None:
    try:
        return read_results(run.path).pretraining
    except UserError:
        return None
