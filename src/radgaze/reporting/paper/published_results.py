"""Published figures on egd-cxr with the protocol that each was measured by, so that they are read with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from radgaze.files import write_text
from radgaze.markdown import escaped, table_of
from radgaze.reporting.description import store_facts
from radgaze.reporting.paper.results import Results

TITLE = "Published figures on egd-cxr"
NOT_STATED = "not stated"


@dataclass(frozen=True)
class PublishedResult:
    """A published figure.

    Attributes:
        method: Method and publication.
        figure: The figure, with an interval where one is known.
        cases: Test cases and their split.
        selected: What the epoch was selected by.
        gaze: Whether gaze is needed when the network is used.
        remark: What else limits the comparison; empty for nothing.
    """

    method: str
    figure: str
    cases: str
    selected: str
    gaze: str
    remark: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells of its row, in the order of `HEADINGS`."""
        return self.method, self.figure, self.cases, self.selected, self.gaze, self.remark


HEADINGS = ("Method", "Published figure", "Test cases", "Epoch selected by", "Gaze when used", "Remark")

_LIST_OF_107 = "107 of a list of 976/107, no validation set"
_OWN_SPLIT = "55–60, own split 80/10/10 of 1,017 images"
_SEED_42 = "108 (30, 42 and 36 of the classes), split of seed 42"

RESULTS: Sequence[PublishedResult] = (
    PublishedResult(
        "GazeGNN, WACV 2024",
        "AUC .923; accuracy 83.18% (89 of 107; Wilson [75.0, 89.1]%)",
        _LIST_OF_107,
        "accuracy on the test cases, of 100 epochs",
        "needed",
        "its public code splits paths at “\\”, so that every gaze map is empty on Linux; users report 74–77%",
    ),
    PublishedResult(
        "GD-ViG, MICCAI 2024",
        "accuracy 85.04% (91 of 107; Wilson [77.1, 90.6]%)",
        f"{_LIST_OF_107} (44 Normal, 32 CHF, 31 pneumonia)",
        NOT_STATED,
        "not needed",
        "the figure is in the name of its checkpoint; two patients more than GazeGNN",
    ),
    PublishedResult(
        "Watanabe et al. 2022, set 3 guided",
        "AUC .913 [.860, .966]",
        _OWN_SPLIT,
        NOT_STATED,
        "not needed",
        "interval of 30 resamples; the weights of the loss are not stated",
    ),
    PublishedResult("Watanabe et al. 2022, baseline", "AUC .872", _OWN_SPLIT, NOT_STATED, "not needed"),
    PublishedResult(
        "Karargyris et al. 2021 (the data's authors), temporal",
        "AUC .807",
        _SEED_42,
        "AUC on the test cases",
        "needed",
    ),
    PublishedResult(
        "Karargyris et al. 2021, image only", "AUC .753", _SEED_42, "AUC on the test cases", "not needed"
    ),
)

NOTES = (
    "The splits differ, so that the figures can be compared neither with each other nor with those above as "
    "differences of methods. An epoch that was selected by the test cases makes a figure too high.",
    "The list of 976/107 can be given to radgaze prepare egd as `split_file`, for the same test cases.",
)


def published_results(results: Results) -> Sequence[PublishedResult]:
    """Return the figures for a grid on egd-cxr; none for one on other data."""
    runs = (run for name in results.experiments for run in results.runs[name].values())
    first = next(runs, None)
    return RESULTS if first is not None and store_facts(first).source == "egd" else ()


def write_published(shown: Sequence[PublishedResult], folder: Path) -> None:
    """Write published.md; without figures, remove it."""
    path = folder / "published.md"
    if not shown:
        path.unlink(missing_ok=True)
        return
    rows = [[escaped(cell) for cell in each.cells] for each in shown]
    parts = [f"**{TITLE}**", table_of([escaped(name) for name in HEADINGS], rows), *map(escaped, NOTES)]
    write_text("\n\n".join(parts) + "\n", path)
