"""The file explanation.json."""

from __future__ import annotations

from dataclasses import dataclass, field

from radgaze.records import Record, optional


@dataclass(frozen=True)
class ExplanationSettings(Record):
    """The settings that maps depend on.

    Attributes:
        version: Version of radgaze.
        run: Name of the run's folder.
        experiment: Name of the experiment.
        target: Class that is explained: "predicted", a class, or "all".
        methods: Generator and options of each method.
        weights: SHA-256 of the weights, of each run of a vote; None where it was not recorded.
    """

    version: str
    run: str
    experiment: str
    target: str
    methods: dict[str, dict[str, object]]
    weights: tuple[str, ...] | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class OriginalSize:
    """Size of the original image.

    Attributes:
        rows: Number of rows.
        columns: Number of columns.
    """

    rows: int
    columns: int


@dataclass(frozen=True)
class ArraysRecord:
    """Description of maps.npz.

    Attributes:
        file: Name of the file.
        keys: Keys of the arrays, in words.
        size: Rows and columns of each array.
        original_pixels: Coordinates in the original image, in words.
        x: Formula from x in the original image to x in the map.
        y: Formula from y in the original image to y in the map.
        original: Size of the original image.
    """

    file: str
    keys: str
    size: tuple[int, int]
    original_pixels: str
    x: str
    y: str
    original: OriginalSize


@dataclass(frozen=True)
class DecisionRecord:
    """Whether the prediction is accepted.

    Attributes:
        verdict: "accept" or "refer".
        reason: Reason, in words.
        score: Uncertainty score of the prediction; None where it is not finite.
    """

    verdict: str
    reason: str
    score: float | None


@dataclass(frozen=True)
class ExplanationRecord(ExplanationSettings):
    """The content of explanation.json.

    Attributes:
        image: Name of the image's folder.
        probabilities: Probability of each class; None where it is not finite.
        predicted: The most probable class.
        classes: The classes whose maps were made.
        pictures: Description of each picture.
        arrays: Description of maps.npz.
        decision: Whether the prediction is accepted; None where the run has no rule for it.
        truth: Names of the true classes; None for a file.
    """

    image: str
    probabilities: dict[str, float | None]
    predicted: str
    classes: tuple[str, ...]
    pictures: dict[str, str]
    arrays: ArraysRecord
    decision: DecisionRecord | None = optional()
    truth: tuple[str, ...] | None = optional()
