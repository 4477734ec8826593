"""Words to a radiologist when a file cannot be shown: what is wrong, and what to do."""

from __future__ import annotations

from dataclasses import dataclass

from radgaze.dicom.error import DicomError


class RefusedError(Exception):
    """A request that cannot be met. Neither part holds a path, a file's name or data of a patient.

    Attributes:
        status: Status of the response.
        reason: Short and stable code.
        wrong: What is wrong, in words.
        advice: What to do.
    """

    def __init__(self, status: int, reason: str, wrong: str, advice: str) -> None:
        super().__init__(reason)
        self.status, self.reason, self.wrong, self.advice = status, reason, wrong, advice


@dataclass(frozen=True)
class Words:
    """Words about a reason for which a file cannot be read."""

    wrong: str
    advice: str


OTHER_FILE = "Choose a chest radiograph as DICOM, PNG, JPEG or TIFF."
SAVE_AGAIN = "Export the image from its viewer or archive again, and choose the new file."
DAMAGED = Words("The file is damaged or incomplete.", SAVE_AGAIN)
NOT_AN_IMAGE = Words("This file is not an image that can be read.", OTHER_FILE)
TOO_LARGE = Words("The image is larger than this page accepts.", "Export it with fewer pixels.")
TOO_MUCH = Words("Reading this file takes too much time or memory.", SAVE_AGAIN)

OF_REASON = {
    "not_frontal": Words(
        "This is a lateral view.",
        "The network was trained on frontal chest radiographs: choose the PA or AP image of the study.",
    ),
    "not_grey": Words(
        "This is a colour picture.",
        "Choose the original grey radiograph, not a screenshot with colours or annotations.",
    ),
    "multi_frame": Words("The file has several images.", "Choose a file with a single radiograph."),
    "no_image": Words(
        "This DICOM file has no image, as is true of reports and structured results.",
        "Choose the radiograph of the study.",
    ),
    "no_pixels": Words("This DICOM file has no pixel data.", SAVE_AGAIN),
    "orientation": Words(
        "The file's orientation is not that of a frontal radiograph.",
        "Check the view; save a picture upright, without a rotation mark.",
    ),
    "unsupported_format": Words(
        "This picture format is not read.", "Save it as PNG, or choose the DICOM file."
    ),
    "no_decoder": Words("The image is compressed in a way that cannot be read.", SAVE_AGAIN),
    "too_large": TOO_LARGE,
    "empty": Words("The file is empty.", SAVE_AGAIN),
    **dict.fromkeys(("not_dicom", "not_a_picture"), NOT_AN_IMAGE),
    **dict.fromkeys(("timeout", "out_of_memory", "crashed"), TOO_MUCH),
}
"""Words for each reason; `DAMAGED` for the others."""


def unreadable(error: DicomError) -> RefusedError:
    """Return the refusal of a file that cannot be read."""
    words = OF_REASON.get(error.reason, DAMAGED)
    return RefusedError(422, error.reason, words.wrong, words.advice)


def too_large(mebibytes: int) -> RefusedError:
    """Return the refusal of a file that has more bytes than are allowed."""
    wrong = f"The file is larger than {mebibytes} MB, the most that this page accepts."
    return RefusedError(413, "too_large", wrong, "Export the image with fewer pixels or with compression.")


def forgotten() -> RefusedError:
    """Return the refusal of an image that is not, or no longer, in memory."""
    wrong = "This image is no longer in memory: others have been opened since, or the program was restarted."
    return RefusedError(404, "forgotten", wrong, "Choose the file again.")
