"""Options of the preparation of a store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from radgaze.errors import UserError
from radgaze.options import Options, option


@dataclass(frozen=True)
class PrepareOptions(Options):
    """Options of the preparation of a store.

    Attributes:
        out: Folder of the store.
        size: Side of the square that each image is letterboxed to, in pixels.
        voi: Grey values of DICOM files: window, the first window of the file; or none, pixels divided by
            their maximum, as published.
        workers: Number of processes that read images; without it one per processor.
        engine: Read images on this machine, or on a Ray cluster whose machines have the images under the same
            paths.
        ray_address: Address of the cluster; without it one is started on this machine.
        overwrite: Replace an existing store.
        resume: Continue an interrupted preparation, or fail if that is impossible. Without it, the same
            command continues too, and a different command starts again.
        fitted: Whether the cohort's images and masks are `pixels.reference`s to squares of that size.

    Raises:
        UserError: A value is not allowed, or `ray_address` is given without `engine="ray"`.
    """

    out: str | Path = option(metavar="STORE")
    size: int = option(512, at_least=1, at_most=16384)
    voi: Literal["window", "none"] = "window"
    workers: int | None = option(None, at_least=1)
    engine: Literal["local", "ray"] = "local"
    ray_address: str | None = None
    overwrite: bool = False
    resume: bool = False
    fitted: bool = option(False, hidden=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ray_address is not None and self.engine != "ray":
            raise UserError("`ray_address` needs `engine=ray`")
