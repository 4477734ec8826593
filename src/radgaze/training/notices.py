"""Notices about a store and a model, shown before a run is trained."""

from __future__ import annotations

from collections.abc import Iterator

from radgaze.models.config import ModelConfig, kind_of
from radgaze.models.temporal import frames_of
from radgaze.runs.config import Config
from radgaze.store.dataset import GazeDataset
from radgaze.store.store import Store


def of_store(config: Config, store: Store) -> Iterator[str]:
    """Yield notices about a store, opened with the run's split, a sentence each."""
    if len(store.classes) == 1:
        yield (
            f"{store.path} has one class, {store.classes[0]}: a case has it or not "
            "(`objective.classification=sigmoid`)"
        )
    elif not store.exclusive:
        yield (
            f"The {len(store.classes)} classes of {store.path} do not exclude each other: each is learned "
            "separately (`objective.classification=sigmoid`)"
        )
    for split, names in store.classes_without_cases().items():
        use = {"train": "learned", "validate": "chosen by", "test": "tested"}[split]
        yield f"Note: no {split} case has the class {', '.join(names)}: it is not {use}"
    if config.protocol == "faithful" and store.manifest["parameters"].get("voi", "none") != "none":
        yield (
            f"Note: the images of {store.path} went through their DICOM window; the paper's did not: "
            "`radgaze prepare` with the option voi=none makes a store like theirs"
        )


def of_model(config: ModelConfig, cases: GazeDataset) -> Iterator[str]:
    """Yield notices about settings that a model does not use, and gaze that it will not see."""
    if config.is_own:
        yield from _of_own(config)
        return
    fixed_encoder = config.network.own_encoder
    if fixed_encoder is not None and config.encoder != fixed_encoder:
        yield f"{config.architecture} has its own encoder; `model.encoder={config.encoder}` is not used"
    if config.reads_frames:
        frames = frames_of(config)
        counts, most = cases.frame_counts(frames), frames.most
        cut = int((counts > most).sum())
        if cut:
            yield (
                f"{cut} of {len(cases)} training cases have more than {most} frames of gaze, up to"
                f" {int(counts.max())}; the later ones are left out (`model.most_frames`)"
            )


def _of_own(config: ModelConfig) -> Iterator[str]:
    """Yield what an own network takes and gives, and the heatmaps that cannot be made of it."""
    images = "grey images in [0, 1]" if config.channels == 1 else "three channels, as ImageNet's images"
    gives = " and ".join(["logits", *(name.replace("_", " ") for name in config.provides)])
    yield f"Your own network ({kind_of(config)}) takes {images}, and gives {gives}"
    if config.lacks:
        why = (
            "for Grad-CAM and the like it must pool or flatten feature maps (B, K, h, w) for its scores, and "
            "for guided back-propagation and deconvNet it must have activations"
        )
        yield f"Note: no heatmap of it can be made by {', '.join(config.lacks)}: {why}"
