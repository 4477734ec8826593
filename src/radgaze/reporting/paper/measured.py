"""What the runs of a grid amount to: AUCs, how maps do, paired differences of experiments over seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from radgaze.errors import UserError
from radgaze.evaluation import summary
from radgaze.evaluation.metrics import agreement, localisation
from radgaze.evaluation.paired import differing
from radgaze.evaluation.results import read_metrics
from radgaze.evaluation.statistics.across_seeds import across
from radgaze.evaluation.statistics.evidence import bounds_after, too_few_seeds
from radgaze.evaluation.statistics.holm import holm
from radgaze.evaluation.statistics.policy import bootstraps
from radgaze.evaluation.statistics.power import PLANNED, of_difference
from radgaze.evaluation.statistics.resampling import Estimate, Resampling, SeedResamples, number
from radgaze.evaluation.summary import MACRO
from radgaze.reporting.paper.results import BASELINE, BEST_OF_PAPER, Results, title
from radgaze.reporting.paper.scored import BOXES, GAZE, Held, Scored, maps_and_metrics
from radgaze.reporting.wording import listed

if TYPE_CHECKING:
    from radgaze.runs.run import Run

Entry = Mapping[str, Any]
"""`{"value", "low", "high", "seeds"}`, None where undefined; low and high also of too few seeds. Of a
difference also `p`, after Holm's correction, `p_is_bound`, what a verdict rests on (`patients`,
`discordant` and `comparisons`), and what it could have shown, see `Power.entry`."""

_ALIKE = ("generator", "target", "heatmap_smoothing", "gaze", "size", "fit", "tolerance")
"""The settings in metrics.json on which a map's figures hang."""

OF_HEATMAP = ("nss", *localisation.METRICS)
"""The figures of the heatmap that experiments are compared in."""

_BOUNDS = {name: metric.bounds for name, metric in {**agreement.METRICS, **localisation.METRICS}.items()}
"""Between which a figure lies, also where few seeds tell little of the next one; others lie anywhere."""


@dataclass(frozen=True)
class Measured:
    """Figures of every experiment that has a finished run.

    Attributes:
        classes: The classes.
        auc: Per experiment and group ("macro" or a class) the test AUC; its interval is the paper's in the
            faithful protocol of one seed, else it counts cases and, where there are several, seeds.
        seeds: Per experiment and seed the test AUC of each group, the macro AUC on the validation cases under
            "validation", and the heatmap's NSS under "nss".
        agreement: Per experiment, map and metric the mean over cases with gaze.
        localisation: The same of boxes, over cases that have some; empty where none has.
        differences: Per reference (the baseline, and the paper's best) and experiment the paired difference
            of each group's AUC, and of the heatmap's NSS, pointing game, energy inside and IoU, under the
            metric's name, where both measured them alike.
        best: The experiment with the highest mean validation AUC; by test AUC where that chose the
            checkpoints, too.
        notes: What a reader must know.
    """

    classes: tuple[str, ...]
    auc: Mapping[str, Mapping[str, Entry]]
    seeds: Mapping[str, Mapping[int, Mapping[str, float | None]]]
    agreement: Mapping[str, Mapping[str, Mapping[str, Entry]]]
    localisation: Mapping[str, Mapping[str, Mapping[str, Entry]]]
    differences: Mapping[str, Mapping[str, Mapping[str, Entry]]]
    best: str | None
    notes: tuple[str, ...]

    @property
    def groups(self) -> tuple[str, ...]:
        """The columns of every table."""
        return (MACRO, *self.classes)


def measure(results: Results, *, resamples: int, seed: int) -> Measured:
    """Figures of every experiment, see `Measured`.

    Args:
        results: The runs.
        resamples: Of the patient bootstrap.
        seed: Of the resamples.

    Raises:
        UserError: No run is finished, or two have different classes.
    """
    classes = results.classes
    runs = [(name, s, run) for name in results.experiments for s, run in sorted(results.runs[name].items())]
    tested = [_Tested.by(run) for _, _, run in runs]
    draws = bootstraps([one.cases for one in tested], classes, resamples=resamples, seed=seed)
    of_gaze, of_boxes = (
        bootstraps([held.cases for held in of], classes, resamples=resamples, seed=seed)
        for of in ([one.gaze for one in tested], [one.boxes for one in tested])
    )
    scored: dict[str, dict[int, _Scored]] = {name: {} for name in results.experiments}
    for (name, s, run), one, own, gaze, boxes in zip(runs, tested, draws, of_gaze, of_boxes, strict=True):
        of_paper = SeedResamples(one.cases.height, seed=seed) if results.of_paper else None
        auc = _aucs(one.cases, classes, own)
        scored[name][s] = _Scored(
            cases=one.cases,
            auc=auc,
            shown=_aucs(one.cases, classes, of_paper) if of_paper else auc,
            validation=_aucs(one.validation, classes, _Never())[MACRO].value,
            gaze=one.gaze.scored(gaze),
            boxes=one.boxes.scored(boxes),
            alike=_alike(run),
        )
    groups = (MACRO, *classes)
    shown = {
        name: {g: over_seeds([one.shown[g] for one in of.values()], (0, 1)) for g in groups}
        for name, of in scored.items()
    }
    differences = {
        reference: _differences(scored, reference, groups)
        for reference in (BASELINE, BEST_OF_PAPER)
        if reference in scored
    }
    chosen_by = {
        name: float(
            np.mean([one.auc[MACRO].value if results.stamp else one.validation for one in of.values()])
        )
        for name, of in scored.items()
    }
    located = {name: _of_maps([one.boxes for one in of.values()]) for name, of in scored.items()}
    known = {name: value for name, value in chosen_by.items() if np.isfinite(value)}
    return Measured(
        classes=classes,
        auc=shown,
        seeds={name: {s: _by_seed(one, groups) for s, one in of.items()} for name, of in scored.items()},
        agreement={name: _of_maps([one.gaze for one in of.values()]) for name, of in scored.items()},
        localisation=located if any(located.values()) else {},
        differences=differences,
        best=max(known, key=lambda name: known[name]) if known else None,
        notes=tuple(_notes(scored, differences)),
    )


@dataclass(frozen=True)
class _Tested:
    """What a run was tested on.

    Attributes:
        cases: The test predictions.
        validation: The predictions of the validation cases.
        gaze, boxes: How the maps of the test cases did that have some.
    """

    cases: pl.DataFrame
    validation: pl.DataFrame
    gaze: Held
    boxes: Held

    @classmethod
    def by(cls, run: Run) -> _Tested:
        predictions = run.predictions()
        test, validate = (predictions.filter(pl.col("split") == split) for split in ("test", "validate"))
        gaze, boxes = (Held.against(reference, run.path, test) for reference in (GAZE, BOXES))
        return cls(test, validate, gaze, boxes)


@dataclass(frozen=True)
class _Scored:
    """One run on its test cases; all runs draw their patients together.

    Attributes:
        cases: The test predictions.
        auc: Per group the AUC, on the resamples of the bootstrap.
        shown: The same, on the paper's resamples where these are asked for.
        validation: Macro AUC on the validation cases.
        gaze, boxes: How its maps did.
        alike: The settings that hangs on.
    """

    cases: pl.DataFrame
    auc: Mapping[str, Estimate]
    shown: Mapping[str, Estimate]
    validation: float
    gaze: Scored
    boxes: Scored
    alike: tuple[Any, ...]

    def less(self, other: _Scored, metric: str) -> Estimate | None:
        """The difference of the two heatmaps in a metric; None where it was not measured alike."""
        if self.alike != other.alike:
            return None
        own, others = (one.boxes if metric in BOXES.metrics else one.gaze for one in (self, other))
        return own.less(others, metric)

    def differing(self, other: _Scored, figure: str, classes: Sequence[str]) -> pl.DataFrame:
        """The cases on which the difference of a figure is known; where it is not 0 one `differs`."""
        if figure not in OF_HEATMAP:
            apart = differing(self.cases, other.cases, "auc", figure, classes)
            return self.cases.select("patient", differs=pl.Series(apart, dtype=pl.Boolean))
        own, others = (one.boxes if figure in BOXES.metrics else one.gaze for one in (self, other))
        values = own.gained(others, figure)
        if values is None:
            return pl.DataFrame(schema={"patient": self.cases.schema["patient"], "differs": pl.Boolean})
        cases = own.cases.select("patient", differs=pl.Series(values != 0, dtype=pl.Boolean))
        return cases.filter(pl.Series(np.isfinite(values), dtype=pl.Boolean))


@dataclass(frozen=True)
class _Never:
    """No resample at all: the figure alone is wanted."""

    def chunks(self) -> Iterator[NDArray[np.float64]]:
        yield from ()


def _aucs(cases: pl.DataFrame, classes: Sequence[str], draws: Resampling) -> dict[str, Estimate]:
    """Per group ("macro" or a class) the AUC."""
    found = summary.score(cases, classes, draws, ("auc",))
    return {group: estimate for (_, group), estimate in found.items()}


def _alike(run: Run) -> tuple[Any, ...]:
    try:
        settings = read_metrics(run.path).get("settings") or {}
    except UserError:
        return ()
    return tuple(settings.get(key) for key in _ALIKE)


def _by_seed(one: _Scored, groups: Sequence[str]) -> dict[str, float | None]:
    nss = one.gaze.means.get(("heatmap", "nss"))
    values = {group: number(one.auc[group].value) for group in groups}
    return values | {"validation": number(one.validation), "nss": number(nss.value) if nss else None}


def _of_maps(of: Sequence[Scored]) -> dict[str, dict[str, Entry]]:
    """Per map and metric the mean over cases, and over those seeds that have the map."""
    found: dict[str, dict[str, Entry]] = {}
    for kind, metric in maps_and_metrics(of):
        known = [one.means[kind, metric] for one in of if (kind, metric) in one.means]
        within = _BOUNDS.get(metric, (-np.inf, np.inf))
        found.setdefault(kind, {})[metric] = over_seeds(known, within)
    return found


def over_seeds(of: Sequence[Estimate], within: tuple[float, float] = (-np.inf, np.inf)) -> dict[str, Any]:
    """The mean over seeds as an entry, which says of how many it is; of too few without an interval."""
    seeds = sum(bool(np.isfinite(estimate.value)) for estimate in of)
    entry = across(of, within).entry(within) | {"seeds": seeds}
    return entry | ({"low": None, "high": None} if too_few_seeds(seeds) else {})


def _differences(
    scored: Mapping[str, Mapping[int, _Scored]], reference: str, groups: Sequence[str]
) -> dict[str, dict[str, Entry]]:
    """Each experiment minus the reference, in the AUC of each group and in the heatmap's figures.

    Paired: over the seeds in which both have the same test cases. Holm's correction goes over the
    experiments, on one figure at a time.
    """
    estimated: dict[str, dict[str, list[Estimate]]] = {}
    rests_on: dict[str, dict[str, dict[str, int]]] = {}
    classes = [group for group in groups if group != MACRO]
    tested: dict[str, pl.DataFrame] = {}
    for name, of in scored.items():
        pairs = [(one, scored[reference][s]) for s, one in of.items() if s in scored[reference]]
        pairs = [(a, b) for a, b in pairs if a.cases["case_id"].equals(b.cases["case_id"])]
        if name == reference or not pairs:
            continue
        estimated[name] = {g: [a.auc[g] - b.auc[g] for a, b in pairs] for g in groups}
        for metric in OF_HEATMAP:
            changes = [change for a, b in pairs if (change := a.less(b, metric)) is not None]
            if changes:
                estimated[name][metric] = changes
        tested[name] = min((a.cases for a, _ in pairs), key=lambda cases: cases["patient"].n_unique())
        rests_on[name] = {
            figure: _patients([a.differing(b, figure, classes) for a, b in pairs])
            for figure in estimated[name]
        }
    found: dict[str, dict[str, Entry]] = {name: {} for name in estimated}
    for figure in (*groups, *OF_HEATMAP):
        of_figure = {name: figures[figure] for name, figures in estimated.items() if figure in figures}
        within = (-1.0, 1.0) if figure in groups else (-np.inf, np.inf)
        entries = {name: over_seeds(changes, within) for name, changes in of_figure.items()}
        means = [across(changes, within) for changes in of_figure.values()]
        # No p-value without the interval that it belongs to.
        few = [too_few_seeds(entry["seeds"]) for entry in entries.values()]
        before = [None if lacks else number(mean.p) for mean, lacks in zip(means, few, strict=True)]
        at_floor = bounds_after(holm, before, [mean.p_is_bound for mean in means])
        comparisons = sum(p is not None for p in before)
        for (name, entry), p, bound in zip(entries.items(), holm(before), at_floor, strict=True):
            could = of_difference(
                of_figure[name],
                patients=tested[name]["patient"].n_unique(),
                cases=tested[name].height,
                comparisons=comparisons,
                largest=1.0 if figure in groups else float(np.ptp(_BOUNDS[figure])),
            )
            found[name][figure] = {
                **entry,
                **rests_on[name][figure],
                **{"p": p, "p_is_bound": bound, "comparisons": comparisons},
                **could.entry(PLANNED if figure == MACRO else None),
            }
    return found


def _patients(of_seeds: Sequence[pl.DataFrame]) -> dict[str, int]:
    """How many patients a difference over seeds rests on, and how many of them differ in some seed."""
    cases = pl.concat(of_seeds)
    differ = cases.filter(pl.col("differs"))
    return {"patients": cases["patient"].n_unique(), "discordant": differ["patient"].n_unique()}


def _notes(
    scored: Mapping[str, Mapping[int, _Scored]], differences: Mapping[str, Mapping[str, Mapping[str, Entry]]]
) -> list[str]:
    notes = []
    if BASELINE in differences:
        others = [name for name in scored if name != BASELINE]
        apart = [title(name) for name in others if name not in differences[BASELINE]]
        if apart:
            notes.append(
                f"{listed(apart)} shared no test cases with the baseline in any seed: not compared with it."
            )
        compared = {n: {*OF_HEATMAP} & {*found} for n, found in differences[BASELINE].items()}
        unlike = [title(name) for name in others if name in compared and not compared[name]]
        if unlike and any(one.gaze.means or one.boxes.means for of in scored.values() for one in of.values()):
            notes.append(
                f"Heatmaps of {listed(unlike)} are not compared with the baseline's: one of the two was not "
                "measured, or with other settings or on other cases."
            )
    if any(
        one.cases["patient"].n_unique() < one.cases.height for of in scored.values() for one in of.values()
    ):
        notes.append("Some patients have more than one case; the bootstrap draws patients.")
    return notes
