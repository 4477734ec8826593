"""Sanity: does a map depend on what was learnt? Both randomisations of weights (Adebayo et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from radgaze.evaluation.audit.aspects.aspect import Aspect, Course, Curve, Measured, Panel, register
from radgaze.evaluation.audit.aspects.subject import Figures, Floats, Subject, explained, floats, plain
from radgaze.evaluation.metrics import randomisation
from radgaze.evaluation.metrics.agreement import is_constant
from radgaze.evaluation.metrics.metric import Metric
from radgaze.words import count, listed

UNCHANGED = 0.5
"""A method whose maps of a model without any learnt weight still have this mean rank correlation with those
of the trained one does not change with the weights: half of the order of its pixels was never learnt."""
_LIKENESS = (-1.0, 1.0)


class Cascades(Course):
    """Likeness of a method's maps to the trained ones as weights are drawn anew."""

    alternative = "Likeness to the trained map while weights are drawn anew"
    caption = (
        "Each point is a layer whose weights were drawn anew. Lines: with all layers before it (cascading); "
        "crosses: that layer alone. Above the dotted line at the right end, a method does not change with "
        "the weights."
    )
    x_title = "layers drawn anew, from the classifier (left) to the input (right)"
    y_title = "likeness"
    y_limits = (-0.45, 1.08)
    threshold = "unchanged_from"
    points_title = "Layers"

    def curves(self, method: Mapping[str, Any]) -> list[Curve]:
        """The trained map is the first point of the cascade: it is like itself."""
        found = []
        for cascade in method["cascades"]:
            for key, colour, marker, line, name in (
                ("rank_correlation", 0, "o", "-", "rank correlation"),
                ("ssim", 5, "s", "--", "SSIM"),
            ):
                y = cascade[key]
                x = range(1, len(y) + 1)
                if cascade["mode"] == "cascading":
                    label = f"{name}, all layers so far"
                    found.append(Curve(label, [0, *x], [1.0, *y], colour, marker, line, 4))
                else:
                    found.append(Curve(f"{name}, this layer alone", list(x), y, colour, "x", "none", 5))
        return found

    def points(self, method: Mapping[str, Any]) -> list[str]:
        return list(max((c["layers"] for c in method["cascades"]), key=len, default=[]))


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
            words="The same as structural similarity.",
            higher_is_better=False,
            bounds=_LIKENESS,
        ),
        "independent_rank_correlation": Metric(
            title="rank correlation, one layer",
            words="Likeness with the weights of one layer drawn anew, mean over layers.",
            higher_is_better=False,
            bounds=_LIKENESS,
        ),
        "independent_ssim": Metric(
            title="SSIM, one layer",
            words="The same as structural similarity.",
            higher_is_better=False,
            bounds=_LIKENESS,
        ),
    }
    headline = "cascading_rank_correlation"
    panel = Panel("Sanity: likeness without weights", shaded=("unchanged_from", 1.0, "does not\nchange"))
    probed = True
    column = "weights"
    judged = True
    thresholds: ClassVar[Mapping[str, float]] = {"unchanged_from": UNCHANGED}
    course = Cascades()

    def measure(self, subject: Subject) -> Measured:
        """Redraw weights at some layers, evenly from the last to the first.

        A map that the new weights leave without any contrast has nothing of the old one: 0.
        """
        maps = [subject.maps_of(lot) for lot in subject.probed]
        total = len(randomisation.layers(subject.model))
        stages = min(subject.effort.stages, total)
        wanted = set(np.linspace(0, total - 1, stages).round().astype(int).tolist())
        figures, cascades = Figures(), []
        for mode in ("cascading", "independent"):
            layers, parts = list[str](), list[Figures]()
            drawn_anew = randomisation.randomisations(subject.model, mode, seed=subject.effort.seed)
            for place, (name, drawn) in enumerate(drawn_anew):
                if place in wanted:
                    layers.append(name)
                    parts.append(_similarity(subject, drawn, maps))
            similarity = {key: np.stack([part[key] for part in parts]) for key in parts[0]}
            for key, values in similarity.items():
                figures[f"{mode}_{key}"] = values[-1] if mode == "cascading" else values.mean(0)
            plainly = {key: plain(values) for key, values in similarity.items()}
            cascades.append({"mode": mode, "layers": layers, "similarity": plainly})
        ids = [case_id for lot in subject.probed for case_id in lot.case_ids]
        return Measured([(ids, figures)], detail=cascades)

    def entry(self, figures: Mapping[str, Any], detail: Any) -> dict[str, Any]:
        """Whether the maps change with the weights, and the means over cases, layer by layer.

        None where nothing can be said: every map is the same everywhere, and has no order of pixels.
        """
        likeness = figures.get(self.headline)
        changes = None if likeness is None else bool(likeness["value"] < UNCHANGED)
        return {"changes": changes, "cascades": [_means(cascade) for cascade in detail or ()]}

    def verdict(self, method: Mapping[str, Any]) -> str:
        if method["changes"] is None:
            return "–"
        return "changes" if method["changes"] else "✗ does not change with the weights"

    def criterion(self, summary: Mapping[str, Any]) -> str:
        return (
            "A method does not change with the weights where its maps of a model without any learnt weight "
            f"still have a mean rank correlation of {summary['unchanged_from']} or more with those of the "
            "trained one."
        )

    def findings(self, methods: Mapping[str, Any]) -> list[str]:
        sentences = []
        if still := [name for name, found in methods.items() if found["changes"] is False]:
            sentences.append(
                f"{listed(still)} {'does' if len(still) == 1 else 'do'} not change with the weights: what "
                "such a map shows is largely in the image, or in the network's shape, and was not learnt."
            )
        if blank := [name for name, found in methods.items() if found["changes"] is None]:
            sentences.append(
                f"{listed(blank)} {'gives' if len(blank) == 1 else 'give'} maps that are the same "
                "everywhere: whether they depend on the weights cannot be said."
            )
        return sentences or ["Every method's maps change when the weights are drawn anew."]

    def how(self, settings: Mapping[str, Any]) -> str:
        return (
            f"Weights drawn anew at {count(settings['stages'], 'layer')} from the last to the first, in both "
            "ways; the class explained stays that of the trained model."
        )


def _similarity(subject: Subject, drawn: Any, maps: Sequence[Tensor]) -> Figures:
    """Likeness of the maps of a model with weights drawn anew to those of the trained one, of all cases."""
    explain, parts = subject.required.make(drawn), list[Figures]()
    for lot, trained in zip(subject.probed, maps, strict=True):
        new = explained(explain, lot)
        flat = is_constant(new[:, 0].cpu().numpy()) & ~is_constant(trained[:, 0].cpu().numpy())
        figures = {
            "rank_correlation": randomisation.rank_correlation(trained, new),
            "ssim": randomisation.ssim(trained, new),
        }
        parts.append({name: np.where(flat, 0.0, floats(figure)) for name, figure in figures.items()})
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _means(cascade: Mapping[str, Any]) -> dict[str, Any]:
    means = {}
    for name, similarity in cascade["similarity"].items():
        values: Floats = np.array(similarity, dtype=np.float64)  # (stages, cases)
        known = np.isfinite(values)
        total = np.where(known, values, 0).sum(1)
        means[name] = plain(
            np.divide(total, known.sum(1), out=np.full(len(total), np.nan), where=known.any(1))
        )
    return {"mode": cascade["mode"], "layers": list(cascade["layers"]), **means}
