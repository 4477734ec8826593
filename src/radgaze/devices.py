"""The device on which a model runs."""

from __future__ import annotations

import torch

from radgaze.errors import UserError


def usable_device(device: str) -> str:
    """Check that a device can be used, and choose one for "auto".

    Raises:
        UserError: The device is not available here.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch raises either for a missing device
        raise UserError(f"`device={device}` is not available here; cpu and auto always are") from error
    return device
