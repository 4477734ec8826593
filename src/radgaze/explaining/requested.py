"""Find the images to explain: files, and cases of a run's store. Does not import torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from radgaze.errors import UserError, call, shortened
from radgaze.runs.run import Run


@dataclass(frozen=True)
class Requested:
    """One image to explain.

    Attributes:
        name: Name of its folder: for a file image-001 and so on, since the file's name may identify the
            patient; for a case its id, with "_" for special characters.
        path: Path of the file; None for a case.
        case_id: Id of the case; None for a file.
    """

    name: str
    path: Path | None = None
    case_id: str | None = None


def find(images: Sequence[str], run: Run, *, keep_names: bool = False) -> list[Requested]:
    """Find the images that paths and case ids name.

    Args:
        images: Paths of files and folders, and ids of cases of the run's store. A folder stands for all files
            in it and its subfolders, in order, except hidden files.
        run: The run.
        keep_names: Whether files keep their own names, rather than numbers.

    Returns:
        The files, and then the cases, each in the given order; a repeated case counts once.

    Raises:
        UserError: There is no such file, folder or case, or two images have the same name.
    """
    case_ids: set[str] | None = None
    files, cases = list[Path](), list[str]()
    for word in images:
        path = Path(word)
        # os.path: for a word that is too long for a path, as a case id may be, it returns false.
        if os.path.isfile(word):  # noqa: PTH113
            files.append(path)
        elif os.path.isdir(word):  # noqa: PTH112
            inside = sorted(p for p in path.rglob("*") if p.is_file() and not _hidden(p, path))
            if not inside:
                raise UserError(f"{word}: there is no file in this folder")
            files += inside
        else:
            case_ids = set(run.store.cases["case_id"]) if case_ids is None else case_ids
            if word not in case_ids:
                data = run.config.data
                raise UserError(
                    f"{shortened(word)}: no such file or folder, and no case of {data}; "
                    f"{call('inspect', data)} shows some of its cases"
                )
            cases.append(word)
    digits = max(3, len(str(len(files))))
    requested = [
        Requested(path.name.split(".")[0] if keep_names else f"image-{k:0{digits}d}", path)
        for k, path in enumerate(files, 1)
    ]
    requested += [Requested(_folder(case), case_id=case) for case in dict.fromkeys(cases)]
    names = [each.name for each in requested]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"two images are called {twice[0]}; without `keep_names` they are numbered")
    return requested


def _hidden(path: Path, below: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(below).parts)


def _folder(case_id: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in case_id).lstrip(".") or "case"
