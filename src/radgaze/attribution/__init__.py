"""Heatmap generators to train through: exact parameter gradients, one forward pass, any activation.

generator = attribution.create("guided_backprop", model)
heat = generator(images, target=1)                    # (B, 1, H, W) in [0, 1], detached

with generator.reading(model) as read:                # inside a training step
    output = model(images)
    heat = read(output.logits, targets)               # differentiable
"""

from radgaze.attribution import cam, class_maps, composed, post_hoc  # noqa: F401 - registers theirs
from radgaze.attribution.generators import Generator, create, methods, names, options, register
from radgaze.attribution.memory import keep_freed_memory
from radgaze.attribution.synchronised import synchronised

__all__ = [
    "Generator",
    "create",
    "keep_freed_memory",
    "methods",
    "names",
    "options",
    "register",
    "synchronised",
]
