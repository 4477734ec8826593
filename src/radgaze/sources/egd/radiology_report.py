"""The dictated reports of egd-cxr: the pieces of each transcript, with their times."""

from __future__ import annotations

import math
from pathlib import Path

from radgaze.errors import UserError
from radgaze.files import read_json
from radgaze.sources.dictation.transcript import Word
from radgaze.sources.egd.files import TRANSCRIPTS


def read_words(folder: Path, case_id: str) -> list[Word] | None:
    """Read the pieces of a case's transcript, most of them single words; None without a transcript.

    Times are since the image came up, as those of fixations are [inferred].

    Args:
        folder: Folder of egd-cxr.
        case_id: Id of the image.

    Raises:
        UserError: The transcript is malformed.
    """
    path = folder / TRANSCRIPTS / case_id / "transcript.json"
    if not path.is_file():
        return None
    transcript = read_json(
        path,
        lambda content: isinstance(content, dict),
        "it is no transcript with phrases; restore the file of egd-cxr",
    )
    try:
        pieces = [
            Word(str(piece["phrase"]), float(piece["begin_time"]), float(piece["end_time"]))
            for piece in transcript["time_stamped_text"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no transcript with phrases and their times") from error
    if not all(math.isfinite(piece.begin) and piece.end >= piece.begin for piece in pieces):
        raise UserError(f"{path} has a phrase that does not end after its begin")
    return pieces
