"""Sanity: does a map depend on what was learnt? Both randomisations of weights (Adebayo et al. 2018)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import polars as pl
from pydantic import TypeAdapter
from torch import Tensor, nn

from radgaze.evaluation.audit.aspects.aspect import (
    Aspect,
    AspectFigure,
    Curve,
    Measurement,
    Panel,
    Shading,
    register,
)
from radgaze.evaluation.audit.aspects.audited_maps import (
    AuditedMaps,
    Figures,
    as_list,
    explained_together,
    floats,
)
from radgaze.evaluation.audit.results import AuditEstimate, AuditResults, AuditSettings, MethodResults
from radgaze.evaluation.metrics import randomisation
from radgaze.evaluation.metrics.agreement import is_constant
from radgaze.evaluation.metrics.metric import Metric
from radgaze.evaluation.metrics.randomisation import Mode
from radgaze.evaluation.statistics.evidence import LEAST_PATIENTS
from radgaze.words import count, listed

UNCHANGED = 0.5
"""Mean rank correlation, of maps of a model with all weights randomised with those of the trained model, from
which a method counts as not changing with the weights."""
_LIKENESS = (-1.0, 1.0)


@dataclass(frozen=True)
class CascadeSimilarity:
    """Similarity of maps to those of the trained model under one randomisation of weights, case by case.

    Attributes:
        mode: Kind of randomisation.
        layers: Names of the layers at which the maps were compared.
        similarity: Similarity by metric, layer and case; None where undefined.
    """

    mode: Mode
    layers: tuple[str, ...]
    similarity: dict[str, list[list[float | None]]]


@dataclass(frozen=True)
class Cascade:
    """Mean similarity of maps to those of the trained model under one randomisation of weights.

    Attributes:
        mode: Kind of randomisation.
        layers: Names of the layers at which the maps were compared.
        rank_correlation: Mean rank correlation over cases, by layer; None where undefined.
        ssim: Mean structural similarity over cases, by layer; None where undefined.
    """

    mode: Mode
    layers: tuple[str, ...]
    rank_correlation: list[float | None]
    ssim: list[float | None]


@dataclass(frozen=True)
class WeightDependence:
    """Dependence of a method's maps on the weights.

    Attributes:
        changes: Whether they change with the weights; None where every map is constant, so that its pixels
            have no order.
        cascades: Similarity layer by layer, for both randomisations.
    """

    changes: bool | None = None
    cascades: tuple[Cascade, ...] = ()


class Cascades(AspectFigure):
    """Similarity of a method's maps to those of the trained model as weights are randomised."""

    alternative = "Likeness to the trained map while weights are randomised"
    caption = (
        "Each point is a layer whose weights were randomised. Lines: with all layers before it (cascading); "
        "crosses: that layer alone. Above the dotted line at the right end, a method does not change with "
        "the weights."
    )
    x_title = "layers randomised, from the classifier (left) to the input (right)"
    y_title = "likeness"
    y_limits = (-0.45, 1.08)
    threshold = "unchanged_from"
    ticks_title = "Layers"

    def curves(self, method: MethodResults) -> list[Curve]:
        """Return the curves; a cascade starts at 1, the similarity of the trained map to itself."""
        curves = []
        for cascade in weight_dependence(method).cascades:
            for y, colour, marker, line, name in (
                (cascade.rank_correlation, 0, "o", "-", "rank correlation"),
                (cascade.ssim, 5, "s", "--", "SSIM"),
            ):
                x = range(1, len(y) + 1)
                if cascade.mode == "cascading":
                    label = f"{name}, all layers so far"
                    curves.append(Curve(label, [0, *x], [1.0, *y], colour, marker, line, 4))
                else:
                    curves.append(Curve(f"{name}, this layer alone", list(x), y, colour, "x", "none", 5))
        return curves

    def ticks(self, method: MethodResults) -> list[str]:
        layers = [list(cascade.layers) for cascade in weight_dependence(method).cascades]
        return max(layers, key=len, default=[])


@register
class Sanity(Aspect):
    name = "sanity"
    question = "Does the map depend on what was learnt?"
    metrics: ClassVar[Mapping[str, Metric]] = {
        "cascading_rank_correlation": Metric(
            title="rank correlation, all weights",
            words="Likeness to the trained map without any learnt weight.",
            higher_is_better=False,
            bounds=_LIKENESS,
        ),
        "cascading_ssim": Metric(
            title="SSIM, all weights",
            words="Structural similarity to the trained map without any learnt weight.",
            higher_is_better=False,
            bounds=_LIKENESS,
        ),
        "independent_rank_correlation": Metric(
            title="rank correlation, one layer",
            words="Likeness with the weights of one layer randomised, mean over layers.",
            higher_is_better=False,
            bounds=_LIKENESS,
        ),
        "independent_ssim": Metric(
            title="SSIM, one layer",
            words="Structural similarity with the weights of one layer randomised, mean over layers.",
            higher_is_better=False,
            bounds=_LIKENESS,
        ),
    }
    headline = "cascading_rank_correlation"
    panel = Panel(
        "Sanity: likeness without weights", shading=Shading("unchanged_from", 1.0, "does not\nchange")
    )
    probed = True
    column = "weights"
    judged = True
    thresholds: ClassVar[Mapping[str, float]] = {"unchanged_from": UNCHANGED}
    figure = Cascades()
    details = WeightDependence
    columns: ClassVar[Mapping[str, type[pl.DataType]]] = {"changes": pl.Boolean}
    flag = "does not change with the weights"
    limits = ("One draw of random weights was made.",)

    def measure(self, audited: AuditedMaps) -> Measurement:
        """Measure the similarity of maps while weights are randomised, at layers evenly from last to first.

        A map that becomes constant has the similarity 0, unless the trained map is constant as well.
        """
        method = audited.required
        every = method.group.once(self.name, lambda: _of_group(audited))
        figures, cascades = Figures(), []
        for mode, stages in every[method.name].items():
            similarity = {key: np.stack([part[key] for part in stages.values()]) for key in _SIMILARITIES}
            for key, values in similarity.items():
                figures[f"{mode}_{key}"] = values[-1] if mode == "cascading" else values.mean(0)
            by_case = {key: [as_list(row) for row in values] for key, values in similarity.items()}
            cascades.append(CascadeSimilarity(mode, tuple(stages), by_case))
        ids = [case_id for batch in audited.probed for case_id in batch.case_ids]
        return Measurement([(ids, figures)], detail=tuple(cascades))

    def summarise(self, figures: Mapping[str, AuditEstimate], detail: object) -> WeightDependence:
        changes = _changes(figures.get(self.headline))
        cascades = detail if isinstance(detail, tuple) else ()
        return WeightDependence(changes, tuple(_mean(cascade) for cascade in cascades))

    def read_detail(self, content: object) -> tuple[CascadeSimilarity, ...]:
        return TypeAdapter(tuple[CascadeSimilarity, ...]).validate_python(content)

    def flags(self, method: MethodResults) -> bool:
        return weight_dependence(method).changes is False

    def verdict(self, method: MethodResults) -> str:
        changes = weight_dependence(method).changes
        if changes is None:
            return "undecided" if _is_measured(method) else "–"
        return "changes" if changes else f"✗ {self.flag}"

    def criterion(self, results: AuditResults) -> str:
        return (
            "A method does not change with the weights where its maps of a model without any learnt weight "
            f"still have a mean rank correlation of {results.thresholds['unchanged_from']} or more with "
            "those of the trained one, by the whole interval. Where that includes the threshold, or there "
            "are too few patients for one, it is undecided."
        )

    def findings(self, methods: Mapping[str, MethodResults]) -> list[str]:
        sentences = []
        if unchanged := [name for name, method in methods.items() if self.flags(method)]:
            sentences.append(
                f"{listed(unchanged)} {'does' if len(unchanged) == 1 else 'do'} not change with the weights: "
                "what such a map shows is largely in the image or in the network's shape, and was not learnt."
            )
        unclear = [name for name, method in methods.items() if weight_dependence(method).changes is None]
        if undecided := [name for name in unclear if _is_measured(methods[name])]:
            sentences.append(
                f"Whether {listed(undecided)} {'changes' if len(undecided) == 1 else 'change'} with the "
                "weights is undecided on these cases."
            )
        if blank := [name for name in unclear if not _is_measured(methods[name])]:
            sentences.append(
                f"{listed(blank)} {'gives' if len(blank) == 1 else 'give'} maps that are the same "
                "everywhere: whether they depend on the weights cannot be said."
            )
        return sentences or ["Every method's maps change when the weights are randomised."]

    def how(self, settings: AuditSettings) -> str:
        return (
            f"Weights are randomised at {count(settings.stages, 'layer')} from the last to the first, in "
            "both ways; the class explained stays that of the trained model."
        )


def _changes(likeness: AuditEstimate | None) -> bool | None:
    """Whether maps change with the weights by the interval of their likeness; None where it does not tell."""
    if likeness is None or likeness.value is None:
        return None
    low, high = likeness.low, likeness.high
    if low is None or high is None:  # too few patients, or all cases alike
        if (likeness.patients or 0) < LEAST_PATIENTS:
            return None
        low = high = likeness.value
    if high < UNCHANGED:
        return True
    return False if low >= UNCHANGED else None


def _is_measured(method: MethodResults) -> bool:
    likeness = method.figures.get(Sanity.name, {}).get(Sanity.headline)
    return likeness is not None and likeness.value is not None


def weight_dependence(method: MethodResults) -> WeightDependence:
    """Return the results of `Sanity` for a method, empty where it was not measured."""
    details = method.details.get(Sanity.name)
    return details if isinstance(details, WeightDependence) else WeightDependence()


Stages = dict[Mode, dict[str, Figures]]
"""Similarity of maps by randomisation and layer."""


def _of_group(audited: AuditedMaps) -> dict[str, Stages]:
    """The similarities of all methods that are measured together, by their names."""
    group = audited.required.group
    stages: dict[str, Stages] = {name: {"cascading": {}, "independent": {}} for name in group.maps}
    first = randomisation.layers(audited.model)[0][0]
    for mode in ("cascading", "independent"):
        for layer, model in _at_stages(audited, mode):
            if mode == "independent" and layer == first:  # the last layer alone, as in the cascade
                for of_method in stages.values():
                    of_method[mode][layer] = of_method["cascading"][layer]
                continue
            for name, figures in _similarities(audited, model).items():
                stages[name][mode][layer] = figures
    return stages


def _at_stages(audited: AuditedMaps, mode: Mode) -> Iterator[tuple[str, nn.Module]]:
    """The randomised model at the stages at which maps are compared, each with the layer's name."""
    total = len(randomisation.layers(audited.model))
    stages = min(audited.options.stages, total)
    # From the end: a single stage is the network without any learnt weight.
    places = set(np.linspace(total - 1, 0, stages).round().astype(int).tolist())
    return randomisation.randomisations(audited.model, mode, seed=audited.options.seed, places=places)


def _similarities(audited: AuditedMaps, model: nn.Module) -> dict[str, Figures]:
    """Measure the similarity of the maps of a randomised model to those of the trained one, for all cases."""
    group = audited.required.group
    generators, parts = group.make(model), list[dict[str, Figures]]()
    for batch in audited.probed:
        trained, new = group.maps_of(batch), explained_together(generators, batch)
        parts.append({name: _similarity(trained[name], new[name]) for name in new})
    return {
        name: {key: np.concatenate([part[name][key] for part in parts]) for key in _SIMILARITIES}
        for name in generators
    }


def _similarity(trained: Tensor, new: Tensor) -> Figures:
    flat = is_constant(new[:, 0].cpu().numpy()) & ~is_constant(trained[:, 0].cpu().numpy())
    return {
        name: np.where(flat, 0.0, floats(measure(trained, new))) for name, measure in _SIMILARITIES.items()
    }


_SIMILARITIES = {"rank_correlation": randomisation.rank_correlation, "ssim": randomisation.ssim}


def _mean(cascade: CascadeSimilarity) -> Cascade:
    means = {}
    for name, similarity in cascade.similarity.items():
        values = np.array(similarity, dtype=np.float64)  # (stages, cases)
        defined = np.isfinite(values)
        total = np.where(defined, values, 0).sum(1)
        undefined = np.full(len(total), np.nan)
        means[name] = as_list(np.divide(total, defined.sum(1), out=undefined, where=defined.any(1)))
    return Cascade(cascade.mode, cascade.layers, means["rank_correlation"], means["ssim"])
