"""Names of the methods of making heatmaps, for a mistake to be told before torch is imported.

`radgaze.attribution` registers the methods; a test compares the names.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path

from radgaze.errors import UserError, close_to, shortened

METHODS = (
    *("backprop", "input_x_gradient", "deconvnet", "guided_backprop"),
    *("cam", "grad_cam", "grad_cam_positive", "grad_cam_pp", "hires_cam", "layer_cam"),
    *("attention", "attention_rollout", "relevance"),
    *("guided_grad_cam", "smooth_grad", "guided_smooth_grad", "integrated_gradients"),
    *("deep_lift", "occlusion", "lime", "pylon"),
)
"""The methods of radgaze; each but guided_smooth_grad is the name of a generator, too."""

GROUPS = ("all", "gradient")
"""Names of groups of methods, see `attribution.choose`."""


def check_methods(value: object) -> None:
    """Check that each of several names is one of a method, or of a group of methods.

    Raises:
        UserError: One of them is neither.
    """
    offered = (*GROUPS, *METHODS, *_added(), *_registered("PRESETS"))
    for name in value if isinstance(value, (tuple, list)) else (value,):
        if name not in offered:
            raise UserError(
                f"there is no method {shortened(str(name))!r}; there are {', '.join(dict.fromkeys(offered))}"
                f"{close_to(str(name), offered)}"
            )


def generators() -> tuple[str, ...]:
    """Names of the generators, with those that plugins registered."""
    of_radgaze = (name for name in METHODS if name != "guided_smooth_grad")
    return tuple(dict.fromkeys((*of_radgaze, *_added(), *_registered("REGISTRY"))))


@cache
def _added() -> tuple[str, ...]:
    """Names that stand in the modules of generators and not in `METHODS`: of one that was added there."""
    folder = Path(__file__).parent / "attribution" / "generators"
    texts = (path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py")))
    named = (name for text in texts for name in re.findall(r'^@register\(\s*"(\w+)"', text, re.M))
    return tuple(name for name in named if name not in METHODS)


def _registered(registry: str) -> tuple[str, ...]:
    """Names that are registered, if the registry was imported, as a plugin that has one imports it."""
    return tuple(getattr(sys.modules.get("radgaze.attribution.registry"), registry, ()))
