"""Heatmap generators to train through: exact parameter gradients, one forward pass, any activation.

generator = attribution.create("guided_backprop", model)
heat = generator(images, target=1)                    # (B, 1, H, W) in [0, 1], detached

with generator.capture(model) as read:                # inside a training step
    output = model(images)
    heat = read(output.logits, targets)               # differentiable
"""

# Each module registers its generators; this is the order in which methods are shown.
from radgaze.attribution.generators import gradients, cam, attention, composed, post_hoc, class_maps  # noqa: F401, I001
from radgaze.attribution.engine.capture import Capture
from radgaze.attribution.generator import Generator
from radgaze.attribution.memory import keep_freed_memory
from radgaze.attribution.registry import (
    PRESETS,
    Preset,
    choose,
    create,
    methods,
    names,
    options,
    presets,
    register,
)
from radgaze.attribution.engine.sync_batch_norm import synchronised
from radgaze.attribution.together import shared, together

__all__ = [
    "PRESETS",
    "Capture",
    "Generator",
    "Preset",
    "choose",
    "create",
    "keep_freed_memory",
    "methods",
    "names",
    "options",
    "presets",
    "register",
    "shared",
    "synchronised",
    "together",
]
