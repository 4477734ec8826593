"""What is explained: image files and cases of a run's store, found, read and made what the model sees."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from radgaze import models
from radgaze.console import say
from radgaze.dicom.error import DicomError
from radgaze.dicom.isolate import isolated
from radgaze.errors import UserError, shortened
from radgaze.runs.data import batches
from radgaze.runs.run import Run
from radgaze.store.dataset import GazeDataset
from radgaze.store.pixels import Fitted, read_and_fit
from radgaze.store.placement import Fit, Frame
from radgaze.store.store import Store

SIZE = 512  # the square of `radgaze prepare`, where the store is not at hand


@dataclass(frozen=True)
class Asked:
    """One image that was asked for.

    Attributes:
        name: Its folder's: image-001 and so on, since a file's name may tell who the patient is, or the
            case's id.
        path: The file, or None for a case.
        case_id: The case, or None for a file.
    """

    name: str
    path: Path | None = None
    case_id: str | None = None


@dataclass(frozen=True)
class Subject:
    """One image as the model sees it.

    Attributes:
        name: See `Asked`.
        image: (1, S, S) grey in [0, 1].
        also: What the model is called with after the image, (1, …) each.
        rows, columns: Of the original image.
        gaze: (S, S) its gaze map, where it is a case with gaze.
        truth: Its classes, where it is a case.
        case_id: Where it is a case.
        frame: Where the original lies on its square.
        fit: How the square became the image.
    """

    name: str
    image: Tensor
    also: tuple[Tensor, ...]
    gaze: NDArray[np.float32] | None
    truth: tuple[str, ...] | None
    case_id: str | None
    frame: Frame
    fit: Fit


def find(images: Sequence[str], run: Run, *, keep_names: bool = False) -> list[Asked]:
    """What the words of a command line name: files, folders of files, and cases of the run's store.

    Args:
        images: Paths and case ids. A folder stands for all files in it and below, in order, hidden ones left
            out.
        run: The run.
        keep_names: Call files by their own names instead of a number.

    Raises:
        UserError: Something is neither; or two have one name.
    """
    known: set[str] | None = None
    files, cases = list[Path](), list[str]()
    for word in images:
        path = Path(word)
        # os.path: a word that is too long for a path, as a case id may be, is none, and no error.
        if os.path.isfile(word):  # noqa: PTH113
            files.append(path)
        elif os.path.isdir(word):  # noqa: PTH112
            inside = sorted(p for p in path.rglob("*") if p.is_file() and not _hidden(p, path))
            if not inside:
                raise UserError(f"{word}: there is no file in this folder")
            files += inside
        else:
            known = set(run.store.cases["case_id"]) if known is None else known
            if word not in known:
                raise UserError(
                    f"{shortened(word)}: no such file or folder, and no case of {run.config.data}; "
                    "`radgaze inspect` shows some of its cases"
                )
            cases.append(word)
    digits = max(3, len(str(len(files))))
    asked = [
        Asked(path.name.split(".")[0] if keep_names else f"image-{k:0{digits}d}", path)
        for k, path in enumerate(files, 1)
    ]
    asked += [Asked(_folder(case), case_id=case) for case in dict.fromkeys(cases)]
    names = [a.name for a in asked]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"two images are called {twice[0]}: leave --keep-names out, and they are numbered")
    return asked


def read(asked: Sequence[Asked], run: Run, model: nn.Module) -> Iterator[Subject | tuple[Asked, str]]:
    """Read what was asked for; files in worker processes, which a broken one cannot take the run with.

    Yields:
        Each subject in order, or what could not be read, with the reason.

    Raises:
        UserError: The model reads gaze, which a file has none of.
    """
    files = [a for a in asked if a.path is not None]
    if files and run.config.model.reads_gaze:
        raise UserError(
            f"the model of {run.path} reads gaze along with the radiograph, and files have none: name "
            f"cases of its store, {run.config.data}"
        )
    yield from _read_files(files, run)
    yield from _read_cases([a for a in asked if a.case_id is not None], run, model)


def _read_files(files: Sequence[Asked], run: Run) -> Iterator[Subject | tuple[Asked, str]]:
    if not files:
        return
    side, voi = _as_prepared(run)
    paths = [str(a.path) for a in files]
    waiting: dict[int, Fitted | DicomError] = {}
    ready = isolated(partial(read_and_fit, size=side, voi=voi), paths)
    for k, asked in enumerate(files):
        while k not in waiting:
            place, result = next(ready)
            waiting[place] = result
        found = waiting.pop(k)
        if isinstance(found, DicomError):
            yield asked, str(found)
            continue
        frame = Frame(found.rows, found.columns, side)
        pixels = frame.resized(found.pixels, run.config.input.fit, run.config.input.size)
        image = torch.from_numpy(pixels).unsqueeze(0).float() / 255
        yield Subject(asked.name, image, (), None, None, None, frame, run.config.input.fit)


def _read_cases(cases: Sequence[Asked], run: Run, model: nn.Module) -> Iterator[Subject]:
    if not cases:
        return
    store = run.store
    ids = [str(a.case_id) for a in cases]
    table = store.cases.select("case_id", "rows", "columns")
    shapes = {case_id: (rows, columns) for case_id, rows, columns in table.iter_rows()}
    for asked, batch in zip(cases, batches(_all_cases(run, store), 1, ids), strict=True):
        image, *also = models.inputs(model, batch)
        has = batch.label[0].tolist()
        rows, columns = shapes[asked.case_id]
        yield Subject(
            asked.name,
            image[0],
            tuple(also),
            batch.gaze_maps()[0, 0].numpy() if bool(batch.has_gaze[0]) else None,
            tuple(name for name, there in zip(store.classes, has, strict=True) if there),
            asked.case_id,
            Frame(rows, columns, store.size),
            run.config.input.fit,
        )


def _all_cases(run: Run, store: Store) -> GazeDataset:
    seen = run.dataset("test")
    return GazeDataset(store, None, size=seen.size, fit=seen.fit, gaze=seen.gaze)


def _as_prepared(run: Run) -> tuple[int, Literal["window", "none"]]:
    """How the run's store read its images."""
    try:
        store = run.store
    except UserError:
        say(
            f"The store of {run.path} is not here: images are read as `radgaze prepare` does by default "
            f"(--size {SIZE} --voi window)"
        )
        return SIZE, "window"
    return store.size, store.voi


def _hidden(path: Path, below: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(below).parts)


def _folder(case_id: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in case_id).lstrip(".") or "case"
