"""Everything a run is made of, as typed configuration.

Free of torch, so that the command line can show it quickly.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from radgaze.models.config import ModelConfig
from radgaze.objectives.config import ObjectiveConfig

SELECTED_ON_TEST = (
    "The epoch was chosen by the AUC on the test cases, as the paper's code did: the figures are too high, "
    "and say nothing of other patients."
)


@dataclass
class InputConfig:
    """What the network sees.

    Attributes:
        size: Side of the square image in pixels, a multiple of 32.
        fit: "stretch" loses the aspect (the seed's), "pad" keeps it.
        augment: Move, turn, scale and relight image and fixations together while training.
        cache: Keep the resized images in memory: true, false, or "auto", where they take less than a quarter
            of what is free. Without it they are read from the disk as they are needed.
    """

    size: int = 224
    fit: Literal["stretch", "pad"] = "stretch"
    augment: bool = False
    cache: bool | Literal["auto"] = "auto"


@dataclass
class GazeConfig:
    """How fixations become a gaze map.

    Attributes:
        weight: A fixation's weight: its "duration", its "count" (1), or "reference", the map as the data
            set's authors made it.
        sigma: Deviation of the Gaussian.
        unit: Unit of `sigma`: "pixels" of the original image, "degrees", or "share" of its long side.
        pixels_per_degree: Pixels of the original image in one degree, where `unit` is "degrees".
        boxes: Whether boxes, ellipses and masks of a case without gaze take its place: "attention", softened
            by the same Gaussian, or "ignore". One named like a class counts for that class alone; those of
            organs never.
    """

    weight: Literal["duration", "count", "reference"] = "duration"
    sigma: float = 0.05
    unit: Literal["pixels", "degrees", "share"] = "share"
    pixels_per_degree: float | None = None
    boxes: Literal["ignore", "attention"] = "ignore"


@dataclass
class SplitConfig:
    """Who trains, who validates and who tests; always whole patients.

    Attributes:
        kind: "store", as prepared; "published", the baselines', of a store that was prepared with it;
            "stratified", 80/10/10 of the patients with even class shares; or "folds", of which one tests,
            and an eighth of the rest or so (a tenth of all) validates.
        seed: Of the draw; None takes the run's.
        folds: How many folds.
        fold: Which of them tests, from 0.
    """

    kind: Literal["store", "published", "stratified", "folds"] = "store"
    seed: int | None = None
    folds: int = 5
    fold: int = 0


@dataclass
class OptimisationConfig:
    """How the weights are found.

    Attributes:
        optimiser: "adamw" or "adam".
        learning_rate: Peak learning rate.
        weight_decay: Of AdamW, not laid on biases and norms.
        batch_size: Cases in a step, on each device: two devices train as one does with twice as many.
        gaze_fraction: Share of each batch that is drawn from the cases with gaze, where most have none; an
            epoch is then one pass over the cases without, and those with gaze return as often as they must.
            None shuffles all cases alike.
        last_batch: Of the cases that are left over after the epoch's whole batches: "drop" leaves them out,
            others in each epoch; "keep" makes a smaller batch of them (the seed's), where there are two at
            least for each device and no `gaze_fraction`.
        schedule: "cosine" after a linear warm-up, or "triangular2" per epoch (the seed's): its multiplier
            peaks at 1, halves each cycle, and its floor is the learning rate itself.
        warmup_epochs: Of the cosine schedule; may be a fraction.
        step_epochs: Half a cycle of triangular2.
        clip: Gradient clipping: "norm", "value" or "none".
        clip_at: Where gradients are clipped.
    """

    optimiser: Literal["adamw", "adam"] = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    batch_size: int = 32
    gaze_fraction: float | None = None
    last_batch: Literal["drop", "keep"] = "drop"
    schedule: Literal["cosine", "triangular2"] = "cosine"
    warmup_epochs: float = 2.0
    step_epochs: int = 2
    clip: Literal["norm", "value", "none"] = "norm"
    clip_at: float = 1.0


@dataclass
class TrainerConfig:
    """How and where training runs; what Lightning's Trainer is given.

    Attributes:
        max_epochs: Epochs at most.
        patience: Epochs without a better validation AUC after which training stops; 0 never stops early.
        workers: Processes that load data; the result does not depend on it.
        accelerator: "auto", "cpu" or "gpu".
        devices: Number of devices on each machine, or "auto", all GPUs or one CPU process. Several share each
            batch, take batch norm's statistics together, and give the result of one with their whole batch.
        num_nodes: Machines.
        strategy: Lightning's; "auto" is "ddp" where there are several devices. Under SLURM or torchrun their
            processes are used, else `radgaze train` starts the others by itself.
        precision: "auto" takes bfloat16 where the device has it, else 32 bits; or Lightning's own words.
        logger: "tensorboard" or "none".
        keep_checkpoints: The "best" and the last epoch's, or "all" epochs'.
    """

    max_epochs: int = 35
    patience: int = 10
    workers: int = 0
    accelerator: str = "auto"
    devices: int | str = "auto"
    num_nodes: int = 1
    strategy: str = "auto"
    precision: str = "auto"
    logger: Literal["tensorboard", "none"] = "tensorboard"
    keep_checkpoints: Literal["best", "all"] = "best"


@dataclass
class Config:
    """One run, resolved: what `RUN/config.yaml` holds.

    Attributes:
        experiment: Name of the experiment it started from.
        protocol: "honest" (ours) or "faithful" (the paper's optimiser, schedule, clipping, epochs and maps);
            docs/protocols.md lists where it differs from the published code.
        data: The prepared store.
        seed: One seed gives one result on one machine.
        selection: The split whose AUC chooses the epoch. "test" is what the paper's code did; figures of such
            a run are too high, and every table and page of it says so.
        split: Who trains, validates and tests.
        model: The network.
        input: What it sees.
        gaze: How fixations become gaze maps.
        objective: What is learned.
        optimisation: How the weights are found.
        trainer: How and where training runs.
    """

    experiment: str = "baseline"
    protocol: Literal["honest", "faithful"] = "honest"
    data: str = ""
    seed: int = 42
    selection: Literal["validate", "test"] = "validate"
    split: SplitConfig = field(default_factory=SplitConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    input: InputConfig = field(default_factory=InputConfig)
    gaze: GazeConfig = field(default_factory=GazeConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optimisation: OptimisationConfig = field(default_factory=OptimisationConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
