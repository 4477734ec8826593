"""Decoy digits: does a method free a classifier from a patch that gives the class away in training only?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from statistics import mean, median
from time import process_time

import torch
from torch import Tensor, nn

from benchmarks.kept import Figures, kept
from benchmarks.results import Cell, Result
from radgaze import experiments
from radgaze.console import progress
from radgaze.models.output import Output
from radgaze.objectives import triangle
from radgaze.objectives.config import PARTS, HeatmapConfig, Map, ObjectiveConfig
from radgaze.objectives.heatmaps import Heatmaps, Targets
from radgaze.objectives.step import ForwardPass, Maps, Outputs
from radgaze.objectives.terms import compares
from radgaze.runs import settings
from radgaze.simulation.digits import CLASSES, Digits, draw
from radgaze.training.factors import Factors

TRAINING, TEST, EPOCHS, BATCH, RATE = 1500, 500, 20, 64, 2e-3

PLAIN, CLEAN = "plain", "plain, without a decoy in training"

BALANCED = {f"{name}, λ of equal terms at the start": name for name in ("rrr", "gradmask")}
"""Rows with a balanced λ. It is of no use here: gradients of an untrained network without batch norm are
nearly 0, and λ becomes 10⁷."""

LAYERS = {"1/16": "stages.1", "1/32": "stages.2"}
"""The layers of the small network that stand for those of an encoder."""


class Network(nn.Module):
    """Three convolutions with SiLU, and a linear layer on the flattened feature maps (B, 24, 8, 8)."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        widths, sides = (1, width, 2 * width, 2 * width), (5, 5, 3)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, after, side, padding=side // 2), nn.SiLU())
            for (before, after), side in zip(pairwise(widths), sides, strict=True)
        )
        self.head = nn.Linear(2 * width * 64, CLASSES)

    def forward(self, images: Tensor) -> Output:
        x = nn.functional.avg_pool2d(self.stages[0](images), 2)
        x = nn.functional.avg_pool2d(self.stages[1](x), 2)
        return Output(self.head(self.stages[2](x).flatten(1)), None)


def methods() -> tuple[str, ...]:
    """Names of the experiments that need no network of their own, no decoder, no marks and no CAM."""
    able = []
    for each in experiments.catalogue():
        config = settings.resolve(each.name)
        heatmaps = (config.objective.heatmap, *config.objective.heatmaps.values())
        needs = any(compares(config.objective, name) for name in (Map.MASK, Map.BOXES, *PARTS))
        needs |= any(heatmap.generator == "cam" for heatmap in heatmaps)  # the network's head flattens
        if config.model.architecture in ("classifier", "unet") and config.objective.weights and not needs:
            able.append(each.name)
    return tuple(able)


def run(
    *, names: Sequence[str] | None = None, seeds: Sequence[int] = (0, 1, 2), keep: str = "decoy-digits"
) -> Result:
    """Train the small network with each method and seed, and test it where the patch tells nothing.

    Several processes may share a folder: each takes what no other has begun.

    Args:
        names: Experiments; None for all that apply.
        seeds: Seeds of the digits, of the order of the cases and of the first weights.
        keep: Folder for the figures: a stopped benchmark goes on from there.
    """
    chosen = (PLAIN, CLEAN, *((*BALANCED, *methods()) if names is None else names))
    found: dict[str, list[Figures]] = {name: [] for name in chosen}
    with progress("Decoy digits", total=len(chosen) * len(seeds), of="trainings") as bar:
        for seed, name in product(seeds, chosen):
            figures = kept(Path(keep) / f"{name}, seed {seed}.json", partial(_figures, name, seed))
            if figures is not None:
                found[name].append(figures)
            bar.advance()
    plain = {each["seed"]: each["seconds"] for each in found[PLAIN]}
    return Result(
        "Decoy digits: accuracy where the patch tells nothing",
        f"{TRAINING} digits in training, whose corner patch tells the class, and {TEST} in test, whose patch "
        "is that of a random class. A small network of convolutions and SiLU; accuracy is the mean over "
        f"seeds {', '.join(map(str, seeds))}, with the lowest and the highest. A method is its experiment's "
        "objective as it is; time is the processor time of a training, relative to plain.",
        [_row(name, each, plain) for name, each in found.items() if each],
        {"training": TRAINING, "test": TEST, "epochs": EPOCHS},
    )


def _figures(name: str, seed: int) -> Figures:
    training, start = draw(TRAINING, 2 * seed, decoy=name != CLEAN), process_time()
    network = train(training, objective(name), seed)
    seconds = process_time() - start
    test = accuracy(network, draw(TEST, 2 * seed + 1, decoy=False))
    return {"seed": seed, "seconds": seconds, "training": accuracy(network, training), "test": test}


def _row(name: str, found: Sequence[Figures], plain: dict[float, float]) -> dict[str, Cell]:
    tests = [each["test"] for each in found]
    return {
        "method": name,
        "test accuracy": round(mean(tests), 3),
        "lowest": round(min(tests), 3),
        "highest": round(max(tests), 3),
        "training accuracy": round(mean(each["training"] for each in found), 3),
        "time": round(median(each["seconds"] / plain[each["seed"]] for each in found), 2),
    }


def objective(name: str) -> ObjectiveConfig:
    """The objective of an experiment, with softmax and the layers of the small network."""
    if name in (PLAIN, CLEAN):
        return ObjectiveConfig(classification="softmax")
    if name in BALANCED:
        config = objective(BALANCED[name])
        return replace(config, heatmap_gaze=replace(config.heatmap_gaze, balance="start", weight=1.0))
    config = replace(settings.resolve(name).objective, classification="softmax")
    heatmaps = {key: _placed(each) for key, each in config.heatmaps.items()}
    return replace(config, heatmap=_placed(config.heatmap), heatmaps=heatmaps)


def _placed(heatmap: HeatmapConfig) -> HeatmapConfig:
    return replace(heatmap, layer=LAYERS.get(heatmap.layer or "", heatmap.layer))


def train(digits: Digits, config: ObjectiveConfig, seed: int) -> Network:
    """Train the small network on an objective, as `radgaze train` would."""
    torch.manual_seed(seed)
    network = Network()
    images, labels, gaze = map(torch.from_numpy, (digits.images, digits.labels, digits.gaze))
    heatmaps, factors = Heatmaps(network, config), Factors(config)
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=0.01)
    steps = EPOCHS * math.ceil(len(images) / BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    done = 0
    for _ in range(EPOCHS):
        for cases in torch.randperm(len(images)).split(BATCH):
            values = _terms(network, heatmaps, images[cases], labels[cases], gaze[cases], config)
            counts = dict.fromkeys(values, torch.tensor(float(len(cases))))  # each digit has gaze
            factor = factors.at(done / steps, values, counts, Tensor.item)
            loss = triangle.total(values, config, factor)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            done += 1
    return network.eval()


def _terms(  # many arguments: a batch is its images, labels and gaze
    network: Network,
    heatmaps: Heatmaps,
    images: Tensor,
    labels: Tensor,
    gaze: Tensor,
    config: ObjectiveConfig,
) -> dict[str, Tensor]:
    one_hot = nn.functional.one_hot(labels, CLASSES).float()
    with heatmaps.capture(network) as read:
        output = network(images)
        targets = Targets(output, one_hot, config.classification)
        made = read(output, targets)
    has_gaze, sigma = torch.ones(len(images), dtype=torch.bool), torch.ones(len(images), 2)
    maps = Maps(gaze, has_gaze, sigma, None, made.pop(Map.HEATMAP.value, None), made)

    def again(perturbed: Tensor) -> Outputs:
        return _outputs(network, perturbed)

    forward = ForwardPass(images, _outputs(network, images, output), targets.classes, again)
    return triangle.terms(output.logits, one_hot, maps, config, forward=forward)


def _outputs(network: Network, images: Tensor, output: Output | None = None) -> Outputs:
    kept: list[Tensor] = []
    hook = network.stages[2].register_forward_hook(lambda module, args, maps: kept.append(maps))
    logits = network(images).logits
    hook.remove()
    return Outputs(logits if output is None else output.logits, None, kept[-1])


@torch.no_grad()
def accuracy(network: Network, digits: Digits) -> float:
    """The share of digits that a network tells rightly."""
    predicted = network(torch.from_numpy(digits.images)).logits.argmax(1)
    return float((predicted == torch.from_numpy(digits.labels)).float().mean())
