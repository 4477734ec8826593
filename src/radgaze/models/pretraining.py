"""Published weights that saw MIMIC-CXR before a run, or did not. Does not import torch.

egd-cxr, REFLACX and GazeSearch are images of MIMIC-CXR: weights that were pretrained on it may have seen the
test cases, and weights that learned its labels may know the answers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Pretraining:
    """Record of what published weights saw of MIMIC-CXR.

    Attributes:
        pattern: Regular expression of the whole setting `model.weights`, without the folder of a path.
        name: Name of the weights.
        images: Whether they were trained on its images; None where that is not confirmed.
        labels: Whether they were trained on its labels or reports; None where that is not confirmed.
        source: What says so, or what is missing.
    """

    pattern: str
    name: str
    images: bool | None
    labels: bool | None
    source: str


_XRV = "the data sets in the name of torchxrayvision's file"
_MODELS = "the comparison of foundation models of arXiv 2505.10823"

REGISTRY: Sequence[Pretraining] = (
    Pretraining(
        "torchxrayvision:densenet121-res224-(all|mimic_nb|mimic_ch)",
        "DenseNet-121 of torchxrayvision",
        True,
        True,
        _XRV,
    ),
    Pretraining(
        "torchxrayvision:densenet121-res224-(rsna|nih|pc|chex)",
        "DenseNet-121 of torchxrayvision",
        False,
        False,
        _XRV,
    ),
    Pretraining("hf:[^/]+/rad-dino(:.*)?", "RAD-DINO", True, False, "its list training_images.csv"),
    Pretraining(
        r"(?i)hf:[^/]+/eva_?x.*|.*eva_?x_.*merged520k.*",
        "EVA-X",
        None,
        None,
        "said to be among its images, which has not been confirmed",
    ),
    Pretraining(
        r"(?i)(hf:[^/]+/)?ark([+_-]?plus|6|\+)?([:_.-].*)?",
        "Ark, Ark+",
        True,
        True,
        "the comparison of encoders of arXiv 2511.09742",
    ),
    Pretraining("(?i)hf:[^/]+/medsiglip.*", "MedSigLIP", True, None, _MODELS),
    Pretraining("(?i)hf:[^/]+/medimageinsights?.*", "MedImageInsight", True, None, _MODELS),
    Pretraining("(?i)hf:[^/]+/cxr-foundation.*", "CXR-Foundation (ELIXR)", True, None, _MODELS),
    Pretraining("(?i)hf:[^/]+/chexagent.*", "CheXagent", True, None, "its data set CheXinstruct"),
    Pretraining(
        "(?i)hf:[^/]+/biomedclip.*",
        "BiomedCLIP",
        None,
        None,
        "said to be figures of PubMed Central alone, which has not been confirmed",
    ),
    Pretraining("imagenet", "ImageNet", False, False, "photographs"),
    Pretraining(
        "noisy-student",
        "Noisy Student",
        False,
        False,
        "photographs of ImageNet and JFT-300M, collected before MIMIC-CXR was published in 2019",
    ),
)
"""The weights that are known here, the first that fits."""

_PHOTOGRAPHS = re.compile(r"in(1k|12k|21k|22k)([._]|$)")
"""Tags of timm's weights that saw ImageNet."""
_WIDER = re.compile(r"laion|clip|webli|lvd|merged|m38m|ig\d|ig1b|ssl|yfcc|swag|datacomp|dinov[23]")
"""Tags of those that saw other images as well, which nobody has listed."""


def pretraining_of(weights: str, encoder: str, tag: str | None = None) -> Pretraining | None:
    """Return what the weights of a run saw; None where they are random, or not known here.

    Args:
        weights: The setting `model.weights`.
        encoder: The setting `model.encoder`; timm's names may end with the tag of their weights.
        tag: Tag of timm's usual weights of the encoder, for a name without one.
    """
    named = weights if ":" in weights else re.split(r"[/\\]", weights)[-1]
    if named == "imagenet" and encoder.startswith("tu-"):
        tag = encoder.partition(".")[2] or tag or ""
        if _WIDER.search(tag) or not _PHOTOGRAPHS.search(tag):
            return None
        named = "noisy-student" if "jft" in tag else named
    return next((each for each in REGISTRY if re.fullmatch(each.pattern, named)), None)
