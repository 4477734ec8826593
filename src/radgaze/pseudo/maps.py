"""The maps of cases, one for each of their classes or of the decision, at the size of the model's input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from radgaze.console import progress
from radgaze.devices import usable_device
from radgaze.errors import UserError
from radgaze.evaluation.maps import RunExplainer
from radgaze.models.output import Output
from radgaze.pseudo.options import GAZE, MASK, PseudoOptions
from radgaze.runs.run import Run
from radgaze.store.batch import Batch
from radgaze.store.marks import EXPLAINED_BEFORE
from radgaze.store.names import plain

Plane = NDArray[np.float32]


@dataclass(frozen=True)
class ClassMap:
    """A map of a case.

    Attributes:
        case_id: The case.
        label: Name of what it marks, such as a class.
        image: Grey image in [0, 1], of shape (S, S).
        values: The map in [0, 1], of shape (S, S); a heatmap or gaze map is scaled to its maximum.
    """

    case_id: str
    label: str
    image: Plane
    values: Plane


def marked_classes(run: Run, options: PseudoOptions) -> tuple[int, ...]:
    """Indices of the classes that are marked.

    Raises:
        UserError: `only_positive` leaves out all classes.
    """
    normal = {plain(name) for name in options.normal} if options.only_positive else set()
    marked = tuple(k for k, name in enumerate(run.classes) if plain(name) not in normal)
    if options.only_positive and not marked:
        raise UserError("`normal` names all classes: no case is left to mark")
    return marked


def class_maps(run: Run, options: PseudoOptions) -> Iterator[ClassMap]:
    """Make the maps of the marked cases, one for each true class that is marked, or one with `explained`.

    A map without a value above 0 is left out.

    Args:
        run: The run, or vote.
        options: The options.

    Raises:
        UserError: There is no such generator, or the model has no mask.
    """
    marked, method = marked_classes(run, options), options.methods
    device = usable_device(options.device)
    if method == MASK and not all(voter.config.model.has_mask for voter in run.voters):
        raise UserError(f"the model of {run.path} has no mask; name a heatmap generator with `methods`")
    explain = None
    if method != GAZE:
        explain = RunExplainer.of(run, None if method == MASK else method, device)
    splits = run.store.cases["split"]
    with progress("Making maps", total=int(splits.is_in(options.splits).sum())) as bar:
        for split in options.splits:
            for batch in run.batches(split, options.batch_size):
                images = batch.image[:, 0].numpy()
                if options.explained:
                    assert explain is not None
                    made = iter([(EXPLAINED_BEFORE, _of_decisions(explain, batch, run, device))])
                else:
                    made = _maps_of(batch, run, marked, explain, method, device)
                for label, values in made:
                    for row, plane in values.items():
                        if plane.max() > 0:
                            yield ClassMap(batch.case_id[row], label, images[row], plane)
                bar.advance(len(batch.case_id))


def _of_decisions(explain: RunExplainer, batch: Batch, run: Run, device: str) -> dict[int, Plane]:
    """The maps of the predicted probability of the cases of a batch, by their place in the batch."""
    kind = run.config.objective.classification

    def highest(output: Output) -> torch.Tensor:
        """The logarithm of the highest class probability, (B,)."""
        logits = output.logits.float()
        return (F.logsigmoid(logits) if kind == "sigmoid" else logits.log_softmax(1)).amax(1)

    return dict(enumerate(map(_scaled, explain(batch.to(device), highest).heatmap)))


def _maps_of(
    batch: Batch,
    run: Run,
    marked: Sequence[int],
    explain: RunExplainer | None,
    method: str | None,
    device: str,
) -> Iterator[tuple[str, dict[int, Plane]]]:
    """For each class the maps of the cases of a batch that have it, by their place in the batch."""
    labels = batch.label > 0
    gaze = batch.gaze_maps()[:, 0].numpy() if explain is None else None
    # The n-th class of each case at once, so that exclusive classes take a single pass.
    nth = labels.long().cumsum(1) * labels
    for n in range(1, int(labels.sum(1).max()) + 1):
        chosen = (nth == n).long().argmax(1)
        has = (nth == n).any(1)
        if gaze is not None:
            values, has = gaze, has & (batch.weights > 0).any(1).cpu()  # not of what stands in for gaze
        else:
            assert explain is not None
            values = _explained(explain, batch, chosen, device, is_mask=method == MASK)
        for k in marked:
            rows = torch.nonzero(has & (chosen == k))[:, 0].tolist()
            yield (
                run.classes[k],
                {row: values[row] if method == MASK else _scaled(values[row]) for row in rows},
            )


def _explained(
    explain: RunExplainer, batch: Batch, classes: torch.Tensor, device: str, *, is_mask: bool
) -> Plane:
    maps = explain(batch.to(device), classes.to(device))
    if not is_mask:
        return maps.heatmap
    assert maps.mask is not None  # see `class_maps`
    return maps.mask


def _scaled(values: Plane) -> Plane:
    return values / max(float(values.max()), 1e-12)
