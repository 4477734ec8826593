"""Section of a vote: each run beside the mean and the majority."""

from __future__ import annotations

from dataclasses import dataclass

from radgaze.evaluation.interval_estimate import IntervalEstimate
from radgaze.evaluation.results import MACRO
from radgaze.reporting.description import vote_words
from radgaze.reporting.groups import shown_groups
from radgaze.reporting.sections.section import EvaluatedRun, Section, register
from radgaze.reporting.wording import count


@dataclass(frozen=True)
class VoteRow:
    """A row of the table.

    Attributes:
        name: The run, "Mean" or "Majority".
        auc: AUC of each class, and the macro mean, on the test cases.
        is_total: Whether it is the vote that the page is about.
    """

    name: str
    auc: tuple[IntervalEstimate | None, ...]
    is_total: bool


@dataclass(frozen=True)
class Votes:
    """Content of the section.

    Attributes:
        words: The runs, and how they are combined.
        groups: Columns of the table.
        rows: A row for each run, for the mean and for the majority.
        unanimous: How many cases all runs agree on, in words.
        ties: What is counted where the runs are divided, in words.
    """

    words: str
    groups: tuple[str, ...]
    rows: tuple[VoteRow, ...]
    unanimous: str
    ties: str


@register("votes", title="The runs that vote", order=22)
class VotesSection(Section):
    """Each run of a vote beside the mean and the majority; left out for other runs."""

    def unsupported(self, evaluated: EvaluatedRun) -> str | None:
        return None if evaluated.run.vote is not None and evaluated.results.votes is not None else ""

    def content(self, evaluated: EvaluatedRun) -> Votes:
        vote, votes = evaluated.run.vote, evaluated.results.votes
        groups = shown_groups(evaluated.test, evaluated.run.classes)
        assert vote is not None  # by `unsupported`
        assert votes is not None
        exceeds = "0.5" if vote.threshold == "half" else "the run's threshold from its validation cases"
        return Votes(
            words=vote_words(vote),
            groups=tuple("Macro mean" if group == MACRO else group for group in groups),
            rows=tuple(
                VoteRow(
                    name.capitalize() if name in ("mean", "majority") else name,
                    tuple(auc.get(group) for group in groups),
                    name == vote.rule,
                )
                for name, auc in votes.auc.items()
            ),
            unanimous=f"A run votes for a class where its probability exceeds {exceeds}. All runs vote "
            f"alike on {votes.unanimous} of {count(evaluated.results.test.cases, 'test case')}.",
            ties=f"On {count(votes.tied, 'case')} the runs are divided evenly over some class; a share of "
            "0.5 counts as predicted, and of exclusive classes with equal shares the first does.",
        )
