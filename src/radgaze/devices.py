"""The device on which a model runs. Importing this does not import torch."""

from __future__ import annotations

import re

from radgaze.errors import UserError, shortened

DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")

HELP = "device: auto (default), a GPU if there is one; cpu; cuda, or one of several such as cuda:1; or mps"
"""Help of the option of verbs whose other options are fields of a configuration."""


def check_device(value: object) -> None:
    """Check that a value is the name of a device, whether it is there or not.

    Raises:
        UserError: It is not.
    """
    if not isinstance(value, str) or not DEVICE.fullmatch(value):
        raise UserError(
            f"`device` must be auto, cpu, cuda, cuda:1 and the like, or mps, got {shortened(str(value))}"
        )


def usable_device(device: str) -> str:
    """Check that a device can be used, and choose one for "auto".

    Raises:
        UserError: The device is not available here.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch raises either for a missing device
        raise UserError(f"`device={device}` is not available here; cpu and auto always are") from error
    return device


def of_trainer(device: str) -> dict[str, object]:
    """Settings of a configuration's trainer that train on a device.

    Raises:
        UserError: There is no such name.
    """
    check_device(device)
    kind, _, number = device.partition(":")
    if device == "auto":
        return {}
    if kind == "cpu":
        return {"accelerator": kind}
    return {"accelerator": kind, "devices": f"{number}," if number else 1}


def given_by_device(device: str) -> dict[str, object]:
    """Settings of a configuration that make several trainings use a kind of device, one each.

    Raises:
        UserError: There is no such name, or it names one device.
    """
    check_device(device)
    kind, _, number = device.partition(":")
    if number:
        raise UserError(
            f"`device={device}`: each training gets a device of its own; give `device={kind}`, and choose "
            "among devices with the environment variable CUDA_VISIBLE_DEVICES"
        )
    return {} if kind == "auto" else {"trainer": {"accelerator": kind}}
