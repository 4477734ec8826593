"""What an audit measures of a method, aspect by aspect: figures of single cases, in batches.

| aspect | asks | of |
|---|---|---|
| agreement | does it point where the radiologist looked? | maps, blurred as far as the gaze map |
| localisation | does it point into the boxes? | maps of the true class, blurred likewise |
| faithfulness | does the model use what it points at? | maps as they are |
| sanity | does it depend on what was learnt? | maps of the model with weights drawn anew |
| stability | does it stay when the image hardly changes? | maps of noisy and of shifted images |
| cost | how long does it take? | |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from radgaze.evaluation.audit.sampling import Gaze, Lot
from radgaze.evaluation.maps import smoothed
from radgaze.evaluation.metrics import agreement, faithfulness, localisation, randomisation, robustness
from radgaze.evaluation.metrics.agreement import is_constant
from radgaze.evaluation.metrics.metric import Metric
from radgaze.objectives.triangle import probabilities

Floats = NDArray[np.float64]
Figures = dict[str, Floats]
"""(B,) per metric, NaN where it is undefined."""
Explain = Callable[..., Tensor]
"""A generator: images (N, 1, S, S), classes (N,) and `also=` to maps (N, 1, S, S)."""

BLUR = 0.1
"""σ of the blur that takes an image's details away, as a share of its side."""
UNCHANGED = 0.5
"""A method whose maps of a model without any learnt weight still have this mean rank correlation with those
of the trained one does not change with the weights: half of the order of its pixels was never learnt."""


@dataclass(frozen=True)
class Effort:
    """How thoroughly a method is probed.

    Attributes:
        steps: Points of the deletion and insertion curves, without the first.
        subsets: Sets of pixels of sensitivity-n.
        share: Of all pixels that are in one of these.
        stages: Layers at which the weights are drawn anew, of each kind of randomisation.
        noise: Standard deviation of the noise, in units of the image's range.
        draws: Of the noise.
        shift: How far the image is shifted, as a share of its side.
        seed: Of all that is random.
    """

    steps: int = 8
    subsets: int = 8
    share: float = 0.1
    stages: int = 4
    noise: float = 0.02
    draws: int = 2
    shift: float = 0.02
    seed: int = 0


_LIKENESS = (-1.0, 1.0)
ASPECTS: dict[str, dict[str, Metric]] = {
    "agreement": {
        **agreement.METRICS,
        "shuffled_cc": Metric(
            title="shuffled CC",
            words="CC with this case's gaze beyond that with other cases' gaze.",
            chance=0.0,
        ),
        "information_gain": Metric(
            title="information gain",
            words="Bits per fixation by which the map foretells the gaze better than the mean gaze of the "
            "training cases does.",
            chance=0.0,
        ),
    },
    "localisation": {**localisation.METRICS},
    "faithfulness": {
        "deletion": Metric(
            title="deletion",
            words="Mean probability of the class while the image is blurred from the map's highest pixels "
            "on.",
            higher_is_better=False,
            bounds=(0.0, 1.0),
        ),
        "insertion": Metric(
            title="insertion",
            words="Mean probability of the class while a blurred image becomes sharp from the map's highest "
            "pixels on.",
            bounds=(0.0, 1.0),
        ),
        "insertion_minus_deletion": Metric(
            title="insertion − deletion",
            words="Both in one: what is pointed at is needed, and is enough.",
            bounds=(-1.0, 1.0),
        ),
        "sensitivity_n": Metric(
            title="sensitivity-n",
            words="Correlation of the map's sum over random sets of pixels with what the score loses without "
            "them.",
            chance=0.0,
            bounds=_LIKENESS,
        ),
    },
    "sanity": {
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
    },
    "stability": {
        "under_noise": Metric(
            title="under noise", words="Likeness to the maps of slightly noisy images.", bounds=_LIKENESS
        ),
        "under_shifts": Metric(
            title="under shifts", words="Likeness to the maps of slightly shifted images.", bounds=_LIKENESS
        ),
    },
    "cost": {
        "images_per_second": Metric(title="images per second", words="Maps made in a second."),
        "forward_passes": Metric(
            title="forward passes",
            words="Time of a map, in times of the class scores alone, measured beside it.",
            higher_is_better=False,
        ),
    },
}
HEADLINES = {
    "agreement": "nss",
    "localisation": "energy_inside",
    "faithfulness": "insertion_minus_deletion",
    "sanity": "cascading_rank_correlation",
    "stability": "under_noise",
    "cost": "forward_passes",
}
"""The metric that stands for an aspect, in verdicts and in the figure."""


def agreement_of(
    P: Floats, gaze: Gaze, others: Floats, other_gaze: Floats, mean_gaze: Floats | None
) -> Figures:
    """Every metric of agreement of smooth maps P (B, S, S), NaN for a case without gaze.

    Args:
        P: Maps.
        gaze: The cases' gaze.
        others: (B, S, S) fixation counts of the other cases.
        other_gaze: (B, S, S) the other cases' gaze maps, added up.
        mean_gaze: (S, S) of the training cases; without it there is no information gain.
    """
    Q, F = gaze.maps, gaze.fixations
    figures = agreement.agreement(P, Q, F, others)
    figures["shuffled_cc"] = agreement.shuffled_cc(P, Q, other_gaze)
    if mean_gaze is not None:
        figures["information_gain"] = agreement.information_gain(P, F, np.broadcast_to(mean_gaze, P.shape))
    return {name: np.where(gaze.there, figure, np.nan) for name, figure in figures.items()}


def localisation_of(lot: Lot, P: Floats) -> Figures:
    """`localisation.METRICS` of smooth maps P (B, S, S) with the boxes and regions of the cases' classes."""
    return localisation.localisation(P, lot.boxes, regions=lot.regions)


def faithfulness_of(lot: Lot, maps: Tensor, model: nn.Module, classification: str, effort: Effort) -> Figures:
    """How the class score follows what maps (B, 1, S, S) point at.

    Deletion and insertion are of the class's probability, sensitivity-n of its logit. What is deleted becomes
    the blurred image, which insertion starts from.
    """

    def probability(images: Tensor) -> Tensor:
        return _of_class(probabilities(_logits(model, lot, images), classification), lot)

    def logit(images: Tensor) -> Tensor:
        return _of_class(_logits(model, lot, images), lot)

    x, side = lot.images, lot.images.shape[-1]
    baseline = faithfulness.blurred(x, BLUR * side)
    deletion = faithfulness.deletion(probability, x, maps, baseline, steps=effort.steps).area
    insertion = faithfulness.insertion(probability, x, maps, baseline, steps=effort.steps).area
    n = max(1, round(effort.share * side**2))
    sensitivity = faithfulness.sensitivity_n(logit, x, maps, n=n, samples=effort.subsets, seed=effort.seed)
    return {
        "deletion": floats(deletion),
        "insertion": floats(insertion),
        "insertion_minus_deletion": floats(insertion - deletion),
        "sensitivity_n": floats(sensitivity),
    }


def stability_of(lot: Lot, maps: Tensor, explain: Explain, effort: Effort) -> Figures:
    """How like maps (B, 1, S, S) those of slightly other images are."""

    def again(images: Tensor) -> Tensor:
        return maps if images is lot.images else explained(explain, lot, images)

    pixels = max(1, round(effort.shift * lot.images.shape[-1]))
    noisy = robustness.under_noise(
        again, lot.images, noise=effort.noise, samples=effort.draws, seed=effort.seed
    )
    shifted = robustness.under_shifts(again, lot.images, pixels=pixels)
    return {"under_noise": floats(noisy), "under_shifts": floats(shifted)}


@dataclass(frozen=True)
class Cascade:
    """Similarity of a method's maps to those of the trained model while weights are drawn anew.

    Attributes:
        mode: "cascading", from the last layer up to this one, or "independent", this one alone.
        layers: Names of the layers, from the last to the first.
        similarity: (stages, cases) by "ssim" and "rank_correlation".
    """

    mode: str
    layers: tuple[str, ...]
    similarity: Mapping[str, Floats]


def sanity_of(
    lots: tuple[Lot, ...],
    maps: tuple[Tensor, ...],
    model: nn.Module,
    make: Callable[[nn.Module], Explain],
    effort: Effort,
) -> list[Cascade]:
    """Both randomisations (Adebayo et al. 2018), at some layers, evenly from the last to the first.

    A map that the new weights leave without any contrast has nothing of the old one: 0.

    Args:
        lots: The cases.
        maps: The trained model's maps (B, 1, S, S) of each lot.
        model: The trained model; its weights are as before afterwards.
        make: The method, for a model.
        effort: How many layers, and the seed.
    """
    found = []
    for mode in ("cascading", "independent"):
        total = len(randomisation.layers(model))
        wanted = set(np.linspace(0, total - 1, min(effort.stages, total)).round().astype(int).tolist())
        layers, stages = list[str](), list[Figures]()
        for place, (name, drawn) in enumerate(randomisation.randomisations(model, mode, seed=effort.seed)):
            if place not in wanted:
                continue
            explain = make(drawn)
            parts = [_similarity(kept, explained(explain, lot)) for lot, kept in zip(lots, maps, strict=True)]
            layers.append(name)
            stages.append({key: np.concatenate([part[key] for part in parts]) for key in parts[0]})
        similarity = {key: np.stack([stage[key] for stage in stages]) for key in stages[0]}
        found.append(Cascade(mode, tuple(layers), similarity))
    return found


def sanity_figures(cascades: list[Cascade]) -> Figures:
    """Similarity once no learnt weight is left, and the mean over layers redrawn one at a time."""
    figures = {}
    for cascade in cascades:
        for name, values in cascade.similarity.items():
            whole = values[-1] if cascade.mode == "cascading" else values.mean(0)
            figures[f"{cascade.mode}_{name}"] = whole
    return figures


def explained(
    explain: Explain, lot: Lot, images: Tensor | None = None, classes: Tensor | None = None
) -> Tensor:
    """Maps of a lot's images, or of others: its cases in order, once or several times."""
    images = lot.images if images is None else images
    classes = lot.predicted if classes is None else classes
    turns = len(images) // len(lot)
    return explain(images, _repeated(classes, turns), also=tuple(_repeated(a, turns) for a in lot.also))


def smooth(lot: Lot, maps: Tensor) -> Floats:
    """Maps (B, 1, S, S) blurred as far as the cases' gaze maps, (B, S, S)."""
    return smoothed(maps[:, 0].float().cpu().numpy(), lot.sigma.cpu().numpy()).astype(np.float64)


def floats(figure: Tensor) -> Floats:
    """A figure (B,) as NumPy's."""
    return figure.detach().double().cpu().numpy()


def _similarity(trained: Tensor, drawn: Tensor) -> Figures:
    flat = is_constant(drawn[:, 0].cpu().numpy()) & ~is_constant(trained[:, 0].cpu().numpy())
    figures = {
        "rank_correlation": randomisation.rank_correlation(trained, drawn),
        "ssim": randomisation.ssim(trained, drawn),
    }
    return {name: np.where(flat, 0.0, floats(figure)) for name, figure in figures.items()}


def _logits(model: nn.Module, lot: Lot, images: Tensor) -> Tensor:
    turns = len(images) // len(lot)
    with torch.inference_mode():
        logits: Tensor = model(images, *(_repeated(a, turns) for a in lot.also)).logits
    return logits.float()


def _of_class(scores: Tensor, lot: Lot) -> Tensor:
    return scores.gather(1, _repeated(lot.predicted, len(scores) // len(lot))[:, None])[:, 0]


def _repeated(tensor: Tensor, turns: int) -> Tensor:
    return tensor.repeat(turns, *[1] * (tensor.dim() - 1))
