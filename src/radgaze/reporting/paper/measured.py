"""What the runs of a grid amount to: AUCs, agreement, paired differences of experiments over their seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from radgaze.errors import UserError
from radgaze.evaluation import summary
from radgaze.evaluation.agreement import METRICS
from radgaze.evaluation.resampling import Estimate, Resampling, SeedResamples, estimates, mean_of, number
from radgaze.evaluation.scoring import SCHEMA
from radgaze.evaluation.seeds import across, bootstraps, holm
from radgaze.evaluation.summary import MACRO, MAPS
from radgaze.reporting.paper.results import BASELINE, BEST_OF_PAPER, Results, title
from radgaze.reporting.report import read_metrics
from radgaze.reporting.wording import listed

if TYPE_CHECKING:
    from radgaze.training.run import Run

Entry = Mapping[str, Any]
"""`{"value", "low", "high"}`, None where undefined; of a difference also `p`, after Holm's correction."""

_ALIKE = ("generator", "target", "heatmap_smoothing", "gaze", "size", "fit")
"""The settings in metrics.json on which agreement hangs."""


_BOUNDS = {
    "cc": (-1.0, 1.0),
    "kl": (0.0, np.inf),
    **dict.fromkeys(("sim", "auc_judd", "shuffled_auc"), (0.0, 1.0)),
}
"""Between which an agreement lies, also where few seeds tell little of the next one; others lie anywhere."""


@dataclass(frozen=True)
class Measured:
    """Figures of every experiment that has a finished run.

    Attributes:
        classes: The classes.
        auc: Per experiment and group ("macro" or a class) the test AUC; its interval is the paper's in the
            faithful protocol of one seed, else it counts cases and, where there are several, seeds.
        seeds: Per experiment and seed the test AUC of each group, the macro AUC on the validation cases under
            "validation", and the heatmap's NSS under "nss".
        agreement: Per experiment, map and metric the mean over cases.
        differences: Per reference (the baseline, and the paper's best) and experiment the paired difference
            of each group's AUC, and of the heatmap's NSS under "nss" where both measured it alike.
        best: The experiment with the highest mean validation AUC; by test AUC where that chose the
            checkpoints, too.
        notes: What a reader must know.
    """

    classes: tuple[str, ...]
    auc: Mapping[str, Mapping[str, Entry]]
    seeds: Mapping[str, Mapping[int, Mapping[str, float | None]]]
    agreement: Mapping[str, Mapping[str, Mapping[str, Entry]]]
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
    of_gaze = bootstraps([one.gaze for one in tested], classes, resamples=resamples, seed=seed)
    scored: dict[str, dict[int, _Scored]] = {name: {} for name in results.experiments}
    for (name, s, run), one, own, own_of_gaze in zip(runs, tested, draws, of_gaze, strict=True):
        of_paper = SeedResamples(one.cases.height, seed=seed) if results.of_paper else None
        scored[name][s] = _scored(run, one, classes, own, own_of_gaze, of_paper)
    groups = (MACRO, *classes)
    auc = {
        name: {g: across([one.shown[g] for one in of.values()], (0, 1)).entry() for g in groups}
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
    known = {name: value for name, value in chosen_by.items() if np.isfinite(value)}
    return Measured(
        classes=classes,
        auc=auc,
        seeds={name: {s: _by_seed(one, groups) for s, one in of.items()} for name, of in scored.items()},
        agreement={name: _agreement(list(of.values())) for name, of in scored.items()},
        differences=differences,
        best=max(known, key=lambda name: known[name]) if known else None,
        notes=tuple(_notes(scored, differences)),
    )


@dataclass(frozen=True)
class _Tested:
    """What a run was tested on.

    Attributes:
        cases: The test predictions.
        gaze: Those of the cases with gaze.
        table: Agreement of these.
        validation: The predictions of the validation cases.
    """

    cases: pl.DataFrame
    gaze: pl.DataFrame
    table: pl.DataFrame
    validation: pl.DataFrame

    @classmethod
    def by(cls, run: Run) -> _Tested:
        predictions = run.predictions()
        test, validate = (predictions.filter(pl.col("split") == split) for split in ("test", "validate"))
        table = _agreement_table(run).filter(pl.col("case_id").is_in(test["case_id"].implode()))
        gaze = test.join(table, on="case_id", how="semi", maintain_order="left")
        return cls(test, gaze, table, validate)


@dataclass(frozen=True)
class _Scored:
    """One run on its test cases; all runs draw their patients together.

    Attributes:
        cases: The test predictions.
        auc: Per group the AUC, on the resamples of the bootstrap.
        shown: The same, on the paper's resamples where these are asked for.
        validation: Macro AUC on the validation cases.
        gaze: The cases with gaze.
        values: Per map and metric the agreement of each of these.
        agreement: The same as means over cases.
        alike: The settings it hangs on.
    """

    cases: pl.DataFrame
    auc: Mapping[str, Estimate]
    shown: Mapping[str, Estimate]
    validation: float
    gaze: pl.DataFrame
    values: Mapping[tuple[str, str], NDArray[np.float64]]
    agreement: Mapping[tuple[str, str], Estimate]
    alike: tuple[Any, ...]
    draws: Resampling


def _scored(
    run: Run,
    tested: _Tested,
    classes: Sequence[str],
    draws: Resampling,
    of_gaze: Resampling,
    of_paper: Resampling | None,
) -> _Scored:
    gaze, table = tested.gaze, tested.table
    auc = _aucs(tested.cases, classes, draws)
    values: dict[tuple[str, str], NDArray[np.float64]] = {}
    for kind in MAPS:
        own = table.filter(pl.col("map") == kind)
        if own.height:
            own = gaze.select("case_id").join(own, on="case_id", how="left", maintain_order="left")
            values |= {(kind, metric): own[metric].to_numpy().astype(np.float64) for metric in METRICS}
    return _Scored(
        cases=tested.cases,
        auc=auc,
        shown=_aucs(tested.cases, classes, of_paper) if of_paper else auc,
        validation=_aucs(tested.validation, classes, _Never())[MACRO].value,
        gaze=gaze,
        values=values,
        agreement=estimates({key: mean_of(v) for key, v in values.items()}, gaze.height, of_gaze),
        alike=_alike(run),
        draws=of_gaze,
    )


@dataclass(frozen=True)
class _Never:
    """No resample at all: the figure alone is wanted."""

    def chunks(self) -> Iterator[NDArray[np.float64]]:
        yield from ()


def _aucs(cases: pl.DataFrame, classes: Sequence[str], draws: Resampling) -> dict[str, Estimate]:
    """Per group ("macro" or a class) the AUC."""
    found = summary.score(cases, classes, draws, ("auc",))
    return {group: estimate for (_, group), estimate in found.items()}


def _agreement_table(run: Run) -> pl.DataFrame:
    """RUN/agreement.parquet; without rows where there is none."""
    file = run.path / "agreement.parquet"
    return pl.read_parquet(file) if file.is_file() else pl.DataFrame(schema=SCHEMA)


def _alike(run: Run) -> tuple[Any, ...]:
    try:
        settings = read_metrics(run.path).get("settings") or {}
    except UserError:
        return ()
    return tuple(settings.get(key) for key in _ALIKE)


def _by_seed(one: _Scored, groups: Sequence[str]) -> dict[str, float | None]:
    nss = one.agreement.get(("heatmap", "nss"))
    values = {group: number(one.auc[group].value) for group in groups}
    return values | {"validation": number(one.validation), "nss": number(nss.value) if nss else None}


def _agreement(of: Sequence[_Scored]) -> dict[str, dict[str, Entry]]:
    """Per map and metric the mean over cases, and over those seeds that have the map."""
    found: dict[str, dict[str, Entry]] = {}
    for kind in MAPS:
        for metric in METRICS:
            known = [one.agreement[kind, metric] for one in of if (kind, metric) in one.agreement]
            if known:
                found.setdefault(kind, {})[metric] = across(
                    known, _BOUNDS.get(metric, (-np.inf, np.inf))
                ).entry()
    return found


def _differences(
    scored: Mapping[str, Mapping[int, _Scored]], reference: str, groups: Sequence[str]
) -> dict[str, dict[str, Entry]]:
    """Each experiment minus the reference, in the AUC of each group and in the heatmap's NSS.

    Paired: over the seeds in which both have the same test cases. Holm's correction goes over the
    experiments, on one figure at a time.
    """
    estimated: dict[str, dict[str, Estimate]] = {}
    for name, of in scored.items():
        pairs = [(one, scored[reference][s]) for s, one in of.items() if s in scored[reference]]
        pairs = [(a, b) for a, b in pairs if a.cases["case_id"].equals(b.cases["case_id"])]
        if name == reference or not pairs:
            continue
        estimated[name] = {g: across([a.auc[g] - b.auc[g] for a, b in pairs], (-1, 1)) for g in groups}
        nss = [_nss(a, b) for a, b in pairs if _measured_alike(a, b)]
        if nss:
            estimated[name]["nss"] = across(nss)
    found: dict[str, dict[str, Entry]] = {name: {} for name in estimated}
    for figure in (*groups, "nss"):
        own = {name: figures[figure] for name, figures in estimated.items() if figure in figures}
        for (name, estimate), p in zip(own.items(), holm([e.p for e in own.values()]), strict=True):
            found[name][figure] = {**estimate.entry(), "p": p}
    return found


def _nss(a: _Scored, b: _Scored) -> Estimate:
    """The mean over cases of the difference, over those on which both are defined."""
    values = a.values["heatmap", "nss"] - b.values["heatmap", "nss"]
    return estimates({"nss": mean_of(values)}, a.gaze.height, a.draws)["nss"]


def _measured_alike(a: _Scored, b: _Scored) -> bool:
    both = all(("heatmap", "nss") in one.values for one in (a, b))
    return both and a.alike == b.alike and a.gaze["case_id"].equals(b.gaze["case_id"])


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
        unlike = [
            title(n) for n in others if n in differences[BASELINE] and "nss" not in differences[BASELINE][n]
        ]
        if unlike:
            notes.append(
                f"Agreement of {listed(unlike)} is not compared with the baseline's: one of the two was not "
                "measured, or with other settings or on other cases."
            )
    if any(
        one.cases["patient"].n_unique() < one.cases.height for of in scored.values() for one in of.values()
    ):
        notes.append("Some patients have more than one case; the bootstrap draws patients.")
    return notes
