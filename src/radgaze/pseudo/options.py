"""Options of `radgaze pseudo`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from radgaze.devices import check_device
from radgaze.options import FieldError, Options, changed, option

MASK, GAZE = "mask", "gaze"
"""Maps that are not a heatmap: the decoder's mask, and the gaze map of a case."""

INSIDE, OUTSIDE = 0.30, 0.05
"""Shares of a map's maximum: IRNet is trained on pixels above the first or below the second, and not on those
between, as implemented in its authors' code (`conf_fg_thres`, `conf_bg_thres`)."""

NORMAL = ("Normal", "No finding")

EXPLAINED = 0.67
"""Share of a map's maximum from which a place is explained, as implemented in the code of Ross et al. 2017
(`largest_gradient_mask`)."""

OF_IRNET = ("seed", "epochs", "surely_inside", "surely_outside")

Refine = Literal["none", "grabcut", "irnet"]


@dataclass(frozen=True)
class PseudoOptions(Options):
    """How maps become masks of a store.

    Attributes:
        out: Folder of the copy of the run's store, with the masks.
        marking: What the masks mark: findings, each true class of a case, for another run to learn from; or
            explained, the places on which the predicted probability depends most, for another run to avoid
            (experiment rrr_another). Masks of explained places add up over runs, and gaze and other marks are
            kept.
        methods: Map that the masks are made of: a heatmap generator, mask (of the decoder), or gaze (the gaze
            map of each case that has gaze); by default the heatmap that the run was trained with, and
            backprop for explained places. A case whose map is empty, or below the threshold everywhere,
            gets no mask and stays as it is.
        threshold: Share of a map's maximum, or value of the decoder's mask, at or above which a pixel is
            inside (default: 0.2, as in the three-stage method of Viniavskyi et al. 2020; 0.5 for the mask;
            0.67 for explained places, as in the code of Ross et al. 2017).
        refine: Refinement of the maps: none; grabcut, segmentation of each image alone by its grey values and
            edges (Rother et al. 2004); or irnet, propagation of each map up to object boundaries that a
            network learns from all maps (Ahn et al. 2019).
        only_positive: Leave out the classes named in `normal`: their cases get no mask and stay as they are.
        normal: Names of the classes without a finding.
        validation: Also mark the validation cases; without it only training cases are marked. Test cases are
            never marked.
        keep_gaze: Keep the gaze of marked cases. Without it their gaze is removed, as training with
            gaze.boxes=attention uses masks only for cases without gaze.
        keep_marks: Keep the boxes and masks of findings that marked cases have; without it they are removed.
            Boxes and masks of organs are always kept.
        device: Device: auto (default), a GPU if there is one; cpu; cuda, or one of several such as cuda:1; or
            mps.
        seed: Random seed of irnet.
        batch_size: Number of cases in a batch.
        epochs: Number of epochs in which irnet learns from the maps.
        surely_inside: Share of a map's maximum, or value of the decoder's mask, above which irnet learns that
            a pixel is inside.
        surely_outside: The same, below which irnet learns that a pixel is outside.
    """

    out: str | Path = option(metavar="STORE")
    marking: Literal["findings", "explained"] = "findings"
    methods: str | None = None
    threshold: float | None = option(None, above=0, at_most=1)
    refine: Refine = "none"
    only_positive: bool = False
    normal: tuple[str, ...] = option(NORMAL, comma=True)
    validation: bool = False
    keep_gaze: bool = False
    keep_marks: bool = False
    device: str = option("auto", check=check_device)
    seed: int = option(0, at_least=0, at_most=2**32 - 1)
    batch_size: int = option(16, at_least=1, hidden=True)
    epochs: int = option(10, at_least=1)
    surely_inside: float = option(INSIDE, above=0, below=1)
    surely_outside: float = option(OUTSIDE, above=0, below=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.surely_outside >= self.surely_inside:
            raise FieldError(
                "surely_outside",
                f"must be below `surely_inside={self.surely_inside:g}`, got {self.surely_outside:g}",
            )
        if self.explained:
            self._check_explained()
        if self.refine != "irnet" and (unused := changed(self, OF_IRNET)):
            raise FieldError(unused[0], "needs `refine=irnet`, the refinement by a network")
        if not self.only_positive and changed(self, ("normal",)):
            raise FieldError("normal", "needs `only_positive`, which leaves out the classes that it names")

    def _check_explained(self) -> None:
        if self.methods in (MASK, GAZE):
            raise FieldError(
                "methods", f"must be a heatmap generator with `marking=explained`, got {self.methods}"
            )
        for name, allowed in (("refine", "none"), ("only_positive", False)):
            if getattr(self, name) != allowed:
                raise FieldError(name, "cannot be used with `marking=explained`: it is for masks of findings")

    @property
    def explained(self) -> bool:
        """Whether the masks mark what the run used."""
        return self.marking == "explained"

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits whose cases are marked."""
        return ("train", "validate") if self.validation else ("train",)

    @property
    def level(self) -> float:
        """The threshold, also where it is the default."""
        if self.threshold is not None:
            return self.threshold
        if self.explained:
            return EXPLAINED
        return 0.5 if self.methods == MASK else 0.2
