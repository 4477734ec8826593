"""Options of the source `egd`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from radgaze.errors import UserError
from radgaze.options import changed, option
from radgaze.sources.dictation.options import AlignOptions

OF_SAMPLES = ("filter", "dispersion", "velocity", "least_duration", "pixels_per_degree")
"""Settings of the filter of raw samples."""


@dataclass(frozen=True)
class EgdOptions(AlignOptions):
    """Options of the source `egd`.

    Attributes:
        egd: Folder of egd-cxr 1.0.0, with master_sheet.csv and fixations.csv.
        mimic: Folder of MIMIC-CXR 2.0.0, with files/p10 and so on.
        keep_ids: CSV file whose column `filename` lists the images to keep, as the published baselines do;
            without it all are kept.
        without_gaze: Whether cases without a fixation on the image are dropped or kept.
        vertical_correction: Undo the vertical bias that positions have if the pictures shown had 1024 lines;
            inferred, not documented by the data set.
        gaze: Gaze to use: fixations.csv, as filtered by the tracker (fixations), or the raw samples of
            eye_gaze.csv after `filter` (samples).
        filter: Filter of samples: by dispersion (idt) or by velocity (ivt), as in Salvucci and Goldberg 2000.
        dispersion: Threshold of idt, in degrees of visual angle.
        velocity: Threshold of ivt, in degrees per second.
        least_duration: Minimum duration of a fixation that the filter finds, in seconds.
        pixels_per_degree: Screen pixels in one degree of visual angle; 45 is inferred for a 22-inch screen at
            63 cm.
        calibration_shift: Shift the gaze of each session by the offset of the last gaze points on its
            calibration frames from the centre of the frames.
        align_keep: With `align_report`: keep only the fixations that belong to the case's class, or all, with
            a record of those that belong to each class.
        masks: Keep the masks of lungs, mediastinum and aortic knob, four files for each image.
        split: Split of the published baselines (published), or 80/10/10 with even class shares (stratified);
            both by patient.
        split_file: List of the split of each image, in place of `split`: a CSV file such as GD-ViG's, with
            columns image_id and phase; lines of an id and a split; or a folder with train.txt and test.txt.
            Other images are left out. Without validation images, patients of the training images become them.
        seed: Seed of the stratified split, and of the validation patients of a split file; the published
            split has a fixed seed.
    """

    egd: str | Path = option(metavar="DIR")
    mimic: str | Path = option(metavar="DIR")
    keep_ids: str | Path | None = option(None, metavar="FILE")
    without_gaze: Literal["drop", "keep"] = "drop"
    vertical_correction: bool = False
    gaze: Literal["fixations", "samples"] = "fixations"
    filter: Literal["idt", "ivt"] = "idt"
    dispersion: float = option(1.0, above=0)
    velocity: float = option(30.0, above=0)
    least_duration: float = option(0.1, at_least=0)
    pixels_per_degree: float = option(45.0, above=0)
    calibration_shift: bool = False
    align_keep: Literal["class", "all"] = "class"
    masks: bool = True
    split: Literal["published", "stratified"] = "published"
    split_file: str | Path | None = option(None, metavar="FILE")
    seed: int = 42

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gaze != "samples" and (unused := changed(self, OF_SAMPLES)):
            raise UserError(f"`{unused[0]}` needs `gaze=samples`: the tracker's fixations are filtered")
        other = "velocity" if self.filter == "idt" else "dispersion"
        if changed(self, (other,)):
            raise UserError(f"`{other}` is no threshold of `filter={self.filter}`; choose the other filter")
        if self.align_report is None and changed(self, ("align_keep",)):
            raise UserError("`align_keep` needs `align_report`, the number of seconds before a sentence")
        if self.split_file is not None and changed(self, ("split",)):
            raise UserError("`split` and `split_file` are two splits; give one of them")
