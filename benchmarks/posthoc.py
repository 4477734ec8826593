"""Maps to look at of many networks and sizes, ours and Captum's, each beside the bare network's own time."""

from __future__ import annotations

import gc
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from statistics import geometric_mean, median
from time import process_time
from typing import Any

import timm
import torch
from captum import attr
from torch import Tensor, nn

from benchmarks.results import Cell, Result
from radgaze import attribution

NETWORKS = (
    "regnety_002",
    "mobilenetv3_large_100",
    "convnext_atto",
    "resnet18",
    "densenet121",
    "vit_tiny_patch16_224",
)
TARGET = 1
FLOOR, OURS, PEER = "floor", "ours", "Captum"
FEWEST = 3
"""Fewest turns of a row."""


def run(
    *,
    networks: Sequence[str] = NETWORKS,
    batches: Sequence[int] = (1, 8, 32),
    sides: Sequence[int] = (64, 128, 224),
    seconds: float = 4.0,
    fewest: int = FEWEST,
) -> Result:
    """Time gradient maps in turns within one process, by the CPU time of one thread.

    Args:
        networks: Names that timm knows; their weights are random.
        batches: Numbers of images in a call.
        sides: Sides of the images in pixels.
        seconds: CPU time of each row's turns, of all contestants together.
        fewest: Turns of each row, whatever they take.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    rows = []
    try:
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for row in _rows(networks, sides, batches, seconds, fewest):
                rows.append(row)
                print("  ", *(f"{key} {value}" for key, value in row.items()), sep="  ", file=sys.stderr)
    finally:
        torch.set_num_threads(before)
    return Result(
        "Gradient maps to look at, network by network",
        "Maps max_c |∂y/∂x_c| (B, 1, H, W) of RGB images for one class of timm's networks with random "
        "weights in evaluation mode: ours, the generator `backprop`, and Captum's `Saliency`, reduced "
        "likewise. The floor is the bare network's forward pass and `torch.autograd.grad` of the score in "
        "the images. CPU time of one thread; the three take turns in one process, and ratios are medians of "
        "the turns' ratios. The difference is the largest one to Captum's maps, relative to their largest "
        "value; 1e-3 to 1e-2 of a network with ReLUs come from single units whose input is zero up to "
        "rounding.",
        rows,
        {"seconds": seconds, "threads": 1} | {name: version(name) for name in ("captum", "timm")},
        [_summary(rows)],
    )


def _rows(
    networks: Sequence[str], sides: Sequence[int], batches: Sequence[int], seconds: float, fewest: int
) -> Iterator[dict[str, Cell]]:
    for name in networks:
        for side in sides:
            torch.manual_seed(0)
            size: dict[str, Any] = {"img_size": side} if "vit" in name else {}
            model = timm.create_model(name, **size).eval()
            for batch in batches:
                images = torch.randn(batch, 3, side, side)
                contestants = _contestants(model, images)
                times = _turns(contestants, seconds, fewest)
                yield {
                    "network": name,
                    "side": side,
                    "batch": batch,
                    "floor (ms)": 1000 * median(times[FLOOR]),
                    "ours / floor": _ratio(times, OURS, FLOOR),
                    "Captum / floor": _ratio(times, PEER, FLOOR),
                    "Captum / ours": _ratio(times, PEER, OURS),
                    "turns": len(times[OURS]),
                    "difference": _difference(contestants[OURS](), contestants[PEER]()),
                }


def _contestants(model: nn.Module, images: Tensor) -> dict[str, Callable[[], Tensor]]:
    generator = attribution.create("backprop", model, normalise="none")
    saliency = attr.Saliency(model)

    def floor() -> Tensor:
        leaf = images.detach().requires_grad_()
        return torch.autograd.grad(model(leaf)[:, TARGET].sum(), leaf)[0]

    return {
        FLOOR: floor,
        OURS: lambda: generator(images, TARGET),
        PEER: lambda: saliency.attribute(images, target=TARGET).amax(1, keepdim=True),
    }


def _turns(
    contestants: dict[str, Callable[[], Tensor]], seconds: float, fewest: int
) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for maps in contestants.values():
        for _ in range(2):  # allocates memory
            maps()
    gc.collect()
    start = process_time()
    while len(times[OURS]) < fewest or process_time() - start < seconds:
        order = list(contestants)[:: -1 if len(times[OURS]) % 2 else 1]
        for name in order:
            begun = process_time()
            contestants[name]()
            times[name].append(process_time() - begun)
    return times


def _ratio(times: dict[str, list[float]], one: str, other: str) -> float:
    return median(a / b for a, b in zip(times[one], times[other], strict=True))


def _difference(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


def _summary(rows: Sequence[dict[str, Cell]]) -> str:
    speeds = [float(row["Captum / ours"]) for row in rows]
    floors = geometric_mean(float(row["ours / floor"]) for row in rows)
    slowest = min(rows, key=lambda row: float(row["Captum / ours"]))
    return (
        f"Captum's time over ours: {geometric_mean(speeds):.2f} in the geometric mean, at least "
        f"{min(speeds):.2f} ({slowest['network']}, {slowest['side']} px, batch {slowest['batch']}); "
        f"{sum(speed >= 1 for speed in speeds)} of {len(speeds)} rows are at least 1. "
        f"Ours over the floor: {floors:.2f} in the geometric mean."
    )
