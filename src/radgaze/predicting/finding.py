"""Find the images that words name: files, folders of files, and cases of a run's store.

Does not import torch.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from radgaze.console import note
from radgaze.errors import UserError, call, shortened
from radgaze.predicting.options import NamedBy
from radgaze.runs.run import Run
from radgaze.words import count

_NUMBERED = re.compile(r"image-\d{3,}")


@dataclass(frozen=True)
class Requested:
    """One image.

    Attributes:
        name: Name of the image in the output: for a file image-001 and so on, since the file's name may
            identify the patient, unless names are asked for; for a case its id, with "_" for special
            characters where it names a folder.
        path: Path of the file; None for a case.
        case_id: Id of the case; None for a file.
    """

    name: str
    path: Path | None = None
    case_id: str | None = None


def find(images: Sequence[str], run: Run, *, named_by: NamedBy = "number", first: int = 1) -> list[Requested]:
    """Find the images that paths and case ids name.

    Args:
        images: Paths of files and folders, and ids of cases of the run's store. A folder stands for the
            images in it and its subfolders, in order, except hidden files.
        run: The run.
        named_by: Names of files: a number; the file's name, without dots that it begins with and what follows
            the next one, else "image"; or the path.
        first: Number of the first file.

    Returns:
        The images, in the given order.

    Raises:
        UserError: There is no such file, folder or case, or no image in a folder.
    """
    case_ids: set[str] | None = None
    places = list[Path | str]()
    for word in images:
        # os.path: for a word that is too long for a path, as a case id may be, it returns false.
        if os.path.isfile(word):  # noqa: PTH113
            places.append(Path(word))
        elif os.path.isdir(word):  # noqa: PTH112
            places += _images_of(Path(word))
        else:
            case_ids = set(run.store.cases["case_id"]) if case_ids is None else case_ids
            if word not in case_ids:
                data = run.config.data
                raise UserError(
                    f"{shortened(word)}: no such file or folder, and no case of {data}; "
                    f"{call('inspect', data)} shows some of its cases"
                )
            places.append(word)
    files = sum(isinstance(place, Path) for place in places)
    digits, requested = max(3, len(str(first + files - 1))), list[Requested]()
    for place in places:
        if isinstance(place, Path):
            plain = place.name.lstrip(".").split(".")[0] or "image"  # a folder is called so: never ""
            names = {"number": f"image-{first:0{digits}d}", "file": plain}
            requested.append(Requested(_in_utf8(names.get(named_by, str(place))), place))
            first += 1
        else:
            requested.append(Requested(place, case_id=place))
    return requested


def replaced(names: Iterable[str], out: Path) -> set[str]:
    """Names of the folders of images in `out` that new results replace.

    These are the given ones and, where one of them is a number, all numbered ones: a number means another
    file in each call, so that one that is left would pass for a file of the next call.

    Args:
        names: Names of the images whose results are written next.
        out: Folder with a folder for each image.
    """
    given = set(names)
    if any(_NUMBERED.fullmatch(name) for name in given) and out.is_dir():
        given |= {path.name for path in out.iterdir() if _NUMBERED.fullmatch(path.name) and path.is_dir()}
    return given


def _images_of(folder: Path) -> list[Path]:
    """The images in a folder and its subfolders; other files are named to the user, and passed over."""
    from radgaze.dicom.image import may_be_image  # with pydicom, which a mistake need not wait for

    inside = sorted(p for p in folder.rglob("*") if p.is_file() and not _hidden(p, folder))
    images = [path for path in inside if may_be_image(path)]
    if not images:
        held = count(len(inside), "file") if inside else "no file"
        raise UserError(f"{folder}: there is no image in this folder, which has {held}")
    others = sorted(set(inside) - set(images))
    if others:
        names = ", ".join(shortened(str(path.relative_to(folder)), 60) for path in others[:3])
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        note(f"{folder}: {count(len(others), 'file')} passed over, being no image: {names}{more}")
    return images


def _in_utf8(name: str) -> str:
    """A name as a table can hold it, and a terminal shows it: a byte that is not UTF-8, as on old shares, is
    a text such as \\udcfc."""
    return name.encode("utf-8", "backslashreplace").decode()


def _hidden(path: Path, below: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(below).parts)
