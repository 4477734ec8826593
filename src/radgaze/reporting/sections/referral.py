"""Section of the rule for referring a case."""

from __future__ import annotations

from dataclasses import dataclass

from radgaze.reporting.rejection import referral_sentences
from radgaze.reporting.sections.section import EvaluatedRun, Section, register


@dataclass(frozen=True)
class ReferralFindings:
    """Content of the section.

    Attributes:
        sentences: The rule and its results.
    """

    sentences: tuple[str, ...]


@register("referring", title="When to refer a case", order=60)
class ReferralSection(Section):
    """The rule for referring a case; left out where none was chosen."""

    def unsupported(self, evaluated: EvaluatedRun) -> str | None:
        return None if referral_sentences(evaluated.run.path) else ""

    def content(self, evaluated: EvaluatedRun) -> ReferralFindings:
        return ReferralFindings(tuple(referral_sentences(evaluated.run.path)))
