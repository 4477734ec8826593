"""Training steps with a heatmap loss on networks nobody tuned for: time and memory, ours and straight."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.attribution import Case
from benchmarks.results import Cell, Result
from radgaze import attribution, models

NETWORKS = {
    "ConvNeXt-atto": "tu-convnext_atto",
    "MobileNetV3-large": "tu-mobilenetv3_large_100",
    "DenseNet-121": "densenet121",
    "EfficientNetV2-rw-t": "tu-efficientnetv2_rw_t",
    "RegNetY-002": "tu-regnety_002",
    "ResNet-18": "resnet18",
    "ViT-Ti": "tu-vit_tiny_patch16_224",
}
"""Encoders, by their names in segmentation_models_pytorch."""

FORMS = {"classifier": 128, "unet": 224}
"""Architectures, and the side of their images in pixels."""

CONTESTANTS = ("plain", "ours", "compiled", "straight")


def run(
    *,
    networks: tuple[str, ...] = tuple(NETWORKS),
    forms: tuple[str, ...] = tuple(FORMS),
    contestants: tuple[str, ...] = CONTESTANTS,
    batch: int = 8,
    size: int | None = None,
    repeats: int = 5,
    threads: int = 1,
    cpu_time: bool = True,
    memory: bool = True,
) -> Result:
    """Time the plain step, ours and the straight one in turn, and weigh each in a process of its own.

    Args:
        networks: Names among `NETWORKS`.
        forms: "classifier", "unet".
        contestants: Steps that are compared: "plain", which the others are divided by, "ours", "compiled",
            "straight".
        batch: Images in a step.
        size: Side of the images in pixels; None means 128 for classifiers and 224 for U-Nets.
        repeats: Turns; medians are given.
        threads: Number of torch threads.
        cpu_time: Whether CPU seconds of this process are taken, which other processes disturb less than the
            time on the clock.
        memory: Whether memory is measured.
    """
    torch.set_num_threads(threads)
    attribution.keep_freed_memory()
    rows: list[dict[str, Cell]] = []
    for form in forms:
        for name in networks:
            side = FORMS[form] if size is None else size
            row: dict[str, Cell] = {"network": name, "architecture": form, "size": side}
            row |= _times(_case(name, form, batch, side), contestants, repeats, cpu_time)
            if memory:
                row |= _memory(name, form, batch, side, contestants, threads)
            rows.append(row)
            print("  ", *(f"{key} {value}" for key, value in row.items()), sep="  ", file=sys.stderr)
            gc.collect()
    return Result(
        "Training steps of networks nobody tuned for",
        "A step with a classification loss and, of a U-Net, a mask loss (plain); the same with the heatmap "
        "of guided back-propagation in its loss as well (ours, and compiled, with the option of that name); "
        "and that written straight: hooks on activations and `create_graph=True`. Forward, backward and "
        "AdamW. All take turns in one run; ratios are medians of the turns' ratios. The floor is a plain "
        "step with one more forward and backward pass of the classifier, in plain torch: a heatmap's loss "
        "cannot do with less arithmetic, which is the arithmetic floor's, (6E + 3D)/(3E + 3D), E and D "
        "being the multiplications of the encoder and of all else. The difference is the largest one between "
        "our raw map with batch norm's statistics not held and the straight one, relative to the latter's "
        "largest value.",
        rows,
        {"batch": batch, "repeats": repeats, "threads": threads, "time": "CPU" if cpu_time else "clock"},
        [
            "Memory is what a step adds to a process at its peak, after one step that warms up; over plain, "
            "what its heatmap adds to that. There the allocator returns what is freed.",
        ],
    )


def _case(name: str, form: str, batch: int, side: int) -> Case:
    return Case(NETWORKS[name], batch, "contiguous", side, "cpu", "float32", form)


def _times(case: Case, contestants: tuple[str, ...], repeats: int, cpu_time: bool) -> dict[str, Cell]:
    clock = process_time if cpu_time else perf_counter
    steps: dict[str, Callable[[], None]] = {name: getattr(case, name) for name in contestants}
    steps["floor"] = lambda: twice(case)
    times: dict[str, list[float]] = {name: [] for name in steps}
    difference = _difference(case)
    for turn in range(repeats + 1):
        for name, step in steps.items():
            gc.collect()
            start = clock()
            step()
            if turn:  # the first warms up
                times[name].append(clock() - start)
    row: dict[str, Cell] = {f"{name} (s)": median(times[name]) for name in contestants}
    for above, below in _RATIOS:
        row[f"{above} / {below}"] = _ratio(times, above, below)
    return row | {
        "floor": _ratio(times, "floor", "plain"),
        "arithmetic floor": arithmetic_floor(case.model, case.images),
        "difference": difference,
    }


_RATIOS = (
    *(("ours", "plain"), ("compiled", "plain"), ("straight", "plain")),
    *(("ours", "straight"), ("compiled", "straight")),
)


def _ratio(times: Mapping[str, list[float]], above: str, below: str) -> Cell:
    if above not in times or below not in times:
        return ""
    return median(a / b for a, b in zip(times[above], times[below], strict=True))


def twice(case: Case) -> None:
    """A plain step with one more forward and backward pass of the classifier: the floor of a heatmap's loss.

    A read-out passes back through the network once, its own backward passes forwards, and gives each weight a
    gradient: the arithmetic of one further forward and backward pass.
    """
    output = case.model(case.images)
    again = models.scoring(case.model)(case.images)
    loss = F.cross_entropy(output.logits, case.labels) + F.cross_entropy(again.logits, case.labels)
    if output.mask is not None:
        loss = loss + F.binary_cross_entropy_with_logits(output.mask, case.gaze)
    case.optimiser.zero_grad()
    torch.autograd.backward(loss)
    case.optimiser.step()


def arithmetic_floor(model: nn.Module, images: Tensor) -> float:
    """(6E + 3D)/(3E + 3D), E and D the multiplications of the classifier and of all else."""
    counts = []
    for part in (model, models.scoring(model)):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            part(images[:2])
        counts.append(counter.get_total_flops())
    whole, encoder = counts
    return (6 * encoder + 3 * (whole - encoder)) / (3 * whole)


def _difference(case: Case) -> float:
    """How far our raw map, statistics not held, is from the straight one."""
    generator = attribution.create("guided_backprop", case.model, normalise="none", batch_statistics="exact")
    torch.manual_seed(1)
    with generator.capture(case.model) as read:
        ours = read(case.model(case.images), case.labels).detach()
    torch.manual_seed(1)
    straight = case.straight_heatmap()[1].detach()
    return float((ours - straight).abs().max() / straight.abs().max())


# Memory


def _memory(
    name: str, form: str, batch: int, side: int, contestants: tuple[str, ...], threads: int
) -> dict[str, Cell]:
    """MiB that each step adds at its peak, and ours over plain divided by the straight one's over plain."""
    weighed = tuple(each for each in contestants if each != "compiled")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        peaks = pool.submit(_peaks, name, form, batch, side, weighed, threads).result()
    row: dict[str, Cell] = {f"{key} (MiB)": value for key, value in peaks.items()}
    if {"ours", "straight"} <= set(peaks):
        row["memory over plain, ours / straight"] = (peaks["ours"] - peaks["plain"]) / (
            peaks["straight"] - peaks["plain"]
        )
    return row


def _peaks(
    name: str, form: str, batch: int, side: int, contestants: tuple[str, ...], threads: int
) -> dict[str, float]:
    torch.set_num_threads(threads)
    case = _case(name, form, batch, side)
    peaks = {}
    for each in contestants:
        step: Callable[[], None] = getattr(case, each)
        step()
        case.optimiser.zero_grad()
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
        before = _status("VmRSS")
        step()
        peaks[each] = (_status("VmHWM") - before) / 2**10
    return peaks


def _status(key: str) -> int:
    """A figure of this process's memory in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))
