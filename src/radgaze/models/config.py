"""The settings of a network. Does not import torch, so that the command line starts quickly."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal

from radgaze.errors import shortened
from radgaze.models import factories, registry
from radgaze.models.scale import Scale
from radgaze.options import FieldError, check_choice, option
from radgaze.sections import Section, Value

OWN = "own"
"""Architecture of a network of the user."""

WITHOUT_GAZE = ("unet", "classifier")
"""The usual architectures, known to read no gaze without an import of torch."""

WIDEST = 8192
"""Largest side of images in pixels, and largest number of channels of a decoder."""

PROVIDED = ("mask", "class_maps")
"""Maps that a network may give besides its logits."""


@dataclass
class ModelConfig(Section):
    """The settings of a network.

    Attributes:
        architecture: "unet", classification head and mask decoder on one encoder; "classifier", without a
            decoder; "pylon", which computes a map of each class and its scores from them; "class_maps", the
            same from the encoder's last features alone; "stl", self-transfer learning, which adds a second
            classifier to "class_maps"; "unet_with_gaze", a U-Net whose inputs are image and gaze map;
            "temporal", whose inputs are image and gaze as a sequence, in prediction too;
            "temporal_image_only", the image branch of "temporal"; or "own", the network of `factory`.
        encoder: Name of an encoder of segmentation-models-pytorch. The temporal networks have a fixed
            encoder, "xraynet".
        weights: Initial weights of the encoder: "imagenet", "noisy-student", "none", "torchxrayvision:NAME",
            "hf:OWNER/NAME" of the hub of Hugging Face, or the path of a weights file (safetensors, or a state
            dict of torch); see docs/weights.md. The temporal networks have no pretrained weights.
        decoder_channels: Channels of the U-Net decoder's five stages, from the deepest.
        dropout: Dropout probability before the classifier's last layer, in networks with class maps for whole
            channels; in the temporal networks, before each embedding.
        drop_block: Share of the features that DropBlock sets to zero in front of the head of "unet" and
            "classifier" in training; 0 leaves it out.
        drop_block_size: Side of DropBlock's squares, in places of the features, odd.
        pylon_channels: Channels of PYLON's decoder.
        form: Form of the temporal networks: "honest", or "faithful", which also reproduces the peculiarities
            of the published code.
        frames: Content of one frame of "temporal": one "fixation", or a time bin of some "seconds".
        frame_seconds: Length of a time bin in seconds.
        most_frames: Maximum number of frames of a case; later frames are dropped, and training reports for
            how many cases. At 224×224 each frame takes about 12 MB in a training step.
        pooling: Pooling of each class's map to its score, in "class_maps" and "stl": "average" or "max".
        gaze_dropout: Probability with which "unet_with_gaze" gets an empty gaze map for a case in training.
            Above 0, the network can also be used without gaze.
        without_gaze: Whether "unet_with_gaze" always gets an empty gaze map, in training and in use.
        unfreeze: Number of the encoder's last blocks that are trained, or "all". Blocks are those of a plain
            transformer, and the stages of other encoders. With 0 the encoder stays as it is, which no
            experiment with a heatmap allows.
        lora_rank: Rank of trained additions to the linear layers of the encoder, whose own weights then stay
            as they are (LoRA, by the library peft); 0 for none.
        factory: Function that makes your own network, as "package.module:function"; docs/own_models.md says
            what it gets and what the network returns.
        options: Keyword arguments of the factory, by name.
        channels: Channels of the images that the encoder or your own network takes: 1, greys; 3, the greys
            three times; null follows the weights, and of your own network finds it by trying.
        normalisation: Grey values that the encoder gets: "auto", those that its initial weights were trained
            on; "imagenet", [0, 1] less ImageNet's mean, over its deviation; "torchxrayvision", one channel of
            [−1024, 1024]; "none", [0, 1]; or "given", by `mean`, `std` and `input_range`. Your own network
            gets ImageNet's with three channels, and none with one, unless it is set.
        mean: With normalisation "given": mean of each channel, one number or three.
        std: With normalisation "given": deviation of each channel.
        input_range: With normalisation "given": values of black and white before mean and deviation.
        weights_dir: Folder with files of torchxrayvision or of the hub; nothing is downloaded then.
        pretraining_ids: File with the ids of the images that the encoder's weights were pretrained on;
            reports count the test cases among them, see docs/weights.md.
        provides: Maps that your own network gives, "mask" or "class_maps"; found by trying.
        lacks: Heatmap generators that make no map of your own network; found by trying.
    """

    architecture: str = "unet"
    encoder: str = "timm-efficientnet-b0"
    weights: str = "imagenet"
    decoder_channels: tuple[int, int, int, int, int] = option(
        (256, 128, 64, 32, 16), at_least=1, at_most=WIDEST
    )
    dropout: float = option(0.5, at_least=0, below=1)
    pylon_channels: int = option(128, at_least=1, at_most=WIDEST)
    form: Literal["honest", "faithful"] = "honest"
    frames: Literal["fixation", "seconds"] = "fixation"
    frame_seconds: float = option(1.0, above=0)
    most_frames: int = option(64, at_least=1)
    pooling: Literal["average", "max"] = option("average", omitted=True)
    gaze_dropout: float = option(0.0, at_least=0, below=1, omitted=True)
    without_gaze: bool = option(False, omitted=True)
    drop_block: float = option(0.0, at_least=0, below=1, omitted=True)
    drop_block_size: int = option(7, at_least=1, omitted=True)
    unfreeze: int | Literal["all"] = option("all", omitted=True)
    lora_rank: int = option(0, at_least=0, at_most=1024, omitted=True)
    factory: str | None = option(None, omitted=True)
    options: dict[str, Value] = option({}, omitted=True)
    channels: int | None = option(None, at_least=1, at_most=3, omitted=True)
    normalisation: Literal["auto", "imagenet", "torchxrayvision", "none", "given"] = option(
        "auto", omitted=True
    )
    mean: tuple[float, ...] = option((), omitted=True)
    std: tuple[float, ...] = option((), omitted=True)
    input_range: tuple[float, float] = option((0.0, 1.0), omitted=True)
    weights_dir: str | None = option(None, omitted=True)
    pretraining_ids: str | None = option(None, omitted=True)
    provides: tuple[str, ...] = option((), omitted=True)
    lacks: tuple[str, ...] = option((), omitted=True)

    def __post_init__(self) -> None:
        if self.factory is not None and self.architecture != OWN:
            # Its own encoder and weights; an architecture of an experiment is replaced.
            if self.architecture not in WITHOUT_GAZE and self.network.reads_gaze:
                rule = f"takes images alone, and cannot stand in for {self.architecture}, which reads gaze"
                raise FieldError("factory", f"{rule}; take another experiment")
            self.architecture, self.encoder, self.weights = OWN, OWN, "none"
        for name in ("provides", "lacks", "mean", "std", "input_range"):
            setattr(self, name, tuple(getattr(self, name)))  # lists, as JSON has them
        super().__post_init__()

    def check(self) -> None:
        """Check the values.

        Raises:
            FieldError: A number is out of range, or there is no such architecture.
        """
        super().check()
        if self.drop_block_size % 2 == 0:
            raise FieldError("drop_block_size", f"must be odd, got {self.drop_block_size}")
        check_choice("architecture", self.architecture, registry.names())
        self._check_own()
        self._check_fine_tuning()
        self._check_input()
        if self.without_gaze and not self.network.gaze_map:
            raise FieldError("without_gaze", f"is for a model that reads a gaze map, not {self.architecture}")

    def _check_own(self) -> None:
        """Raise FieldError where the fields of an own network do not fit together."""
        if self.factory is None:
            if self.architecture == OWN:
                rule = 'is missing: architecture own is a network of yours, "package.module:function"'
                raise FieldError("factory", rule)
            for name in ("options", "provides", "lacks"):
                if getattr(self, name):
                    raise FieldError(name, "is for a network of your own; give `model.factory` too")
            return
        if self.factory != factories.GIVEN and not factories.NAME.fullmatch(self.factory):
            rule = f'must be "package.module:function", got {shortened(self.factory, 80)!r}'
            raise FieldError("factory", rule)
        for name in self.provides:
            check_choice("provides", name, PROVIDED)

    def _check_fine_tuning(self) -> None:
        """Raise FieldError where what is trained of the encoder does not fit together."""
        if self.unfreeze == "all" and not self.lora_rank:
            return
        name = "lora_rank" if self.lora_rank else "unfreeze"
        if self.unfreeze != "all":
            count: object = self.unfreeze  # of a file, it may be anything
            if not isinstance(count, int) or isinstance(count, bool) or count < 0:
                raise FieldError("unfreeze", f"must be a number of blocks or all, got {count}")
            if self.lora_rank:
                raise FieldError("unfreeze", "has no effect with `model.lora_rank`; leave one of them out")
        if self.network.reads_gaze:
            rule = f"keeps weights of the encoder, and {self.architecture} must learn to read gaze with them"
            raise FieldError(name, f"{rule}; leave it out")

    def _check_input(self) -> None:
        """Raise FieldError where the fields of the encoder's input do not fit together."""
        if self.channels not in (None, 1, 3):
            raise FieldError("channels", f"must be 1 or 3, got {self.channels}")
        if (self.normalisation == "given") != bool(self.mean or self.std):
            raise FieldError(
                "normalisation", "must be given where `model.mean` and `model.std` are, and only there"
            )
        if self.mean or self.std:
            try:
                Scale(self.mean, self.std, *self.input_range)
            except ValueError as error:
                raise FieldError(
                    "mean", f"with `model.std` and `model.input_range` cannot be used: {error}"
                ) from error
        fixed = self.architecture in ("temporal", "temporal_image_only")
        if fixed and (self.channels, self.normalisation) != (None, "auto"):
            raise FieldError(
                "normalisation", f"is for a model with a choice of encoders, not {self.architecture}"
            )

    @property
    def network(self) -> registry.Architecture:
        """The registered architecture."""
        architecture = registry.find(self.architecture)
        if self.factory is None:
            return architecture
        return replace(architecture, provides=self.provides, title=f"network of its user ({kind_of(self)})")

    @property
    def is_own(self) -> bool:
        """Whether it is a network of the user."""
        return self.factory is not None

    @property
    def has_mask(self) -> bool:
        """Whether it has a decoder."""
        return "mask" in self.network.provides

    @property
    def has_class_maps(self) -> bool:
        """Whether it computes a map of each class, which the generator `pylon` shows."""
        return "class_maps" in self.network.provides

    @property
    def reads_gaze(self) -> bool:
        """Whether gaze is part of its input, in training and in use."""
        return self.network.reads_gaze and not self.without_gaze

    @property
    def reads_frames(self) -> bool:
        """Whether it reads gaze as a sequence, whose length differs between cases."""
        return self.network.reads_gaze and not self.network.gaze_map

    @property
    def needs_gaze(self) -> bool:
        """Whether it cannot be used without gaze: it reads gaze, and was never trained on a case without."""
        return self.reads_gaze and not (self.network.gaze_map and self.gaze_dropout > 0)

    @property
    def tuning(self) -> str:
        """Which part of its encoder is trained, as the end of a clause; empty where all of it is."""
        if self.lora_rank:
            return f", with LoRA of rank {self.lora_rank}"
        if self.unfreeze == "all":
            return ""
        return f", its last {self.unfreeze} blocks trained" if self.unfreeze else ", which was not trained"

    @property
    def tells_its_sizes(self) -> bool:
        """Whether only the network, once it is made, can tell which sizes of images it takes."""
        return self.is_own or (self.encoder.startswith("tu-") and not self.has_own_encoder)

    @property
    def has_own_encoder(self) -> bool:
        """Whether it has an encoder of its own, so that `encoder` and `weights` have no effect."""
        return self.network.own_encoder is not None


class Given:
    """A network, or a function that makes one, given as an object; a copy of its settings has the same one.

    Args:
        network: The module or function.
    """

    def __init__(self, network: object) -> None:
        self.network = network

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Given) and other.network is self.network

    def __hash__(self) -> int:
        return id(self.network)

    def __deepcopy__(self, memo: object) -> Given:
        return self


@dataclass
class GivenModelConfig(ModelConfig):
    """The settings of a network that was given as an object in Python; a file leaves the object out.

    Attributes:
        given: The object.
    """

    given: Given | None = option(None, hidden=True)


def with_given(config: ModelConfig, network: object) -> GivenModelConfig:
    """The settings of an own network with the module, or the function that makes it, as an object."""
    values = {each.name: getattr(config, each.name) for each in fields(config)}
    return GivenModelConfig(**{**values, "given": Given(network)})


def given_of(config: ModelConfig) -> object | None:
    """The module or function with which settings were made; None where there is none."""
    given = config.given if isinstance(config, GivenModelConfig) else None
    return None if given is None else given.network


def kind_of(config: ModelConfig) -> str:
    """Name an own network: by its factory or, where it was given as an object, by its class or function."""
    if config.factory != factories.GIVEN:
        return str(config.factory)
    given = given_of(config)
    return "given as an object" if given is None else str(getattr(given, "__name__", type(given).__name__))


def own_in_words(config: ModelConfig) -> str:
    """Name an own network at the beginning of a message: the setting that the user gave, or the object."""
    if config.factory == factories.GIVEN:
        return f"your network ({kind_of(config)})"
    return f"`model.factory={config.factory}`"
