"""Exchange of pixels between cases: everything outside of a region comes from another patient's image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor, distributed
from torch.nn.functional import pad

from radgaze.draws import of_pairs
from radgaze.objectives.config import Keep, Partner


@dataclass(frozen=True)
class ExchangeCases:
    """Cases whose images exchange pixels.

    Attributes:
        images: Images (B, 1, H, W).
        retained: Share of each pixel that a case keeps, (B, 1, H, W) in [0, 1]; see `perturbations.widened`.
        has_region: Which cases have a region, (B,) bool.
        labels: Labels (B, C), 0 or 1.
        patient: Number of the patient, (B,) int64.
        draw: Key of the random choices for each case, (B,) int64; see `radgaze.draws`.
    """

    images: Tensor
    retained: Tensor
    has_region: Tensor
    labels: Tensor
    patient: Tensor
    draw: Tensor

    def of_all_processes(self) -> ExchangeCases:
        """The cases of the batches of all processes that train together, one process after the other."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return self
        if distributed.get_world_size() == 1:
            return self
        gather = _gatherer(self.draw)
        return ExchangeCases(**{each.name: gather(getattr(self, each.name)) for each in fields(self)})


def exchange(cases: ExchangeCases, *, partner: Partner, keep: Keep, purpose: int) -> tuple[Tensor, Tensor]:
    """Exchange what a case does not keep for the pixels of another patient's case at the same place.

    Each case draws its partner among the cases of the batch, those of all processes, by its own key and the
    partner's: neither the order of the cases nor their division among processes has a part in it.

    Args:
        cases: The cases.
        partner: Cases among which a partner is drawn: "any"; "other_class", those without a class in common,
            except that two cases without any class count as alike; or "same_class", those with the same
            labels.
        keep: "own" keeps the case's own region. "both" also keeps the case's pixels in the region of its
            partner, so that none of those come in; a case without a region is then no case's partner.
        purpose: Number of the draw, see `radgaze.draws`.

    Returns:
        The images (B, 1, H, W), unchanged in cases without a region or a partner; and which cases have a
        partner, (B,) bool.
    """
    others = cases.of_all_processes()
    allowed = cases.patient[:, None] != others.patient
    if partner != "any":
        allowed = allowed & (_other_class if partner == "other_class" else _same_class)(
            cases.labels, others.labels
        )
    if keep == "both":
        allowed = allowed & others.has_region
    drawn = torch.where(allowed, of_pairs(cases.draw, others.draw, purpose), -1)
    best, has_partner = drawn.argmax(1), allowed.any(1)
    retained = torch.maximum(cases.retained, others.retained[best]) if keep == "both" else cases.retained
    mixed = torch.lerp(cases.images, others.images[best], (1 - retained).to(cases.images))
    changed = (has_partner & cases.has_region).view(-1, 1, 1, 1)
    return torch.where(changed, mixed, cases.images), has_partner


def _other_class(labels: Tensor, others: Tensor) -> Tensor:
    """Whether cases have no class in common, (B, N)."""
    labels, others = labels.float(), others.float()
    without = ~labels.bool().any(1)[:, None] & ~others.bool().any(1)
    return (labels @ others.T == 0) & ~without


def _same_class(labels: Tensor, others: Tensor) -> Tensor:
    """Whether cases have the same labels, (B, N)."""
    return (labels[:, None] == others).all(2)


def _gatherer(of_cases: Tensor) -> Callable[[Tensor], Tensor]:
    """A function that joins tensors of all processes, whose numbers of cases may differ."""
    processes = distributed.get_world_size()
    counts = [torch.zeros(1, dtype=torch.int64, device=of_cases.device) for _ in range(processes)]
    distributed.all_gather(counts, torch.tensor([len(of_cases)], device=of_cases.device))
    sizes = [int(count) for count in counts]

    def gather(tensor: Tensor) -> Tensor:
        kind, values = tensor.dtype, tensor.byte() if tensor.dtype == torch.bool else tensor
        filled = pad(values, [0, 0] * (values.ndim - 1) + [0, max(sizes) - len(values)]).contiguous()
        parts = [torch.empty_like(filled) for _ in sizes]
        distributed.all_gather(parts, filled)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)]).to(kind)

    return gather
