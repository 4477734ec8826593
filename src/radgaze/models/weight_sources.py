"""Places of the initial weights that `model.weights` names, and what is stated there about their input.

Weights of torchxrayvision are taken from its files; the library is neither imported nor needed, since its
DenseNet is torchvision's with one input channel. Weights of the hub of Hugging Face come through
huggingface_hub, which timm and segmentation-models-pytorch use too, and follow its environment variables
(HF_HOME, HF_HUB_OFFLINE). With `model.weights_dir` nothing is looked for elsewhere, nor downloaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from radgaze.errors import UserError, close_to
from radgaze.files import read_json
from radgaze.models.hub import cached_if_unreachable
from radgaze.models.scale import NAMED, Scale

PUBLISHED = ("imagenet", "noisy-student")
XRV, HUB = "torchxrayvision:", "hf:"
"""Beginnings of the names of weights."""

_DENSENET = "-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt"
XRV_FILES = {
    "densenet121-res224-all": f"nih-pc-chex-mimic_ch-google-openi-kaggle{_DENSENET}",
    "densenet121-res224-nih": f"nih{_DENSENET}",
    "densenet121-res224-pc": f"pc{_DENSENET}",
    "densenet121-res224-chex": f"chex{_DENSENET}",
    "densenet121-res224-rsna": f"kaggle{_DENSENET}",
    "densenet121-res224-mimic_nb": f"mimic_nb{_DENSENET}",
    "densenet121-res224-mimic_ch": f"mimic_ch{_DENSENET}",
}
"""Files of torchxrayvision by the name that the library gives to their weights."""

HUB_FILES = (
    "model.safetensors",
    "open_clip_model.safetensors",
    "pytorch_model.bin",
    "open_clip_pytorch_model.bin",
)
"""Files of weights in a repository of the hub, the first that there is."""
STATED = ("preprocessor_config.json", "config.json", "open_clip_config.json")
"""Files beside weights that may state their input, in the order in which they are read."""

Kind = Literal["none", "published", "torchxrayvision", "hub", "file"]


@dataclass(frozen=True)
class Source:
    """The weights that a setting names.

    Attributes:
        kind: Kind of the place.
        name: Name of the weights there: of torchxrayvision, OWNER/NAME in the hub, or a path.
        file: File in a repository of the hub; None for the usual one.
    """

    kind: Kind
    name: str
    file: str | None = None


def source_of(weights: str) -> Source:
    """Read the setting `model.weights`.

    Raises:
        UserError: There are no such weights of torchxrayvision, or the name of a repository is malformed.
    """
    if weights == "none":
        return Source("none", weights)
    if weights in PUBLISHED:
        return Source("published", weights)
    if weights.startswith(XRV):
        name = weights.removeprefix(XRV)
        if name not in XRV_FILES:
            raise UserError(
                f"`model.weights={weights[:80]}`: torchxrayvision has no such weights of a DenseNet-121; "
                f"there are {', '.join(XRV_FILES)}{close_to(name, XRV_FILES)}"
            )
        return Source("torchxrayvision", name)
    if weights.startswith(HUB):
        match = re.fullmatch(r"([\w.-]+/[\w.-]+)(?::([\w./-]+))?", weights.removeprefix(HUB))
        if match is None or ".." in weights:
            raise UserError(f"`model.weights={weights[:80]}` must be hf:OWNER/NAME or hf:OWNER/NAME:FILE")
        return Source("hub", match[1], match[2])
    return Source("file", weights)


def is_path(weights: str) -> bool:
    """Whether the setting `model.weights` names a file or folder, and no published weights."""
    return weights not in ("none", *PUBLISHED) and not weights.startswith((XRV, HUB))


def located(source: Source, folder: str | None) -> Path:
    """Find the file of weights, which is downloaded from the hub if it is not on this machine.

    Args:
        source: Weights of torchxrayvision, of the hub, or a path.
        folder: Folder of files of torchxrayvision and of the hub, `model.weights_dir`; None for the caches of
            these libraries.

    Raises:
        UserError: There is no such file.
    """
    if source.kind == "torchxrayvision":
        return _of_torchxrayvision(source.name, folder)
    if source.kind == "hub":
        return _of_hub(source, folder)
    path = Path(source.name).expanduser()
    if path.is_dir() and (file := next((path / name for name in HUB_FILES if (path / name).is_file()), None)):
        return file
    if not path.is_file():
        raise UserError(
            "`model.weights` must be a file, imagenet, noisy-student, torchxrayvision:NAME, hf:OWNER/NAME or "
            f"none; there is no file {source.name}"
        )
    return path


def _of_torchxrayvision(name: str, folder: str | None) -> Path:
    import torch

    usual = (Path.home() / ".torchxrayvision" / "models_data", Path(torch.hub.get_dir()) / "checkpoints")
    places = usual if folder is None else (Path(folder).expanduser(),)
    names = (f"{name}.safetensors", f"{name}.pt", XRV_FILES[name])
    for place in places:
        for each in names:
            if (place / each).is_file():
                return place / each
    raise UserError(
        f"the weights torchxrayvision:{name} are not in {' or '.join(map(str, places))}, and radgaze does "
        f"not download them: put {XRV_FILES[name]} there, which the library fetches into its own cache "
        f"(torchxrayvision.models.DenseNet(weights={name!r})), or name its folder with `model.weights_dir`"
    )


def _of_hub(source: Source, folder: str | None) -> Path:
    names = HUB_FILES if source.file is None else (source.file,)
    if folder is not None:
        for place in _copies(source.name, folder):
            for name in names:
                if (place / name).is_file():
                    return place / name
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    why = ""
    for name in names:
        try:
            with cached_if_unreachable():
                return Path(
                    hf_hub_download(source.name, name, cache_dir=folder, local_files_only=folder is not None)
                )
        except LocalEntryNotFoundError:
            why = why or "not there, and not downloaded"
        except EntryNotFoundError:
            why = why or "the repository has no such file"
        except Exception as error:  # the client's own, of its transport, and those of the disk
            why = why or type(error).__name__
    raise UserError(
        f"the weights hf:{source.name} ({', '.join(names)}) are not available in "
        f"{folder or constants.HF_HUB_CACHE} ({why}); copy the repository's files into a folder and name it "
        "with `model.weights_dir`, or set HF_HOME to a cache that holds them"
    )


def _copies(repository: str, folder: str) -> Iterator[Path]:
    """The folders in which a copy of a repository's files may lie."""
    root = Path(folder).expanduser()
    yield root / repository
    yield root / repository.partition("/")[2]
    yield root


def stated_input(source: Source, file: Path, folder: str | None) -> tuple[Scale, str] | None:
    """Read what the files beside weights state about their input.

    Returns:
        The scale, and the name of the file that states it; None where none does.

    Raises:
        UserError: A file is damaged.
    """
    for name in STATED:
        path = file.parent / name
        if source.kind == "hub" and folder is None and not path.is_file():
            path = _fetched(source.name, name)
        if path.is_file():
            content = read_json(path, lambda value: isinstance(value, dict), "fetch it again")
            if (scale := stated_scale(content)) is not None:
                return scale, name
    return None


def _fetched(repository: str, name: str) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        with cached_if_unreachable():
            return Path(hf_hub_download(repository, name))
    except Exception:  # it may have none, or there is no network: the input is then assumed, and this is said
        return Path()


def stated_scale(content: Mapping[str, object]) -> Scale | None:
    """Read the input from a configuration of transformers, timm or OpenCLIP; None where it states none.

    Raises:
        UserError: The numbers are no mean and deviation.
    """
    inner = content
    for name in ("pretrained_cfg", "preprocess_cfg", "model"):  # of timm, OpenCLIP and radgaze
        part = content.get(name)
        inner = part if isinstance(part, Mapping) else inner
    named = next((scale for name, scale in NAMED.items() if name == inner.get("normalisation")), None)
    if named is not None:
        channels = inner.get("channels")
        return named.with_channels(channels if channels in (1, 3) else named.channels)
    mean, std = (inner.get(f"image_{name}", inner.get(name)) for name in ("mean", "std"))
    span = inner.get("input_range") or (0.0, 1.0)
    low, high = (float(each) for each in span) if isinstance(span, list | tuple) else (0.0, 1.0)
    if "image_mean" in inner or "do_rescale" in inner:
        factor = inner.get("rescale_factor", 1 / 255)
        scaled = inner.get("do_rescale", True)
        high = 255 * float(factor) if scaled and isinstance(factor, int | float) else 1.0 if scaled else 255.0
        high = 1.0 if abs(high - 1) < 1e-6 else high
        if not inner.get("do_normalize", True):
            mean, std = [0.0] * 3, [1.0] * 3
    if not isinstance(mean, list) or not isinstance(std, list):
        return None
    try:
        return Scale(tuple(map(float, mean)), tuple(map(float, std)), low, high)
    except (TypeError, ValueError) as error:
        raise UserError(f"mean and deviation stated with the weights cannot be used: {error}") from error
