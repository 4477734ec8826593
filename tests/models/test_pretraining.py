"""Weights that are known to have seen MIMIC-CXR are found, and no more is said than is known."""

from __future__ import annotations

import re

import pytest

from radgaze.models.pretraining import REGISTRY, pretraining_of
from radgaze.models.weight_sources import XRV_FILES


@pytest.mark.parametrize("name", XRV_FILES)
def test_weights_of_torchxrayvision_saw_mimic_where_their_file_names_it(name: str) -> None:
    found = pretraining_of(f"torchxrayvision:{name}", "densenet121")
    assert found is not None
    assert found.images is found.labels is ("mimic" in XRV_FILES[name])


@pytest.mark.parametrize(
    ("weights", "encoder", "images", "labels"),
    [
        ("hf:microsoft/rad-dino", "tu-vit_base_patch14_dinov2", True, False),
        ("hf:microsoft/rad-dino:model.safetensors", "tu-vit_base_patch14_dinov2", True, False),
        ("hf:MapleF/eva_x", "tu-eva02_tiny_patch14_224", None, None),
        ("weights/eva_x_tiny_patch16_merged520k_mim.pt", "tu-eva02_tiny_patch14_224", None, None),
        ("weights/ark6_teacher.pth.tar", "tu-swin_base_patch4_window7_224", True, True),
        ("imagenet", "resnet18", False, False),
        ("imagenet", "tu-vit_base_patch16_224.augreg_in21k_ft_in1k", False, False),
        ("imagenet", "tu-convnext_atto.d2_in1k", False, False),
        ("noisy-student", "timm-efficientnet-b0", False, False),
        ("imagenet", "tu-tf_efficientnet_b0.ns_jft_in1k", False, False),
    ],
)
def test_known_weights(weights: str, encoder: str, images: bool | None, labels: bool | None) -> None:
    found = pretraining_of(weights, encoder)
    assert found is not None
    assert (found.images, found.labels) == (images, labels)
    assert found.source


@pytest.mark.parametrize(
    ("weights", "encoder"),
    [
        ("none", "resnet18"),
        ("/data/mine.safetensors", "resnet18"),
        ("hf:lab/xray", "resnet18"),
        (
            "hf:lab/rad-dino-maira-2",
            "tu-vit_base_patch14_dinov2",
        ),
        ("imagenet", "tu-vit_base_patch16_clip_224.laion2b_ft_in1k"),
        ("imagenet", "tu-vit_base_patch14_dinov2.lvd142m"),
        ("imagenet", "tu-vit_base_patch14_dinov2"),
        ("/data/market.pt", "resnet18"),
    ],
)
def test_other_weights_are_not_known(weights: str, encoder: str) -> None:
    assert pretraining_of(weights, encoder) is None


def test_the_tag_of_timms_usual_weights_counts_for_a_name_without_one() -> None:
    assert pretraining_of("imagenet", "tu-resnet18", "a1_in1k") is not None
    assert pretraining_of("imagenet", "tu-vit_base_patch14_dinov2", "lvd142m") is None


def test_each_entry_has_a_source_and_a_pattern() -> None:
    for each in REGISTRY:
        re.compile(each.pattern)
        assert each.source
        assert each.name
