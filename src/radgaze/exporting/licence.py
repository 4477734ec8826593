"""The licence of trained weights, and what the data that they were made from ask for."""

from __future__ import annotations

from dataclasses import dataclass

from radgaze.models.pretraining import pretraining_of
from radgaze.runs import initial_weights
from radgaze.runs.run import Run

OF_MIMIC = ("egd", "reflacx", "gazesearch")
"""Sources whose images are those of MIMIC-CXR."""

CREDENTIALED = "PhysioNet Credentialed Health Data License 1.5.0"


@dataclass(frozen=True)
class Licence:
    """The licence of a run's weights.

    Attributes:
        header: Entries of the card's header.
        words: Sentences for the card.
    """

    header: dict[str, str]
    words: tuple[str, ...]


def licence_of(run: Run, source: str | None, named: str | None) -> Licence:
    """The licence of a run's weights.

    Args:
        run: The run.
        source: Source of its store; None where it is not known.
        named: Licence that the user names; None for none.
    """
    reasons = _reasons(run, source)
    words = list[str]()
    if reasons:
        words.append(
            f"{' '.join(reasons)} MIMIC-CXR, its derivatives and the eye-tracking data of it are shared by "
            f"PhysioNet under the {CREDENTIALED}: with credentialed users, who signed its data use "
            "agreement. "
            "PhysioNet asks that what is derived from such data, among it trained weights, is shared under "
            "the "
            "same agreement, and not openly. Do not upload these weights to a public place."
        )
    if named is not None:
        words.insert(0, f"Licence, as named by the person who made this card: {named}.")
        return Licence({"license": named}, tuple(words))
    if reasons:
        return Licence({"license": "other", "license_name": "physionet-credentialed-1.5.0"}, tuple(words))
    words.append(
        "No licence is stated. That of the weights depends on that of the images and labels, which the run "
        "does "
        "not record; the software is under Apache-2.0."
    )
    return Licence({"license": "unknown"}, tuple(words))


def _reasons(run: Run, source: str | None) -> list[str]:
    reasons = list[str]()
    if source in OF_MIMIC:
        reasons.append(
            f"The store was prepared from the source “{source}”, whose images are those of MIMIC-CXR (or of "
            "a "
            "phantom in its layout, which the run does not tell from it; then this does not apply)."
        )
    weights = initial_weights.read(run)
    pretraining = None if weights is None else pretraining_of(weights.weights, weights.encoder, weights.tag)
    if pretraining is not None and pretraining.images:
        reasons.append(f"The encoder started from {pretraining.name}, pretrained on images of MIMIC-CXR.")
    if source is None:
        reasons.append(
            "The store of the run is missing or has changed, so that the source of its images is not known; "
            "they may be those of MIMIC-CXR."
        )
    return reasons
