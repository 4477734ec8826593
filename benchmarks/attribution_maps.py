"""Heatmaps of a trained network to look at: images per second, against Captum, MONAI and pytorch-grad-cam."""

from __future__ import annotations

import copy
import gc
import sys
import warnings
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from statistics import median
from time import perf_counter
from typing import Any

import timm
import torch
from torch import Tensor, nn

from benchmarks.peers import NOISE, PEERS, SAMPLES, TARGET, Maps, Network, Peer
from benchmarks.results import Cell, Result
from radgaze import attribution

OURS = "radgaze"
OF_RECTIFIERS = ("deconvnet", "guided_backprop", "guided_grad_cam")
AVERAGING = ("smooth_grad", "integrated_gradients")
"""Elsewhere than at a ReLU the peers' version of the former is the plain gradient; the latter take long."""


def run(
    *,
    images: int = 256,
    batch: int = 32,
    side: int = 224,
    repeats: int = 1,
    threads: int = 2,
    networks: Sequence[str] = ("efficientnet_b0", "resnet50"),
) -> Result:
    """Time our maps and the peers', batch by batch in turns, in one run.

    Args:
        images: How many RGB images; the methods that average take two batches of them.
        batch: Images in a batch, which is one turn.
        side: Side of an image in pixels.
        repeats: How often the images are gone through.
        threads: Number of torch threads.
        networks: Names that timm knows, of its ResNets or EfficientNets; their weights are random.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Captum warns at each call that it sets hooks
            torch.manual_seed(0)
            pixels = torch.randn(images, 3, side, side)
            batches = list(pixels.split(batch)) * repeats
            rows = []
            for row in (row for name in networks for row in _rows(name, batches)):
                rows.append(row)
                print("  ", *(f"{key} {value}" for key, value in row.items()), sep="  ", file=sys.stderr)
    finally:
        torch.set_num_threads(before)
    return Result(
        "Heatmaps to look at",
        f"Maps (B, 1, {side}, {side}) of {images} RGB images for class {TARGET} of each network of timm "
        f"(random weights, batch norm's statistics of {len(_for_statistics(pixels))} of the images), as "
        '`radgaze.attribution.create(name, model, normalise="none")` and each peer makes them; what can be '
        "built once is built before. The contestants take turns of one batch and the ratio, ours to theirs, "
        f"is the median of the turns' ratios. smooth_grad ({SAMPLES} samples, noise {NOISE:g} of the range) "
        f"and integrated_gradients ({SAMPLES} steps) take two batches; each image counts once. The "
        "difference is the largest one over a batch, relative to the peer's largest value.",
        rows,
        {"images": images, "batch": batch, "repeats": repeats, "threads": threads}
        | {name: version(name) for name in ("captum", "monai", "grad-cam", "timm")},
        [
            "The peers work batch by batch where they can; “one at a time” marks those that take one image. "
            "pytorch-grad-cam's CAMs, MONAI's Grad-CAM++ and its CAM are compared with ours when both are "
            "stretched from 0 to 1: the first come no other way, the second hold a factor exp(score), and "
            "the third the head's bias.",
            "MONAI and pytorch-grad-cam add 1e-7 and 1e-6 to the denominator of Grad-CAM++, which is of the "
            "size of the gradient's square and so often no larger; that is the difference there.",
            "No difference is given where the maps are not meant to be the same. Smoothing draws noise. On a "
            "network of SiLUs the peers' guided back-propagation and deconvnet are the plain gradient, since "
            "they know ReLU modules alone, and MONAI's is on timm's ResNets too, since it knows them by the "
            "word relu in their name.",
        ],
    )


def _rows(name: str, batches: Sequence[Tensor]) -> Iterator[dict[str, Cell]]:
    """A row for each peer of each method."""
    net = _network(name, batches[0])
    for method, peers in PEERS.items():
        contestants = {OURS: _ours(method, net.model)}
        contestants |= {peer.name: peer.make(copy.deepcopy(net)) for peer in peers}
        speeds = _images_per_second(contestants, batches[:2] if method.startswith(AVERAGING) else batches)
        for peer in peers:
            yield {
                "network": name,
                "method": method,
                "peer": peer.name,
                "ours (images/s)": median(speeds[OURS]),
                "peer (images/s)": median(speeds[peer.name]),
                "ratio": median(a / b for a, b in zip(speeds[OURS], speeds[peer.name], strict=True)),
                "one at a time": "yes" if peer.single else "no",
                "difference": _difference(contestants, peer, batches[0])
                if peer.same and (method not in OF_RECTIFIERS or _rectified(net.model))
                else "",
            }


def _network(name: str, images: Tensor) -> Network:
    """A network of timm in evaluation mode, with statistics that keep its activations in bounds."""
    torch.manual_seed(0)
    model = timm.create_model(name)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(_for_statistics(images))
    return Network(
        model.eval(), "layer4" if hasattr(model, "layer4") else "bn2", model.default_cfg["classifier"]
    )


def _for_statistics(images: Tensor) -> Tensor:
    return images[:8]


def _rectified(model: nn.Module) -> bool:
    return any(isinstance(module, nn.ReLU) for module in model.modules())


def _ours(method: str, model: nn.Module) -> Maps:
    name, _, base = method.partition(" of ")
    options: dict[str, Any] = {}
    if name == "cam":
        options = {"readout": "sum"}
    if name == "smooth_grad":
        options = {"base": base or "backprop", "samples": SAMPLES, "noise": NOISE}
    if name == "integrated_gradients":
        options = {"steps": SAMPLES}
    generator = attribution.create(name, copy.deepcopy(model), normalise="none", **options)
    return lambda images: generator(images, TARGET)


def _images_per_second(contestants: dict[str, Maps], batches: Sequence[Tensor]) -> dict[str, list[float]]:
    """Time each contestant in each turn, after one turn that does not count: the first allocates memory.

    They start from either end in turn, so that none is always the one after the slowest.
    """
    speeds: dict[str, list[float]] = {name: [] for name in contestants}
    for maps in contestants.values():
        maps(batches[0])
    gc.collect()
    gc.freeze()  # so that the collections below look at the contestants' leavings alone
    try:
        for turn, images in enumerate(batches):
            for name in list(contestants)[:: -1 if turn % 2 else 1]:
                gc.collect()  # graphs that go in circles, before the clock starts
                start = perf_counter()
                contestants[name](images)
                speeds[name].append(len(images) / (perf_counter() - start))
    finally:
        gc.unfreeze()
    return speeds


def _difference(contestants: dict[str, Maps], peer: Peer, images: Tensor) -> float:
    """Largest |ours − theirs| over the largest of theirs."""
    ours, theirs = contestants[OURS](images), contestants[peer.name](images)
    if peer.scaled:
        ours, theirs = _stretched(ours), _stretched(theirs)
    return float((ours - theirs).abs().max() / theirs.abs().max())


def _stretched(maps: Tensor) -> Tensor:
    low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
    return (maps - low) / torch.where(high > low, high - low, 1)
