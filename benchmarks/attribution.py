"""A training step with a heatmap loss, against the plain step and against the same step written straight."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import product
from statistics import median
from time import perf_counter
from typing import Literal

import torch
import torch.nn.functional as F
from timm.layers import activations
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.results import Cell, Result
from radgaze import attribution, models

BARS = {"timm-efficientnet-b0": 1.45, "tu-efficientnet_b0": 1.45, "resnet34": 1.65, "densenet121": 1.6}
"""The largest ratio to the plain step that is wanted, of two CPU cores."""

RULED = (nn.ReLU, nn.SiLU, nn.GELU, nn.Hardswish, activations.GELU)
"""Activations that the straight version lays the rule of guided back-propagation on."""

LAYOUTS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}


def run(
    *,
    encoders: tuple[str, ...] = tuple(BARS),
    batches: tuple[int, ...] = (8, 32),
    layouts: tuple[str, ...] = ("contiguous", "channels last"),
    size: int = 224,
    repeats: int = 5,
    threads: int = 2,
    device: str = "cpu",
    precision: Literal["float32", "bfloat16"] = "float32",
) -> Result:
    """Time the plain step, ours with guided back-propagation, and that with `create_graph`, in turn.

    Args:
        encoders: Encoders of the U-Nets, by their names in segmentation_models_pytorch.
        batches: Images in a step.
        layouts: "contiguous", "channels last".
        size: Side of the images in pixels.
        repeats: Turns; medians are given.
        threads: Number of torch threads.
        device: Where.
        precision: Under autocast, unless float32.
    """
    torch.set_num_threads(threads)
    attribution.keep_freed_memory()
    rows: list[dict[str, Cell]] = []
    for encoder, batch, layout in product(encoders, batches, layouts):
        rows.append(_compare(Case(encoder, batch, layout, size, device, precision), repeats))
        print("  ", *(f"{key} {value}" for key, value in rows[-1].items()), sep="  ", file=sys.stderr)
        gc.collect()
    where = "" if device == "cpu" else f" on {torch.cuda.get_device_name()}"
    return Result(
        f"A training step with a heatmap loss{where}",
        "A U-Net's step with a classification and a mask loss (plain), the same with the heatmap of guided "
        "back-propagation in its loss as well (ours, and compiled, with the option of that name), and that "
        "written straight: hooks on activations and `create_graph=True`. Forward, backward and AdamW; the "
        "four take turns in one run, ratios are medians of the turns' ratios. The floor counts the "
        "arithmetic of convolutions alone, (6E + 3D)/(3E + 3D) for an encoder of E and a decoder of D. The "
        "last columns say what holding batch norm's statistics changes in the raw heatmap, and how far ours, "
        "with them not held, is from the straight one: largest difference over the largest value.",
        rows,
        {"size": size, "repeats": repeats, "threads": threads, "precision": precision},
        [
            "All four run with the allocator told to keep freed memory (`attribution.keep_freed_memory`, as "
            "`radgaze train` does). The bars are of two idle CPU cores.",
            "Ratios of held to exact statistics are those of raw maps of untrained networks in training "
            "mode, where batch norm takes nearly all of what one image does to the batch's scores back "
            "again: exact maps are hundreds of times smaller, and scaled to [0, 1] before they are used.",
        ],
    )


@dataclass
class Case:
    """A timed case: a model and the inputs of a step, made from its first seven fields."""

    encoder: str
    batch: int
    layout: str
    size: int
    device: str
    precision: str
    architecture: str = "unet"

    model: nn.Module = field(init=False)
    images: Tensor = field(init=False)
    labels: Tensor = field(init=False)
    gaze: Tensor = field(init=False)
    optimiser: torch.optim.Optimizer = field(init=False)
    generator: attribution.Generator = field(init=False)
    compiled_generator: attribution.Generator = field(init=False)

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        config = models.ModelConfig(architecture=self.architecture, encoder=self.encoder, weights="none")
        model = models.create(config, 3, self.size).to(self.device, memory_format=LAYOUTS[self.layout])
        for module in model.modules():
            if hasattr(module, "inplace"):
                module.inplace = False  # the straight version's hooks need each activation's input
        self.model = model.train()
        self.images = torch.rand(self.batch, 1, self.size, self.size, device=self.device)
        self.gaze = torch.rand_like(self.images)
        self.labels = torch.arange(self.batch, device=self.device) % 3
        self.optimiser = torch.optim.AdamW(model.parameters(), 1e-6)
        self.generator = attribution.create("guided_backprop", model)
        self.compiled_generator = attribution.create("guided_backprop", model, compiled=True)

    def autocast(self) -> AbstractContextManager[object]:
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device, getattr(torch, self.precision))

    def plain(self) -> None:
        with self.autocast():
            self.learn(self.model(self.images), None)

    def ours(self) -> None:
        self.guided(self.generator)

    def compiled(self) -> None:
        self.guided(self.compiled_generator)

    def guided(self, generator: attribution.Generator) -> None:
        with self.autocast():
            with generator.capture(self.model) as read:
                output = self.model(self.images)
                heat = read(output.logits, self.labels)
            self.learn(output, heat)

    def straight(self) -> None:
        with self.autocast():
            output, heat = self.straight_heatmap()
            self.learn(output, attribution.readout.normalise(heat))

    def straight_heatmap(self) -> tuple[models.Output, Tensor]:
        images = self.images.detach().requires_grad_()
        with guided_hooks(self.model) as reading, twice_differentiable(self.model):
            output = self.model(images)
            score = output.logits.float().gather(1, self.labels[:, None]).sum()
            with reading():
                (gradient,) = torch.autograd.grad(score, images, create_graph=True)
        return output, gradient.abs().amax(1, keepdim=True)

    def learn(self, output: models.Output, heat: Tensor | None) -> None:
        loss = F.cross_entropy(output.logits, self.labels)
        if output.mask is not None:
            loss = loss + F.binary_cross_entropy_with_logits(output.mask, self.gaze)
        if heat is not None:
            loss = loss + F.mse_loss(heat, self.gaze)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()


@contextmanager
def guided_hooks(model: nn.Module) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Guided back-propagation as it is usually written: hooks that clamp what activations pass back.

    They act only within the context that is yielded, so that the loss's own backward is left alone.
    """
    reading = [False]

    def hook(module: nn.Module, args: object, y: Tensor) -> None:
        if y.requires_grad:
            passes = y.detach() > 0
            y.register_hook(lambda g: g.clamp(min=0) * passes if reading[0] else g)

    @contextmanager
    def read() -> Iterator[None]:
        reading[0] = True
        try:
            yield
        finally:
            reading[0] = False

    hooks = [module.register_forward_hook(hook) for module in model.modules() if isinstance(module, RULED)]
    try:
        yield read
    finally:
        for handle in hooks:
            handle.remove()


@contextmanager
def twice_differentiable(model: nn.Module) -> Iterator[None]:
    """Compute what torch does not differentiate twice in a way that it does: fused attention, hardsigmoid."""
    gates = [m for m in model.modules() if isinstance(m, nn.Hardsigmoid | activations.HardSigmoid)]
    for gate in gates:
        gate.__dict__["forward"] = lambda x: F.relu6(x + 3) / 6
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        for gate in gates:
            del gate.__dict__["forward"]


def _compare(case: Case, repeats: int) -> dict[str, Cell]:
    contestants: dict[str, Callable[[], None]] = {
        "plain": case.plain,
        "ours": case.ours,
        "compiled": case.compiled,
        "straight": case.straight,
    }
    times: dict[str, list[float]] = {name: [] for name in contestants}
    peaks: dict[str, float] = {}
    held, exact = _differences(case)
    for turn in range(repeats + 1):
        for name, step in contestants.items():
            if case.device != "cpu":
                torch.cuda.reset_peak_memory_stats()
                torch.cuda.synchronize()
            start = perf_counter()
            step()
            if case.device != "cpu":
                torch.cuda.synchronize()
                peaks[f"{name} peak (MiB)"] = torch.cuda.max_memory_allocated() / 2**20
            if turn:  # the first warms up
                times[name].append(perf_counter() - start)
        gc.collect()
    ratio = _ratio(times["ours"], times["plain"])
    floor = arithmetic_floor(case.model, case.images)
    return {
        "encoder": case.encoder,
        "batch": case.batch,
        "layout": case.layout,
        **{f"{name} (s)": median(spent) for name, spent in times.items()},
        "ours / plain": ratio,
        "compiled / plain": _ratio(times["compiled"], times["plain"]),
        "bar": BARS.get(case.encoder, float("nan")),
        "straight / plain": _ratio(times["straight"], times["plain"]),
        "ours / straight": _ratio(times["ours"], times["straight"]),
        "compiled / straight": _ratio(times["compiled"], times["straight"]),
        "floor": floor,
        "measured / floor": ratio / floor,
        "held": held,
        "exact": exact,
        **peaks,
    }


def _ratio(above: list[float], below: list[float]) -> float:
    return median(a / b for a, b in zip(above, below, strict=True))


def _differences(case: Case) -> tuple[float, float]:
    """Return how held statistics change the raw heatmap, and how exact ones differ from the direct map."""
    maps: dict[str, Tensor] = {}
    with case.autocast():
        for statistics in ("held", "exact"):
            generator = attribution.create(
                "guided_backprop", case.model, normalise="none", batch_statistics=statistics
            )
            torch.manual_seed(1)
            with generator.capture(case.model) as read:
                maps[statistics] = read(case.model(case.images), case.labels).detach()
        torch.manual_seed(1)
        maps["straight"] = case.straight_heatmap()[1].detach()
    largest = maps["straight"].abs().max()
    return (
        float((maps["held"] - maps["straight"]).abs().max() / largest),
        float((maps["exact"] - maps["straight"]).abs().max() / largest),
    )


def arithmetic_floor(model: nn.Module, images: Tensor) -> float:
    """(6E + 3D)/(3E + 3D), E and D the multiplications of the encoder's and all other convolutions."""
    counted = {True: 0, False: 0}

    def count(of_encoder: bool) -> Callable[[nn.Module, object, Tensor], None]:
        def hook(module: nn.Module, args: object, y: Tensor) -> None:
            counted[of_encoder] += y.numel() * module.weight[0].numel()

        return hook

    hooks = [
        module.register_forward_hook(count(".encoder." in f".{name}."))
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d)
    ]
    try:
        with torch.no_grad():
            model(images[:2])
    finally:
        for handle in hooks:
            handle.remove()
    encoder, decoder = counted[True], counted[False]
    return (6 * encoder + 3 * decoder) / (3 * encoder + 3 * decoder)
