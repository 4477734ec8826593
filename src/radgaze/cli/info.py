"""`radgaze info`: the versions, devices and extras of this installation."""

from __future__ import annotations

from argparse import Namespace

from radgaze.cli.parser import Parser

HELP = (
    "List the versions of radgaze, Python and the libraries that figures depend on, the devices that "
    "training can use, and the extras that are installed: what a bug report needs. It holds no path and no "
    "name of the machine."
)
EXAMPLE = "radgaze info"

LIBRARIES = (
    *("torch", "torchvision", "lightning", "segmentation-models-pytorch", "timm", "numpy", "scipy", "polars"),
    *("pydicom", "imagecodecs", "scikit-image", "captum", "optuna"),
)
"""Libraries whose versions are listed."""


def add_arguments(parser: Parser) -> None:
    del parser


def run(args: Namespace) -> int:
    import platform

    from radgaze.console import put
    from radgaze.version import __version__

    del args
    rows = {"radgaze": __version__, "Python": platform.python_version()}
    rows["system"] = f"{platform.system()} {platform.machine()}"
    rows |= {name: _installed(name) for name in LIBRARIES}
    rows |= {f"extra {name}": ", ".join(parts) for name, parts in _extras().items()}
    rows |= _devices()
    width = max(map(len, rows))
    for name, value in rows.items():
        put(f"{name:<{width}}  {value}")
    return 0


def _installed(name: str) -> str:
    """The version of a library."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _extras() -> dict[str, list[str]]:
    """The libraries of each extra, with their versions."""
    import re
    from importlib.metadata import requires

    extras: dict[str, list[str]] = {}
    for text in requires("radgaze") or []:
        needed = re.fullmatch(r"([\w.-]+).*extra == ['\"](\w+)['\"].*", text)
        if needed is not None:
            name, extra = needed.groups()
            extras.setdefault(extra, []).append(f"{name} {_installed(name)}")
    return extras


def _devices() -> dict[str, str]:
    """The processor's threads, and each GPU with its memory."""
    import torch

    devices = {"cpu": f"{torch.get_num_threads()} threads"}
    for k in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(k)
        devices[f"cuda:{k}"] = f"{about.name}, {about.total_memory / 2**30:.0f} GiB"
    return devices if len(devices) > 1 else devices | {"cuda": "not available"}
