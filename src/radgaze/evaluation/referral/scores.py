"""The uncertainty scores that are compared, each with its settings."""

from __future__ import annotations

from dataclasses import dataclass

from radgaze.evaluation.referral.options import CandidateName, ScoreName


@dataclass(frozen=True)
class Candidate:
    """A score with its settings.

    Attributes:
        name: Name in options and files.
        title: Name in tables.
        score: One of `confidence.SCORES`.
        perturbs: Whether the image is perturbed first, which needs the model.
        tempered: Whether logits are divided by the fitted temperature first.
    """

    name: CandidateName
    title: str
    score: ScoreName
    perturbs: bool = False
    tempered: bool = False


CANDIDATES = {
    candidate.name: candidate
    for candidate in (
        Candidate("alpha", "D_α", "alpha"),
        Candidate("beta", "D_β", "beta"),
        Candidate("alpha_tempered", "D_α, tempered", "alpha", tempered=True),
        Candidate("beta_tempered", "D_β, tempered", "beta", tempered=True),
        Candidate("alpha_perturbed", "D_α, perturbed", "alpha", perturbs=True),
        Candidate("beta_perturbed", "D_β, perturbed", "beta", perturbs=True),
        Candidate("maximum", "1 − max. p (baseline)", "maximum"),
        Candidate("entropy", "Entropy (baseline)", "entropy"),
    )
}
"""The candidates by name, in the order in which they are shown."""
