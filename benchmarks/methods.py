"""A training step of each method of the family "Comparison", against the plain step of the U-Net."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from time import perf_counter

import torch
from torch import Tensor, nn

from benchmarks.results import Cell, Result
from radgaze import attribution, experiments, models
from radgaze.gaze import GazeMaps
from radgaze.objectives import triangle
from radgaze.objectives.config import PARTS
from radgaze.objectives.terms import further
from radgaze.runs import settings
from radgaze.store.batch import Batch
from radgaze.training.module import GazeGuided

FAMILY = "Comparison"

PLAIN = "baseline"
"""The experiment whose step is the plain one: a U-Net with classification and mask loss."""

BOUND, BOUND_AGAIN = 2.2, 2.0
"""The largest ratio to the plain step that is wanted, and that of a method that runs the model again."""

CLASSES = 3


def run(
    *,
    names: tuple[str, ...] = (),
    batch: int = 8,
    size: int = 224,
    repeats: int = 7,
    threads: int = 2,
    encoder: str = "timm-efficientnet-b0",
    device: str = "cpu",
) -> Result:
    """Time the plain step and that of each method in turn.

    Args:
        names: Experiments; by default all of the family.
        batch: Images in a step.
        size: Side of the images in pixels.
        repeats: Turns; medians are given.
        threads: Number of torch threads.
        encoder: Encoder of all networks, by its name in segmentation_models_pytorch.
        device: Where.
    """
    torch.set_num_threads(threads)
    attribution.keep_freed_memory()
    chosen = names or tuple(each.name for each in experiments.catalogue() if each.family == FAMILY)
    cases = made_batch(batch, size, device)
    steps = {name: Step(name, encoder, size, cases) for name in (PLAIN, *chosen)}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(repeats + 1):
        for name, step in steps.items():
            seconds = step.seconds()
            if turn:  # the first warms up
                times[name].append(seconds)
        print(f"  turn {turn} of {repeats}", file=sys.stderr)
        gc.collect()
    return Result(
        "A training step of each comparison method",
        "The step of the baseline, a U-Net with classification and mask loss (plain), and that of each "
        f"experiment of the family {FAMILY} with its own network: forward, heatmaps, second passes, backward "
        "and AdamW. They take turns in one run; ratios are medians of the turns' ratios. The bounds are of "
        "two idle CPU cores.",
        [row(name, steps[name], times[name], times[PLAIN]) for name in steps],
        {"encoder": encoder, "batch": batch, "size": size, "repeats": repeats, "threads": threads},
        ["Schedules do not count: each term of a method is part of the timed step."],
    )


class Step:
    """The training step of an experiment on a batch.

    Args:
        name: Name of the experiment.
        encoder: Encoder of its network.
        size: Side of the images in pixels.
        batch: The batch.
    """

    def __init__(self, name: str, encoder: str, size: int, batch: Batch) -> None:
        torch.manual_seed(0)
        config = settings.resolve(
            name,
            model={"encoder": encoder, "weights": "none"},
            input={"size": size},
            objective={"classification": "softmax"},
        )
        self.runs_again = any(term.runs_again for term in further(config.objective).values())
        self.architecture = config.model.architecture
        self.network: nn.Module = models.create(config.model, CLASSES, size)
        self.module = GazeGuided(self.network, config, CLASSES).to(batch.image.device).train()
        self.optimiser = torch.optim.AdamW(self.network.parameters(), 1e-6)
        self.batch = batch

    def seconds(self) -> float:
        """Take the step; return its time."""
        wait = synchronise(self.batch.image)
        wait()
        start = perf_counter()
        loss = triangle.total(self.module.terms(self.batch), self.module.config.objective, {})
        self.optimiser.zero_grad()
        torch.autograd.backward(loss)
        self.optimiser.step()
        wait()
        return perf_counter() - start


def made_batch(count: int, size: int, device: str) -> Batch:
    """A batch of noise, each case with one class and some fixations."""
    draw = torch.Generator().manual_seed(0)
    fixations = 20
    parts = torch.zeros(count, len(PARTS), size, size, dtype=torch.uint8)
    parts[:, :, size // 4 : size // 2, size // 4 : size // 2] = 255
    cases = Batch(
        image=torch.rand(count, 1, size, size, generator=draw),
        label=torch.eye(CLASSES)[torch.arange(count) % CLASSES],
        points=size * torch.rand(count, fixations, 2, generator=draw),
        weights=torch.rand(count, fixations, generator=draw),
        sigma=torch.full((count, 2), 0.05 * size),
        times=torch.rand(count, fixations, 2, generator=draw),
        order=torch.arange(fixations).repeat(count, 1),
        recorded=torch.full((count,), fixations),
        boxes=torch.zeros(count, 0, 4),
        box_class=torch.zeros(count, 0, dtype=torch.long),
        regions=torch.zeros(count, 0, size, size, dtype=torch.uint8),
        region_class=torch.zeros(count, 0, dtype=torch.long),
        has_gaze=torch.ones(count, dtype=torch.bool),
        case_id=[str(case) for case in range(count)],
        patient=list(range(count)),
        spec=GazeMaps(sigma=0.05, unit="share"),
        parts=parts,
        part_names=tuple(part.value for part in PARTS),
    )
    tensors = {name: value.to(device) for name, value in vars(cases).items() if isinstance(value, Tensor)}
    return replace(cases, **tensors)


def synchronise(on: Tensor) -> Callable[[], None]:
    """The function that waits for the device of a tensor."""
    return torch.cuda.synchronize if on.is_cuda else lambda: None


def row(name: str, step: Step, times: list[float], plain: list[float]) -> dict[str, Cell]:
    """The row of a method in the table."""
    ratio = median(ours / theirs for ours, theirs in zip(times, plain, strict=True))
    bound = BOUND_AGAIN if step.runs_again else BOUND
    return {
        "experiment": name,
        "network": step.architecture,
        "runs again": "yes" if step.runs_again else "no",
        "step (s)": median(times),
        "ratio to plain": ratio,
        "bound": bound,
        "within": "yes" if ratio <= bound else "no",
    }
