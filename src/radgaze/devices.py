"""Where models run."""

from __future__ import annotations

import torch

from radgaze.errors import UserError


def usable_device(device: str) -> str:
    """The device, for "auto" the best there is.

    Raises:
        UserError: There is no such device here.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch raises either for a device that is not there
        raise UserError(f"--device {device} cannot be used here; cpu and auto always can") from error
    return device
