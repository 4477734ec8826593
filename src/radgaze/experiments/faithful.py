"""What `--protocol faithful` does as the published code did, what otherwise, and what that may change."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """One thing that the published code did and the honest protocol does not.

    Attributes:
        what: Where it lies.
        published: What the published code did.
        here: What the faithful protocol does.
        effect: What that is likely to change in the figures.
    """

    what: str
    published: str
    here: str
    effect: str


COPIED = (
    Difference(
        "Split",
        "patients of the master sheet, shuffled with seed 42, 80/10/10",
        "the same, whatever the run's seed, of a store that was prepared with it",
        "one split: what another would have given is not in any interval",
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
        "validation AUC jumps from epoch to epoch, so that the choice of the epoch weighs more",
    ),
    Difference(
        "Precision",
        "32 bits",
        "32 bits, on a GPU too (--trainer.precision)",
        "none beyond rounding",
    ),
    Difference(
        "Last batch",
        "the U-Net, with decoder or without, kept what was left over after the whole batches of 32",
        "the same (--optimisation.last_batch); a single case is left out, as it has no batch statistics",
        "small: the few cases of that batch make a step of their own",
    ),
    Difference(
        "Gaze maps",
        "counts of fixations, a Gaussian of 150 pixels, saved as a coloured picture and read back as grey",
        "the same values, made at the network's size and not saved in between",
        "targets lie in 0.118 to 0.843; the two makings differ by less than 0.02",
    ),
    Difference(
        "Temporal network",
        "padded frames count in LSTM and attention, the attention's query has the directions exchanged and "
        "the scale of half the width, and batch norm goes frame by frame",
        "the same (--model.form)",
        "a case's scores depend on the longest reading in its batch",
    ),
    Difference(
        "Windowing and augmentation",
        "none: pixels over their maximum",
        "no augmentation; no window where the store was prepared with --voi none, of which a note tells",
        "images are darker or brighter than a viewer shows them",
    ),
)
"""Published oddities that it shares."""

KEPT = (
    Difference(
        "Choice of the epoch",
        "by the AUC on the test cases",
        "by that on the validation cases, unless --select test asks for theirs",
        "published figures are too high by what choosing among all epochs gains",
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
        "theirs have about twice the variance at high frequencies, much of it noise; AUCs may differ either "
        "way",
    ),
    Difference(
        "Length of a reading",
        "a frame for each fixation, however many there are",
        "the first 256 (--model.most_frames); training tells how many cases have more",
        "late fixations of long readings are not seen; none where no case has more",
    ),
    Difference(
        "Saturated maps",
        "no bound on the maps' cross-entropy is known",
        "maps are kept 2⁻²³ off 0 and 1 before the logarithm: beyond a logit of about ±16 a pixel of the "
        "mask has no gradient of its own. The classification's loss has no such bound",
        "none unless training runs away; it then comes back more slowly",
    ),
    Difference(
        "Heatmap rules",
        "not said; the usual software lays them on ReLU alone, of which this encoder has none, and then "
        "guided back-propagation and deconvNet are the plain gradient",
        "laid on every activation (docs/heatmaps.md)",
        "heatmaps of sets 1 to 3 differ from theirs if theirs were plain gradients",
    ),
    Difference(
        "What the paper leaves open",
        "λ of set 3, how a heatmap is brought to the scale of gaze, and the distance between them",
        "λ = 1/2; blurred as the gaze map is, over its maximum; binary cross-entropy",
        "figures of sets 1 to 3 may differ in either direction",
    ),
    Difference(
        "Lost and shifted frames",
        "the last image of each session was never saved, and frames were saved from 0 and read from 1",
        "neither",
        "the temporal network here sees a little more",
    ),
    Difference(
        "Cases",
        "1,017 of 1,083 images, by a published list",
        "those that `prepare` can read and check; rejections.csv has a reason for each other one",
        "other cases in each part; AUCs differ either way",
    ),
)
"""What it does otherwise than the published code."""
