"""Options of `audit`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from radgaze.devices import check_device
from radgaze.methods import check_methods
from radgaze.options import Options, option

Split = Literal["test", "validate"]

PROBING = ("steps", "subsets", "share", "stages", "noise", "draws", "shift", "seed")
"""Options on which measurements depend: those made with different values are not mixed in one audit."""


@dataclass(frozen=True)
class AuditOptions(Options):
    """Extent and settings of an audit.

    Attributes:
        methods: Methods, separated by commas; or gradient, all that use the model's gradients or activations;
            or all, which takes much longer.
        split: Split of the cases.
        cases: Number of cases on which each method is run once, drawn with the seed.
        probed: Number of these cases for the aspects that run a method and the model many times, such as
            faithfulness; a verdict needs at least 20 patients.
        passes: Maximum number of forward passes that a gradient method averages over for one map; 0 for the
            number of its preset.
        steps: Number of steps of the deletion and insertion curves.
        subsets: Number of sets of pixels of sensitivity-n.
        share: Size of such a set, as a share of all pixels; at least one pixel, and not all.
        stages: Number of layers at which weights are randomised, in either kind of randomisation.
        noise: Standard deviation of the noise, in units of the image's range.
        draws: Number of noisy copies of an image.
        shift: Distance by which an image is shifted, as a share of its side; at least one pixel.
        resamples: Number of bootstrap resamples.
        seed: Seed of everything that is random, methods included.
        device: Device: auto (default), a GPU if there is one; cpu; cuda, or one of several such as cuda:1; or
            mps.
        batch_size: Number of cases in a batch.
    """

    methods: tuple[str, ...] = option(("gradient",), comma=True, check=check_methods)
    split: Split = "test"
    cases: int = option(100, at_least=1)
    probed: int = option(20, at_least=1)
    passes: int = option(4, at_least=0)
    steps: int = option(8, at_least=1)
    subsets: int = option(8, at_least=1, hidden=True)
    share: float = option(0.1, above=0, below=1, hidden=True)
    stages: int = option(4, at_least=1)
    noise: float = option(0.02, at_least=0, hidden=True)
    draws: int = option(2, at_least=1, hidden=True)
    shift: float = option(0.02, above=0, below=1, hidden=True)
    resamples: int = option(2000, at_least=1, at_most=1_000_000)
    seed: int = option(0, at_least=0, at_most=2**32 - 1)
    device: str = option("auto", check=check_device)
    batch_size: int = option(16, at_least=1, hidden=True)

    def probing(self) -> dict[str, int | float]:
        """Return the options of `PROBING` by name."""
        return {name: getattr(self, name) for name in PROBING}
