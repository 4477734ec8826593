"""The faithful protocol and the published code: what it copies, what it does not, and the likely effects."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """A property of the published code that the honest protocol does not have.

    Attributes:
        subject: The part of the method.
        published: The published code.
        here: The faithful protocol.
        effect: Likely effect on the figures.
    """

    subject: str
    published: str
    here: str
    effect: str


COPIED = (
    Difference(
        "Split",
        "patients of the master sheet, shuffled with seed 42, 80/10/10",
        "the same, for every seed of a run, on a store that was prepared with it",
        "one split: no interval includes the variation between splits",
    ),
    Difference(
        "Loss",
        "sigmoid and binary cross-entropy per class, though the classes exclude each other",
        "the same",
        "probabilities do not add up to 1; AUCs differ little",
    ),
    Difference(
        "Optimisation",
        "Adam; a rate that peaks each cycle, its floor the rate squared; U-Nets with gradient values clipped "
        "at 0.1; a fixed number of epochs",
        "the same",
        "validation AUC jumps from epoch to epoch, so the choice of the epoch matters more",
    ),
    Difference(
        "Precision",
        "32 bits",
        "32 bits, also on a GPU (`trainer.precision`)",
        "none beyond rounding",
    ),
    Difference(
        "Last batch",
        "the U-Net, with or without decoder, kept the remainder after the full batches of 32",
        "the same (`optimisation.last_batch`); a single case is left out, as it has no batch statistics",
        "small: the few cases of that batch make a step of their own",
    ),
    Difference(
        "Gaze maps",
        "counts of fixations, a Gaussian of 150 pixels, saved as a coloured picture and read back as grey",
        "the same values, computed at the network's size and not saved in between",
        "targets lie in 0.118 to 0.843; the two computations differ by less than 0.02",
    ),
    Difference(
        "Temporal network",
        "padded frames count in LSTM and attention, the attention's query has the directions exchanged and "
        "the scale of half the width, and batch norm goes frame by frame",
        "the same (`model.form`)",
        "the scores of a case depend on the longest reading in its batch",
    ),
    Difference(
        "Windowing and augmentation",
        "none: pixels over their maximum",
        "no augmentation; no window where the store was prepared with `voi='none'`, which a note on the page "
        "states",
        "images are darker or brighter than a viewer shows them",
    ),
)
"""Properties of the published code that the faithful protocol copies."""

NOT_COPIED = (
    Difference(
        "Choice of the epoch",
        "by the AUC on the test cases",
        "by the AUC on the validation cases, or on the test cases with `select=test` of reproduce or "
        "`selection=test` of train",
        "published figures are too high, by the gain of choosing among all epochs",
    ),
    Difference(
        "Test cases",
        "one test loader dropped its last 12 cases, all of them Normal",
        "all are tested",
        "AUCs differ either way, Normal's most",
    ),
    Difference(
        "Resizing",
        "cubic interpolation from the full size to 224 pixels, without antialiasing",
        "antialiased to the store's size, then to 224 pixels, in 256 levels",
        "published images have about twice the variance at high frequencies, much of it noise; AUCs may "
        "differ either way",
    ),
    Difference(
        "Length of a reading",
        "a frame for each fixation, however many there are",
        "the first 256 (`model.most_frames`); training reports how many cases have more",
        "late fixations of long readings are ignored; none where no case has more",
    ),
    Difference(
        "Saturated maps",
        "no bound on the maps' cross-entropy is known",
        "maps are clamped to 2⁻²³ from 0 and 1 before the logarithm: beyond a logit of about ±16 a pixel "
        "of the mask has no gradient of its own. The classification's loss has no such bound",
        "none unless training diverges; it then recovers more slowly",
    ),
    Difference(
        "Heatmap rules",
        "not stated; the usual software applies them to ReLU alone, which this encoder does not have, and "
        "then guided back-propagation and deconvNet are the plain gradient",
        "applied to every activation (docs/heatmaps.md)",
        "heatmaps of sets 1 to 3 differ if the published ones were plain gradients",
    ),
    Difference(
        "What the paper leaves open",
        "λ of set 3, the scaling of a heatmap to the gaze map, and the distance between them",
        "λ = 1/2; blurred like the gaze map and divided by its maximum; binary cross-entropy",
        "figures of sets 1 to 3 may differ in either direction",
    ),
    Difference(
        "Lost and shifted frames",
        "the last image of each session was never saved, and frames were saved from 0 and read from 1",
        "neither",
        "the temporal network here gets a little more gaze",
    ),
    Difference(
        "Cases",
        "1,017 of 1,083 images, by a published list",
        "the same list with `keep_ids`, else all that `prepare` can read and check; rejections.csv has a "
        "reason for each of the others",
        "other cases in each part; AUCs differ either way",
    ),
)
"""Properties of the published code that the faithful protocol does not copy."""
