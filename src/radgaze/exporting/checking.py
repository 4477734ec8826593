"""Compare an exported network with the run's own predictions and maps."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import islice
from statistics import median

import numpy as np
import torch
from torch import Tensor

from radgaze import models
from radgaze.errors import UserError
from radgaze.exporting.files import Arrays, Runs, Values
from radgaze.exporting.network import Exported, takes_gaze
from radgaze.predicting.inputs import Subject
from radgaze.store.placement import Frame

TOLERANCE = 1e-4
"""Largest difference, of values above 1 as a share of them."""

IMAGES = 16
REPEATS = 5


class CheckError(UserError):
    """Error about an exported file that computes other values than the run.

    Args:
        name: Name of the output.
        difference: Its largest difference.
    """

    def __init__(self, name: str, difference: float) -> None:
        super().__init__(
            f"the output {name} of the exported file differs from the run's by {difference:.2g}, more than "
            f"{TOLERANCE:g}"
        )
        self.name = name


@dataclass(frozen=True)
class Check:
    """A comparison of an exported file with the run.

    Attributes:
        images: Number of images.
        source: Source of the images, in words.
        tolerance: Largest difference that is accepted.
        largest_difference: Largest difference of each output, of values above 1 as a share of them.
        decisions_changed: Number of images whose reject decision differs; those whose score is as close to
            the threshold as the tolerance.
        batch_sizes: Numbers of images in a batch with which the file was run.
        milliseconds: Time for one image and all outputs, by radgaze with torch and of the file; the median of
            several, with the threads that torch was given.
        software: Versions of the libraries.
    """

    images: int
    source: str
    tolerance: float
    largest_difference: dict[str, float]
    decisions_changed: int | None
    batch_sizes: tuple[int, ...]
    milliseconds: dict[str, float]
    software: dict[str, str]

    def plain(self) -> dict[str, object]:
        """The check as JSON."""
        return {"format": 1, **asdict(self)}


def checked(model: Exported, run_file: Runs, library: str) -> Check:
    """Compare a file with the run on images of its store, or on random ones where it is not there.

    Args:
        model: The network.
        run_file: The file, as the software that it is for runs it.
        library: Name of this software's distribution.

    Raises:
        CheckError: An output differs by more than the tolerance.
    """
    inputs, source = _images(model)
    arrays = dict(zip(model.inputs, (each.numpy() for each in inputs), strict=True))
    expected = by_radgaze(model, inputs)
    several = run_file(arrays)
    first = run_file({name: value[:1] for name, value in arrays.items()})
    differences, changed = {}, None
    for name in model.outputs:
        if name == "accept":
            differs = several[name] != expected[name]
            rule = model.serving.referral
            assert rule is not None
            sure = np.abs(expected["uncertainty"].astype(np.float64) - rule.threshold) > TOLERANCE * max(
                1.0, rule.threshold
            )
            changed = int(differs.sum())
            if (differs & sure).any():
                raise CheckError(name, 1.0)
            continue
        together, alone = (
            _difference(several[name], expected[name]),
            _difference(first[name], expected[name][:1]),
        )
        differences[name] = max(together, alone)
        if not differences[name] <= TOLERANCE:
            raise CheckError(name, differences[name])
    one = tuple(each[:1] for each in inputs)
    return Check(
        len(inputs[0]),
        source,
        TOLERANCE,
        differences,
        changed,
        (1, len(inputs[0])),
        {
            "torch": _milliseconds(lambda: by_radgaze(model, one)),
            "file": _milliseconds(lambda: run_file({name: value[:1] for name, value in arrays.items()})),
        },
        {name: version(name) for name in dict.fromkeys(("torch", library))},
    )


def by_radgaze(model: Exported, inputs: tuple[Tensor, ...]) -> Arrays:
    """Compute the outputs by the run itself, the way of `predict` and `explain`."""
    images, others = inputs[0], inputs[1:]
    size = images.shape[-1]
    subjects = [
        Subject(
            "", image, tuple(x[i : i + 1] for x in others), None, None, None, Frame(size, size, size), "pad"
        )
        for i, image in enumerate(images)
    ]
    predicted = model.predictor(subjects)
    made: Arrays = {"probabilities": predicted.probabilities}
    chosen = torch.from_numpy(predicted.probabilities.argmax(1))
    if "logits" in model.outputs:
        made["logits"] = predicted.outputs[0].logits.numpy()
    if "mask" in model.outputs:
        masks = model.predictor.masks(predicted.outputs, chosen)
        assert masks is not None
        made["mask"] = masks[:, None]
    if "heatmap" in model.outputs:
        made["heatmap"] = _heatmaps(model, images, others, chosen)
    if "accept" in model.outputs:
        assert predicted.decisions is not None
        made["uncertainty"] = np.array([each.score for each in predicted.decisions])
        made["accept"] = np.array([each.accept for each in predicted.decisions])
    return made


def _heatmaps(model: Exported, images: Tensor, others: tuple[Tensor, ...], chosen: Tensor) -> Values:
    assert model.create is not None
    targets = [chosen]
    if model.target == "all":
        targets = [torch.full_like(chosen, k) for k in range(len(model.run.classes))]
    elif model.target != "predicted":
        targets = [torch.full_like(chosen, model.run.classes.index(model.target))]
    of_each = []
    for network in model.predictor.models:
        generator = model.create(models.scoring(network))
        of_each.append(torch.cat([generator(images, target, also=others) for target in targets], 1))
    return np.asarray(torch.stack(of_each).mean(0))


def _images(model: Exported) -> tuple[tuple[Tensor, ...], str]:
    """Inputs of images of the run's store, or of random ones."""
    run, network = model.run, model.predictor.models[0]
    reason = "its store has no test cases"
    try:
        batch = next(islice(run.batches("test", IMAGES), 1), None)
    except UserError:
        batch, reason = None, "its store is missing"
    if batch is not None and len(batch):
        inputs = models.inputs(network, batch) if takes_gaze(run) else (batch.image,)
        return tuple(each.float() for each in inputs), "test cases of the run's store"
    draw = torch.Generator().manual_seed(1)
    shape = (IMAGES, *model.example[0].shape[1:])
    return tuple(torch.rand(shape, generator=draw) for _ in model.inputs), f"random numbers: {reason}"


def _difference(made: Values, expected: Values) -> float:
    if made.shape != expected.shape:
        return float("inf")
    apart = np.abs(made.astype(np.float64) - expected.astype(np.float64)) / np.maximum(
        1, np.abs(expected.astype(np.float64))
    )
    return float(apart.max())


def _milliseconds(call: Callable[[], object]) -> float:
    call()
    times = []
    for _ in range(REPEATS):
        before = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - before))
    return round(median(times), 2)
