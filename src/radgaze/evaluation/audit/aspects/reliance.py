"""Reliance: does a map tell how far the network relies on a confounder, as measured on twins?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from radgaze.evaluation.audit.aspects.aspect import (
    AcrossCases,
    Aspect,
    Measurement,
    Panel,
    keyed,
    register,
)
from radgaze.evaluation.audit.aspects.audited_maps import AuditedMaps, Figures, Floats
from radgaze.evaluation.audit.confounders import TOLERANCE, WHOLE, Confounder, TwinInputs, View
from radgaze.evaluation.audit.results import AuditEstimate, MethodResults
from radgaze.evaluation.metrics import reliance
from radgaze.evaluation.metrics.metric import Metric
from radgaze.evaluation.statistics.auc_intervals import auc_interval, placed
from radgaze.evaluation.statistics.case_means import LEAST, UNKNOWN
from radgaze.evaluation.statistics.rank_correlation import rank_correlation_of
from radgaze.evaluation.statistics.resampling import Estimate, PatientBootstrap, estimates

WARNING = (
    "A map can avoid a confounder while the network uses it, and guided back-propagation of a run that was "
    "trained with it is expected to: the mean share is no measure of reliance. How far the network relies on "
    "the confounder was measured on twins, and is the same for every map."
)
PLACE = (
    f"A confounder lies where two images differ by more than {TOLERANCE} of 255 grey levels, at the size of "
    "the model's input. Maps are of the case's own image; where it does not show the confounder, the share "
    "is the mean over its twins that do."
)
INTERVALS = (
    "The interval of the rank correlation is the percentiles of the bootstrap of patients, also for few "
    f"patients (none for fewer than {LEAST}); that of the AUC is DeLong's, over patients."
)
DECIMALS = 6
"""Decimals to which shares and effects are ordered: what is beyond is the rounding of single precision, which
would order the cases of a network that does not use the confounder at all."""
LEAST_CASES = 3
"""Number of cases below which a rank correlation is always −1, 1 or undefined."""


@dataclass(frozen=True)
class ConfounderPlaces:
    """Confounders that have no place in the image.

    Attributes:
        without_place: Mean share of the pixels that a confounder changes, by its name.
    """

    without_place: dict[str, float]


@register
class Reliance(Aspect):
    name = "reliance"
    question = "Does it tell how far the network relies on a confounder?"
    metrics: ClassVar[Mapping[str, Metric]] = {
        "rank_correlation": Metric(
            title="rank correlation with the effect",
            words="Spearman's correlation, over cases, of the map's share on the confounder with the total "
            "variation between the predictions with and without it.",
            chance=0.0,
            bounds=(-1.0, 1.0),
        ),
        "auc_of_flips": Metric(
            title="AUC of flips",
            words="Probability that the map's share is higher on a case whose predicted class the confounder "
            "changes, in any pair of twins, than on another case.",
            chance=0.5,
            bounds=(0.0, 1.0),
        ),
        "share": Metric(
            title="share on the confounder",
            words="Sum of the map over the pixels in which the image and its twin without the confounder "
            "differ, divided by the sum of the whole map; mean over cases.",
            bounds=(0.0, 1.0),
            directed=False,
        ),
        "area": Metric(
            title="its share of the area",
            words="Number of these pixels divided by that of all pixels: the share of a map that is the same "
            "everywhere.",
            bounds=(0.0, 1.0),
            directed=False,
        ),
        **reliance.METRICS,
    }
    headline = "rank_correlation"
    panel = Panel("Reliance: rank correlation")
    of_baselines = True
    per_case = False
    done = "tells how far the network relies on the confounder"
    column = "reliance"
    settings: ClassVar[Mapping[str, float]] = {"grey_tolerance": TOLERANCE, "whole_image": WHOLE}
    details = ConfounderPlaces
    digits = 3
    same_for_all = tuple(reliance.METRICS)

    def unsupported(self, audited: AuditedMaps) -> str | None:
        confounders = audited.cases.confounders
        if not confounders:
            where = "" if audited.options.split == "test" else f" of the split {audited.options.split}"
            return f"no audited case{where} has a twin, which differs from it in a confounder alone"
        if any(confounder.has_place for confounder in confounders):
            return None
        return " ".join(_left_out(each.name, each.area) for each in confounders)

    def measure(self, audited: AuditedMaps) -> Measurement:
        confounders = audited.cases.confounders
        return Measurement(
            [
                (list(each.effects["case_id"]), _figures(audited, each))
                for each in confounders
                if each.has_place
            ],
            detail={each.name: each.area for each in confounders if not each.has_place},
        )

    def across_cases(
        self, values: Mapping[str, Floats], patients: NDArray[np.int64], resampling: PatientBootstrap
    ) -> Mapping[str, AcrossCases]:
        effect, flips = values["total_variation"].round(DECIMALS), values["flips"]
        share = values.get("share", np.full(len(patients), np.nan)).round(DECIMALS)
        cases = np.isfinite(share) & np.isfinite(effect)
        return {
            "rank_correlation": _rank_correlation(share, effect, patients, resampling, cases),
            "auc_of_flips": _auc_of_flips(share[cases], flips[cases] > 0, patients[cases], cases),
        }

    def summarise(self, figures: Mapping[str, AuditEstimate], detail: object) -> ConfounderPlaces | None:
        return ConfounderPlaces(detail) if isinstance(detail, dict) and detail else None

    def read_detail(self, content: object) -> dict[str, float]:
        if not isinstance(content, dict):
            raise TypeError("the shares of confounders without a place are a mapping")
        return {str(name): float(area) for name, area in content.items()}

    def notes(self, methods: Mapping[str, MethodResults]) -> list[str]:
        without = {
            name: area
            for method in methods.values()
            if isinstance(places := method.details.get(self.name), ConfounderPlaces)
            for name, area in places.without_place.items()
        }
        return [WARNING, PLACE, INTERVALS, *(_left_out(name, area) for name, area in without.items())]


def _left_out(name: str, area: float) -> str:
    return (
        f"{name.capitalize()} changes {area:.0%} of the pixels: it has no place that a map could show, and "
        "is left out."
    )


def _figures(audited: AuditedMaps, confounder: Confounder) -> Figures:
    """Figures of the cases in `Confounder.effects`; the share of a case is the mean over its views."""
    effects, shares, areas = confounder.effects, dict[str, list[float]](), dict[str, list[float]]()
    for view, P in _maps(audited, confounder.views):
        total, is_seen = float(P.sum()), bool(view.place.any())
        share = float(P[view.place].sum()) / total if total > 0 and is_seen else np.nan
        shares.setdefault(view.case_id, []).append(share)
        areas.setdefault(view.case_id, []).append(float(view.place.mean()) if is_seen else np.nan)
    figures = {name: effects[name].to_numpy().astype(np.float64) for name in reliance.METRICS}
    figures["share"], figures["area"] = (
        np.array([np.mean(of_case[case_id]) for case_id in effects["case_id"]]) for of_case in (shares, areas)
    )
    return {keyed(metric, confounder.name): figure for metric, figure in figures.items()}


def _maps(audited: AuditedMaps, views: Sequence[View]) -> Iterator[tuple[View, Floats]]:
    """Yield each view with the map of its predicted class, of shape (S, S)."""
    twins = [(view, view.twin) for view in views if view.twin is not None and audited.method is not None]
    explained = {id(view) for view, _ in twins}
    for view in views:
        if id(view) not in explained:  # a baseline map is the same for a case and its twins
            yield view, _array(audited.maps[view.case_id])
    size = audited.options.batch_size
    for start in range(0, len(twins), size):
        batch = twins[start : start + size]
        maps = _explained(audited, [twin for _, twin in batch])
        for (view, _), one in zip(batch, maps, strict=True):
            yield view, _array(one)


def _explained(audited: AuditedMaps, twins: Sequence[TwinInputs]) -> Tensor:
    also = tuple(torch.stack(values) for values in zip(*(twin.also for twin in twins), strict=True))
    images, predicted = (
        torch.stack([getattr(twin, name) for twin in twins]) for name in ("image", "predicted")
    )
    return audited.required.explain(images, predicted, also=also)


def _array(one: Tensor) -> Floats:
    values: Floats = one[0].detach().cpu().double().numpy()
    return values


def _rank_correlation(
    share: Floats,
    effect: Floats,
    patients: NDArray[np.int64],
    resampling: PatientBootstrap,
    cases: NDArray[np.bool_],
) -> AcrossCases:
    if why := _not_ranked(share[cases], effect[cases]):
        return AcrossCases(None, cases, why)
    correlation = rank_correlation_of(share[cases], effect[cases])
    statistic = {"": lambda weights: correlation(weights[:, cases])}
    estimate = estimates(statistic, len(cases), resampling)[""]
    if len(np.unique(patients[cases])) < LEAST:
        estimate = Estimate(estimate.value, estimate.resampled, UNKNOWN)
    return AcrossCases(estimate, cases)


def _not_ranked(share: Floats, effect: Floats) -> str:
    """Reason why shares and effects have no rank correlation; empty where they have one."""
    if not share.size:
        return "no map with a confounder in view"
    if share.size < LEAST_CASES:
        return f"fewer than {LEAST_CASES} cases"
    if np.ptp(share) == 0:
        return "the same share in every case"
    return "the same effect in every case" if np.ptp(effect) == 0 else ""


def _auc_of_flips(
    share: Floats, flips: NDArray[np.bool_], patients: NDArray[np.int64], cases: NDArray[np.bool_]
) -> AcrossCases:
    if not share.size:
        return AcrossCases(None, cases, "no map with a confounder in view")
    if flips.all() or not flips.any():
        return AcrossCases(None, cases, "every prediction flips" if flips.any() else "no prediction flips")
    of_flips = placed(flips, share, patients)
    return AcrossCases(Estimate(of_flips.value, np.empty(0), auc_interval([of_flips])), cases)
