"""Options of `evaluate`, and the names of their choices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from radgaze.devices import check_device
from radgaze.options import Options, option

Interval = Literal["delong", "bootstrap", "paper"]
Target = Literal["predicted", "true"]

GENERATOR = "guided_backprop"
"""Generator of the heatmaps of all runs that are compared, also of those trained without a heatmap."""
RESAMPLES = 2000


@dataclass(frozen=True)
class EvaluationOptions(Options):
    """Options of an evaluation.

    Attributes:
        interval: Kind of the 95% intervals: delong, DeLong's standard error over patients for AUCs and a
            bootstrap over patients for all other figures; bootstrap, the bootstrap for AUCs too; or paper,
            the paper's 30 resamples (default: delong; paper for a run of the faithful protocol).
        resamples: Number of bootstrap resamples.
        device: Device: auto (default), a GPU if there is one; cpu; cuda, or one of several such as cuda:1; or
            mps.
        target: Class whose heatmap is compared with gaze: the predicted one, as at test time, or the true
            one, the most probable of several. Heatmaps are always compared with boxes for the true class.
        per: Gaze that heatmaps are compared with: class, that of each class which the report mentions, with
            the heatmap of this class, beside the gaze of the whole case; or case, the latter alone (default:
            gaze.per of the run).
        tolerance: Distance from a box that the pointing game accepts, in pixels of the model's input.
        generator: Generator of the heatmaps; the same for all runs that are compared.
        pretraining_ids: File with the ids of the images that the encoder's weights were pretrained on; test
            cases among them are counted (default: model.pretraining_ids of the run).
        record_list: File with the study and patient of each image, such as cxr-record-list.csv of MIMIC-CXR;
            with it, test cases are also counted of whose study or patient another image is listed.
        seed: Seed of the resamples.
        batch_size: Number of cases in a batch.
    """

    interval: Interval | None = None
    resamples: int = option(RESAMPLES, at_least=1, at_most=1_000_000)
    device: str = option("auto", check=check_device)
    target: Target = "predicted"
    per: Literal["case", "class"] | None = None
    tolerance: float = option(0.0, at_least=0)
    generator: str = GENERATOR
    pretraining_ids: str | Path | None = option(None, metavar="FILE")
    record_list: str | Path | None = option(None, metavar="FILE")
    seed: int = option(0, at_least=0, hidden=True)
    batch_size: int = option(16, at_least=1, hidden=True)
