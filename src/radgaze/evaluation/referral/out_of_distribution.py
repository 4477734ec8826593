"""Images out of distribution, on which a classifier of chest radiographs should not be trusted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from radgaze import models
from radgaze.console import progress
from radgaze.evaluation.metrics.discrimination import auc
from radgaze.evaluation.referral.perturbation import given
from radgaze.evaluation.referral.probabilities import RunProbabilities, drawn
from radgaze.evaluation.referral.results import ImageKindResults
from radgaze.evaluation.referral.selective import Referral
from radgaze.evaluation.referral.summary import with_interval
from radgaze.evaluation.statistics import policy
from radgaze.evaluation.statistics.auc_intervals import Placed, auc_interval, placed
from radgaze.evaluation.statistics.resampling import Statistic, estimates, mean_of
from radgaze.objectives.triangle import probabilities as probabilities_of

Floats = NDArray[np.float64]

_PICTURES = (
    "astronaut",
    "brick",
    "camera",
    "cat",
    "coffee",
    "coins",
    "grass",
    "gravel",
    "horse",
    "moon",
    "page",
)
"""Pictures that come with scikit-image."""


def upside_down(images: Tensor, seed: int) -> Tensor:
    """Turn images (B, 1, H, W) by 180°."""
    return images.flip((-2, -1))


def inverted(images: Tensor, seed: int) -> Tensor:
    """Invert images (B, 1, H, W) in [0, 1], as if their photometric interpretation had been ignored."""
    return 1 - images


def noise(images: Tensor, seed: int) -> Tensor:
    """Return grey noise of shape (B, 1, H, W), uniform in [0, 1)."""
    drawn = [
        torch.rand(images.shape[1:], generator=torch.Generator().manual_seed(seed + k))
        for k in range(len(images))
    ]
    return torch.stack(drawn).to(images)


def not_chest(images: Tensor, seed: int) -> Tensor:
    """Return crops of photographs of other objects, of shape (B, 1, H, W), scaled from 0 to 1."""
    pieces = [_piece(images.shape[-2:], np.random.default_rng(seed + k)) for k in range(len(images))]
    return torch.stack(pieces).to(images)


KINDS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "upside_down": upside_down,
    "inverted": inverted,
    "noise": noise,
    "not_chest": not_chest,
}
"""Functions by name, of images (B, 1, H, W) and the seed of the first image, to images of the same shape. The
seed of each further image is one higher."""

TITLES = {
    "upside_down": "Upside down",
    "inverted": "Inverted",
    "noise": "Noise",
    "not_chest": "Not a chest",
}


def measure_kinds(probabilities: RunProbabilities, rule: Referral) -> dict[str, ImageKindResults]:
    """Measure for each kind of image the share referred, and how well the score separates it from test cases.

    Args:
        probabilities: Probabilities of the run, with its model.
        rule: The rule.

    Returns:
        The results by kind, those of the test cases first, as "test".
    """
    options = probabilities.options
    cases = drawn(probabilities.tables["test"], options.seed)
    scores = _scores(probabilities, rule, cases["case_id"].to_list())
    resampling = policy.bootstrap(cases, resamples=options.resamples, seed=options.seed)
    results, inside, patients = {}, scores["test"], cases["patient"].to_numpy()
    for name, outside in scores.items():
        statistics: dict[str, Statistic] = {"referred": mean_of(outside > rule.threshold)}
        if name != "test":
            statistics["auroc"] = _separation(inside, outside)
        figures = estimates(statistics, len(outside), resampling)
        auroc = None
        if name != "test":
            interval = auc_interval([_placed(inside, outside, patients)])
            auroc = with_interval(figures["auroc"], interval)
        results[name] = ImageKindResults(with_interval(figures["referred"]), auroc)
    return results


def _scores(probabilities: RunProbabilities, rule: Referral, case_ids: Sequence[str]) -> dict[str, Floats]:
    """Return the scores of test images and of the images made from them, by kind."""
    options, model = probabilities.options, probabilities.model
    parts: dict[str, list[Floats]] = {name: [] for name in ("test", *KINDS)}
    tried = 0
    with progress("Trying images that are no radiographs", total=len(case_ids)) as bar:
        for batch in probabilities.run.batches("test", options.batch_size, case_ids):
            images, *also = models.inputs(model, batch.to(probabilities.device))
            for name, part in parts.items():
                changed = images if name == "test" else KINDS[name](images, options.seed + tried)
                with torch.inference_mode():
                    logits = model(changed, *also).logits
                plain = probabilities_of(logits, probabilities.kind).cpu().double().numpy()
                part.append(rule.scores(given(rule, model, changed, plain, also)))
            tried += len(batch)
            bar.advance(len(batch))
    return {name: np.concatenate(part) for name, part in parts.items()}


def _separation(inside: Floats, outside: Floats) -> Statistic:
    labels = np.repeat([0.0, 1.0], [len(inside), len(outside)])
    both = np.concatenate([inside, outside])
    return lambda w: auc(labels, both, np.concatenate([w, w], 1))


def _placed(inside: Floats, outside: Floats, patients: NDArray[np.int64]) -> Placed:
    labels = np.repeat([0.0, 1.0], [len(inside), len(outside)])
    return placed(labels, np.concatenate([inside, outside]), np.concatenate([patients, patients]))


def _piece(size: Sequence[int], draw: np.random.Generator) -> Tensor:
    """Crop a random square, its side at least half the picture's shorter side; resize it to (1, H, W)."""
    whole = _picture(_PICTURES[draw.integers(len(_PICTURES))])
    side = int(draw.integers(min(whole.shape) // 2, min(whole.shape) + 1))
    top, left = (int(draw.integers(0, length - side + 1)) for length in whole.shape)
    piece = torch.from_numpy(whole[top : top + side, left : left + side].copy())[None, None]
    resized = interpolate(piece, size=tuple(size), mode="bilinear", antialias=True)[0]
    low, high = resized.min(), resized.max()
    return (resized - low) / (high - low).clamp(min=1e-6)


@cache
def _picture(name: str) -> NDArray[np.float32]:
    from skimage import color, data
    from skimage.util import img_as_float32

    pixels = img_as_float32(getattr(data, name)())  # type: ignore[no-untyped-call]  # skimage.util has no types
    return np.asarray(color.rgb2gray(pixels[..., :3]) if pixels.ndim == 3 else pixels, dtype=np.float32)
