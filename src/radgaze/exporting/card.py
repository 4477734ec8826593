"""The model card of a run: what it is for, what it was made of, and every figure that is stored in the run.

A figure that the run does not have is said to be missing. The card names no patient, case, path or person.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from radgaze.errors import UserError
from radgaze.evaluation.interval_estimate import IntervalEstimate
from radgaze.evaluation.results import MACRO, METRICS, EvaluationResults, read_results
from radgaze.exporting import card_figures, card_words
from radgaze.exporting.licence import Licence, licence_of
from radgaze.exporting.options import CardOptions
from radgaze.files import write_text
from radgaze.outputs import check_folder
from radgaze.reporting.description import StoreFacts, experiment_of, store_facts
from radgaze.reporting.wording import finite
from radgaze.runs.requirements import uses_gaze
from radgaze.runs.run import Run
from radgaze.version import __version__

FILE = "card.md"


@dataclass(frozen=True)
class Subject:
    """Subject of a card.

    Attributes:
        run: The run.
        results: Its results; None where it is not evaluated.
        store: Facts about its store; empty where that is missing or has changed.
        licence: Licence of its weights.
    """

    run: Run
    results: EvaluationResults | None
    store: StoreFacts
    licence: Licence


def card(run: Run, options: CardOptions = CardOptions()) -> str:  # noqa: B008 - frozen
    """Write the card of a run as Markdown, with the header that the Hugging Face hub reads.

    Raises:
        UserError: A file of the run is damaged.
    """
    results = read_results(run.path) if (run.path / METRICS).is_file() else None
    try:
        store = store_facts(run)
    except UserError:  # it has changed: what it holds now says nothing about the run
        store = StoreFacts()
    about = Subject(run, results, store, licence_of(run, store.source, options.licence))
    parts = [f"# {experiment_of(run)}", card_words.summary(run, results, store)]
    for title, section in SECTIONS.items():
        parts += [f"## {title}", *section(about)]
    return f"---\n{_header(about)}---\n\n" + "\n\n".join(parts) + "\n"


def write_card(run: Run, out: Path | None = None, options: CardOptions = CardOptions()) -> Path:  # noqa: B008
    """Write the card of a run, as RUN/card.md unless another file is named.

    Raises:
        UserError: A file of the run is damaged, or `out` cannot be written or is a file and no card.
    """
    path = run.path / FILE if out is None else out
    if path.is_dir():
        raise UserError(f"`out={path}` is a folder; name a file in it, such as {path / FILE}")
    if out is not None:
        check_folder(path.parent, may_be=("run",))
        if path.is_file() and not _is_card(path):
            raise UserError(
                f"`out={path}` is a file and no card, which this would replace; name another file"
            )
    text = card(run, options)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(text, path)
    return path


SECTIONS: Mapping[str, Callable[[Subject], list[str]]] = {
    "Intended use": lambda about: card_words.intended(about.run, about.results),
    "Out of scope": lambda about: card_words.out_of_scope(about.run),
    "Data": lambda about: card_words.data(about.run, about.store),
    "Training": lambda about: card_words.training(about.run, about.results, about.store),
    "What the encoder saw before": lambda about: card_words.pretraining(about.run, about.results),
    "Results": lambda about: card_figures.discrimination(about.run, about.results),
    "Controls": lambda about: card_figures.controls(about.run, about.results),
    "Explanation maps": lambda about: card_figures.maps(about.results),
    "Reliance on confounders": lambda about: card_figures.reliance(about.results),
    "Calibration": lambda about: card_figures.calibration(about.run, about.results),
    "When to refer a case": lambda about: card_figures.referral(about.run),
    "Limits": lambda about: card_words.limits(about.run, about.results, about.store),
    "Licence": lambda about: list(about.licence.words),
    "Use": lambda about: card_words.use(about.run),
}
"""The sections by title, in their order."""


def _is_card(path: Path) -> bool:
    """Whether a file begins with the header of a card that radgaze wrote."""
    with path.open("rb") as file:
        begin = file.read(4096)
    return begin.startswith(b"---\nlicense:") and b"\nlibrary_name: radgaze\n" in begin


def _header(about: Subject) -> str:
    run = about.run
    tags = ["radgaze", "radiology", "chest-x-ray", "medical-imaging", "research-only"]
    tags += ["eye-tracking"] if uses_gaze(run.config) else []
    header: dict[str, object] = {
        **about.licence.header,
        "library_name": "radgaze",
        "pipeline_tag": "image-classification",
        "language": "en",
        "tags": tags,
    }
    figures = [] if about.results is None else _figures(about.results)
    if figures:
        source = about.store.source or "unknown"
        header["metrics"] = sorted({str(figure["type"]) for figure in figures})
        header["model-index"] = [
            {
                "name": experiment_of(run),
                "results": [
                    {
                        "task": {"type": "image-classification"},
                        "dataset": {"type": source, "name": f"test cases of “{source}”", "split": "test"},
                        "metrics": figures,
                        "source": {"name": f"radgaze {__version__}", "url": "README.md"},
                    }
                ],
            }
        ]
    return yaml.safe_dump(header, sort_keys=False, allow_unicode=True, width=100)


def _figures(results: EvaluationResults) -> list[dict[str, object]]:
    """The figures of the header; those that are undefined are left out."""
    test = results.test
    named = {
        ("roc_auc", "macro AUC"): test.auc.get(MACRO),
        ("average_precision", "macro average precision"): test.average_precision.get(MACRO),
        ("accuracy", "accuracy"): test.accuracy,
        ("brier_score", "macro Brier score"): test.brier.get(MACRO),
        ("expected_calibration_error", "macro calibration error"): test.calibration_error.get(MACRO),
    }
    return [
        {"type": kind, "name": _named(name, entry), "value": round(float(entry.value), 4)}
        for (kind, name), entry in named.items()
        if entry is not None and entry.value is not None and finite(entry.value) is not None
    ]


def _named(name: str, entry: IntervalEstimate) -> str:
    if entry.low is None or entry.high is None:
        return name
    return f"{name}, 95% interval {entry.low:.3f} to {entry.high:.3f}"
