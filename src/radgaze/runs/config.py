"""The configuration of a run, as typed sections.

Does not import torch, so that the command line can show it quickly.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from radgaze.models.config import ModelConfig, kind_of
from radgaze.objectives.config import HeatmapConfig, Keep, ObjectiveConfig, Partner
from radgaze.options import FieldError, check_choice, option
from radgaze.runs import short
from radgaze.sections import Section

ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
PRECISIONS = ("auto", "32-true", "32", "16-mixed", "bf16-mixed")
"""Supported precisions of Lightning. Others would convert a batch's fixations and boxes to fewer bits."""

STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true")
"""Supported strategies of Lightning. Others may write elsewhere, shard layers that heatmaps need, or train in
processes whose callbacks, such as the one that knows the best epoch, do not come back to this one."""

SELECTED_ON_TEST = (
    "The epoch was chosen by the AUC on the test cases, as the paper's code did: the figures are too high, "
    "and say nothing of other patients."
)


@dataclass
class InputConfig(Section):
    """The input images of the network.

    Attributes:
        size: Side of the square image in pixels: a multiple of 32, or of the patch for a plain transformer;
            your own network says itself which sizes it takes.
        fit: "stretch" changes the aspect ratio (as the paper did), "pad" keeps it.
        augment: Augment training data: shift, rotate and scale image and fixations together, and change the
            brightness.
        cache: Keep the resized images in memory: true, false, or "auto": true if they need less than a
            quarter of the free memory. If false, they are read from the disk when needed.
    """

    size: int = option(224, at_least=32, at_most=8192)
    fit: Literal["stretch", "pad"] = "stretch"
    augment: bool = False
    cache: bool | Literal["auto"] = "auto"


@dataclass
class GazeConfig(Section):
    """The settings of gaze maps, see `radgaze.gaze.GazeMaps`.

    Attributes:
        weight: A fixation's weight: its "duration", its "count" (1), or "reference", for maps as published
            with the data set.
        sigma: Standard deviation of the Gaussian, in `unit`.
        unit: Unit of `sigma`: "pixels" of the original image, "degrees", or "share" of its long side.
        pixels_per_degree: Pixels of the original image in one degree of visual angle, if `unit` is "degrees";
            null uses the value recorded with each fixation, which a store may lack.
        boxes: Use of boxes, ellipses and masks for cases without gaze: "attention" uses them as the gaze map,
            smoothed by the same Gaussian; "ignore" does not. A region named after a class is used for that
            class only; regions of organs are never used.
        per: Gaze that a heatmap is compared with in training: that of the whole case ("case"), or, where a
            report mentions the class that the heatmap explains, that of this class ("class").
        control: What stands in for the gaze on a case in training, to tell what a run owes to it; evaluation
            uses the gaze itself. "shuffled", the gaze on a case of another patient, "shuffled_in_class", the
            same with the same classes; "mean", the mean gaze of the training cases; "lungs", the shape of the
            lungs; "uniform", a constant map; "box", the boxes and masks of the case's findings. Cases without
            gaze stay without.
    """

    weight: Literal["duration", "count", "reference"] = "duration"
    sigma: float = option(0.05, above=0)
    unit: Literal["pixels", "degrees", "share"] = "share"
    pixels_per_degree: float | None = option(None, above=0)
    boxes: Literal["ignore", "attention"] = "ignore"
    per: Literal["case", "class"] = option("case", omitted=True)
    control: Literal["none", "shuffled", "shuffled_in_class", "mean", "lungs", "uniform", "box"] = option(
        "none", omitted=True
    )

    def check(self) -> None:
        """Check the values.

        Raises:
            FieldError: A number is out of range, or weight and unit do not fit together.
        """
        super().check()
        if self.weight == "reference" and self.unit == "degrees" and self.pixels_per_degree is None:
            raise FieldError("unit", "must be pixels or share where the weight is reference, got degrees")


_PARTNERS = {"any": "", "other_class": " of another class", "same_class": " of the same class"}


@dataclass
class CounterfactualConfig(Section):
    """Training images whose surroundings are replaced, so that nothing can be learned from them.

    What lies outside of a region is replaced before the network sees an image, and its heatmap is made of
    that image. Images of validation and test cases are never changed. See docs/counterfactual.md.

    Attributes:
        kind: Replacement: "none" changes no image; "exchange" takes the pixels of another patient's case at
            the same place; "fill" the mean grey of the image; "noise" uniform noise between its darkest and
            brightest grey; and "blur" the image blurred by a tenth of its side.
        share: Share of the training images that are changed, others in each epoch.
        region: Region that stays: where the "gaze" map is high, the "boxes" or the "masks" of findings, or
            the "lungs", a fixed shape where the store lacks masks of both. A case without a region stays as
            it is.
        threshold: Share of the gaze map's maximum from which a pixel belongs to the region.
        dilation: Width by which the region grows on all sides, as a share of the image's side.
        feather: Width of the border outside of the region in which the replacement sets in, as a share of the
            side; 0 for a sharp edge.
        keep: What stays with "exchange": the case's "own" region, or "both", also its pixels in the region of
            its partner, so that none of those come in.
        partner: Case whose pixels "exchange" takes: "any" of the batch of all devices, or one of
            "other_class" (no class in common) or "same_class" (the same labels). Without one in the batch the
            image stays as it is.
    """

    kind: Literal["none", "exchange", "fill", "noise", "blur"] = "none"
    share: float = option(1.0, above=0, at_most=1)
    region: Literal["gaze", "boxes", "masks", "lungs"] = "gaze"
    threshold: float = option(0.1, above=0, at_most=1)
    dilation: float = option(0.0, at_least=0, at_most=0.5)
    feather: float = option(0.0, at_least=0, at_most=0.5)
    keep: Keep = "both"
    partner: Partner = "any"

    @property
    def uses_gaze(self) -> bool:
        """Whether the images that are trained on depend on gaze."""
        return self.kind != "none" and self.region == "gaze"

    @property
    def uses_lungs(self) -> bool:
        """Whether the images that are trained on depend on the lungs."""
        return self.kind != "none" and self.region == "lungs"

    @property
    def summary(self) -> str:
        """Description of the changed images as a sentence; empty where none are changed."""
        if self.kind == "none":
            return ""
        region = {
            "gaze": f"the places where the gaze map is at least {self.threshold:g} of its maximum",
            "boxes": "its boxes",
            "masks": "its masks of findings",
            "lungs": "the lungs",
        }[self.region]
        other = {
            "exchange": f"another patient's{_PARTNERS[self.partner]}",
            "fill": "its mean grey",
            "noise": "noise",
            "blur": "the blurred image",
        }[self.kind]
        whole = "each training image" if self.share == 1 else f"{self.share:.0%} of the training images"
        both = ", but for the region of that one" if self.kind == "exchange" and self.keep == "both" else ""
        return f"In {whole}, the pixels outside of {region} were replaced by {other}{both}."


@dataclass
class SplitConfig(Section):
    """The split into training, validation and test cases, by patient.

    Attributes:
        kind: "store", as prepared; "published", that of the published baselines, for a store that was
            prepared with it; "stratified", 80/10/10 of the patients with even class shares; or "folds", of
            which one is the test set, and about an eighth of the others (a tenth of all cases) the validation
            set.
        seed: Random seed of the kinds "stratified" and "folds"; None uses the seed of the run.
        folds: Number of folds of the kind "folds".
        fold: Index of the test fold, from 0.
    """

    kind: Literal["store", "published", "stratified", "folds"] = "store"
    seed: int | None = option(None, at_least=0, at_most=2**32 - 1)
    folds: int = 5
    fold: int = 0

    def check(self) -> None:
        """Check the values.

        Raises:
            FieldError: A value is not allowed, or there is no such fold.
        """
        super().check()
        if self.kind != "folds":
            return
        if self.folds < 2:
            raise FieldError("folds", f"must be at least 2, got {self.folds}")
        if not 0 <= self.fold < self.folds:
            raise FieldError("fold", f"must be from 0 to {self.folds - 1}, got {self.fold}")

    def check_used(self) -> None:
        """Check that no field is set that the kind of split ignores.

        Not a part of `check`, so that runs whose configuration holds such a field can be read.

        Raises:
            FieldError: There is such a field.
        """
        drawn = ("stratified", "folds")
        for name, kinds in (("fold", drawn[1:]), ("folds", drawn[1:]), ("seed", drawn)):
            value = getattr(self, name)
            if value != getattr(SplitConfig, name) and self.kind not in kinds:
                needed = f"needs `split.kind={' or '.join(kinds)}`, got {self.kind}"
                raise FieldError(name, f"{needed}: set that, or leave out `split.{name}={value}`")


@dataclass
class OptimisationConfig(Section):
    """The optimiser, its schedule and its batches.

    Attributes:
        optimiser: Optimiser, "adamw" or "adam".
        learning_rate: Peak learning rate.
        weight_decay: Weight decay of AdamW; biases and norms have none.
        layer_decay: Factor of the learning rate from each block of the encoder to the one in front of it;
            with 1 all have the same. Pretrained transformers are often trained with 0.65 to 0.9.
        batch_size: Number of cases in a step on each device: two devices train like one with twice the batch
            size.
        gaze_fraction: Share of each batch that is drawn from the cases with gaze, for data in which most
            cases have none; an epoch is then one pass over the cases without gaze, and cases with gaze are
            repeated as needed. None shuffles all cases together.
        last_batch: Handling of the cases that remain after the full batches of an epoch: "drop" omits them,
            different ones in each epoch; "keep" puts them in a smaller batch (as the paper did), if there are
            at least two for each device and no `gaze_fraction`.
        schedule: "cosine" after a linear warm-up, or "triangular2" per epoch (as the paper did): its
            multiplier peaks at 1, halves each cycle, and its floor is the learning rate itself.
        warmup_epochs: Length of the warm-up of the cosine schedule, in epochs; may be a fraction.
        step_epochs: Length of half a cycle of triangular2, in epochs.
        clip: Gradient clipping: "norm", "value" or "none".
        clip_at: Norm or value at which gradients are clipped.
    """

    optimiser: Literal["adamw", "adam"] = "adamw"
    learning_rate: float = option(1e-3, above=0)
    weight_decay: float = option(0.05, at_least=0)
    layer_decay: float = option(1.0, above=0, at_most=1, omitted=True)
    batch_size: int = option(32, at_least=1)
    gaze_fraction: float | None = option(None, above=0, below=1)
    last_batch: Literal["drop", "keep"] = "drop"
    schedule: Literal["cosine", "triangular2"] = "cosine"
    warmup_epochs: float = option(2.0, at_least=0)
    step_epochs: int = option(2, at_least=1)
    clip: Literal["norm", "value", "none"] = "norm"
    clip_at: float = option(1.0, above=0)


@dataclass
class TrainerConfig(Section):
    """Arguments of Lightning's Trainer.

    Attributes:
        max_epochs: Maximum number of epochs.
        patience: Epochs without a better validation AUC after which training stops; 0 never stops early.
        workers: Number of processes that load data; the result does not depend on it.
        accelerator: Accelerator: "auto", a GPU of CUDA if there is one and otherwise the CPU; "cpu"; "cuda"
            or "gpu"; or "mps".
        devices: Number of devices on each machine, or "auto", all GPUs or one CPU process. Several devices
            share each batch and synchronise batch normalisation, so that the result is that of one device
            with the whole batch, except for rounding, and for dropout, which each device draws by itself.
        num_nodes: Number of machines.
        strategy: Strategy of Lightning; "auto" is "ddp" if there are several devices. Under SLURM or torchrun
            the processes that these start are used; otherwise `radgaze train` starts the processes.
        precision: Precision of Lightning; "auto" uses bfloat16 if the device supports it, otherwise 32 bits.
        logger: Logger, which writes into the run's folder: "tensorboard", "csv", "mlflow" (files in mlruns,
            without a server), "wandb" (offline) or "none". mlflow and wandb are extras. history.csv is
            written with any.
        keep_checkpoints: Checkpoints to keep: the "best" and the last, or "all" epochs.
    """

    max_epochs: int = option(35, at_least=1)
    patience: int = option(10, at_least=0)
    workers: int = option(0, at_least=0)
    accelerator: str = "auto"
    devices: int | str = "auto"
    num_nodes: int = option(1, at_least=1)
    strategy: str = "auto"
    precision: str = "auto"
    logger: Literal["tensorboard", "csv", "mlflow", "wandb", "none"] = "tensorboard"
    keep_checkpoints: Literal["best", "all"] = "best"

    def check(self) -> None:
        """Check the values.

        Raises:
            FieldError: A number is out of range, or a name is not one that runs can be trained with.
        """
        super().check()
        check_choice("accelerator", self.accelerator, ACCELERATORS)
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("strategy", self.strategy, STRATEGIES)


@dataclass
class Config(Section):
    """The resolved configuration of a run, the content of `RUN/config.yaml`.

    Attributes:
        experiment: Name of the experiment that supplies the defaults.
        protocol: "honest" (ours) or "faithful" (the paper's optimiser, schedule, clipping, epochs and maps);
            docs/protocols.md lists where it differs from the published code.
        data: Folder of the prepared store.
        seed: Random seed; one seed gives one result on one machine.
        selection: Split whose AUC selects the epoch. The paper's code used "test"; the figures of such a run
            are too high, and each of its tables and pages says so.
        split: Split into training, validation and test cases.
        model: Network.
        input: Input images of the network.
        gaze: Settings of gaze maps.
        counterfactual: Training images whose surroundings are replaced.
        objective: Loss and maps that are learned.
        optimisation: Optimiser, schedule and batches.
        trainer: Arguments of Lightning's Trainer.
        plugins: Modules from outside of radgaze that the settings need, see docs/plugins.md. They are written
            by the training, and never imported for being named here.
    """

    experiment: str = "baseline"
    protocol: Literal["honest", "faithful"] = "honest"
    data: str = ""
    seed: int = option(42, at_least=0, at_most=2**32 - 1)
    selection: Literal["validate", "test"] = "validate"
    split: SplitConfig = field(default_factory=SplitConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    input: InputConfig = field(default_factory=InputConfig)
    gaze: GazeConfig = field(default_factory=GazeConfig)
    counterfactual: CounterfactualConfig = option(CounterfactualConfig(), omitted=True)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optimisation: OptimisationConfig = field(default_factory=OptimisationConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    plugins: list[str] = option([], omitted=True)

    def __repr__(self) -> str:
        """Show what differs from the defaults, as YAML; `settings.to_dict` has all."""
        return short.text(self, kind_of(self.model) if self.model.is_own else None)

    def check(self) -> None:
        """Check the values of all sections, and that they fit together.

        Raises:
            FieldError: A value is not allowed, or does not fit one of another section.
        """
        super().check()
        # A network of timm or of the user is made first: it may have patches of 14 px.
        if self.input.size % 32 and not self.model.tells_its_sizes:
            rule = f"must be a multiple of 32, as the encoders need it, got {self.input.size}"
            raise FieldError("input.size", rule)
        goal = self.objective
        _check_size("heatmap", goal.heatmap, self.input.size)
        for name, heatmap in goal.heatmaps.items():
            _check_size(f"heatmaps.{name}", heatmap, self.input.size)


def _check_size(name: str, heatmap: HeatmapConfig, size: int) -> None:
    """Check that a heatmap of images of a size can be pooled and made coarser as its settings say."""
    if heatmap.match == "pool":
        if heatmap.cells > size:
            rule = f"must be at most the {size} px of an image, got {heatmap.cells}"
            raise FieldError(f"objective.{name}.cells", rule)
        size = heatmap.cells
    if max(heatmap.scales) > size:
        rule = f"must be at most {size}: a map of {size} px cannot be made coarser than that"
        raise FieldError(f"objective.{name}.scales", f"{rule}, got {list(heatmap.scales)}")
