"""Options of the alignment of gaze with a dictated report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from radgaze.errors import UserError
from radgaze.options import Options, changed, option
from radgaze.sources.dictation.matcher import names


@dataclass(frozen=True, kw_only=True)
class AlignOptions(Options):
    """How gaze is aligned with a dictated report.

    Attributes:
        align_report: Record which fixations belong to each class that the dictated report mentions: those
            from the start of the sentence before, at most this many seconds before the sentence, up to the
            last word that names the class. Without it no fixation is assigned to a class.
        align_phrases: YAML file with the phrases that mention each class, in place of the built-in ones (see
            docs/sources.md).
        align_matcher: Name of the function that finds the classes of a sentence: phrases, which looks for
            phrases, or one that was registered.
        align_table: CSV file to which the alignment is written, with a row for each sentence and class that
            it mentions; without the words of the report. Beside it, some cases are drawn with the gaze of
            each class, in a PNG file of the same name.
        align_text: Also write the words of each sentence to that file. They may reveal who the patient is.
    """

    align_report: float | None = option(None, at_least=0, metavar="SECONDS")
    align_phrases: str | Path | None = option(None, metavar="FILE")
    align_matcher: str = option("phrases", choices=names)
    align_table: str | Path | None = option(None, metavar="FILE")
    align_text: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.align_report is None:
            for name in changed(self, ("align_phrases", "align_matcher", "align_table")):
                raise UserError(f"`{name}` needs `align_report`, the number of seconds before a sentence")
        if self.align_text and self.align_table is None:
            raise UserError("`align_text` needs `align_table`, the file to which the words are written")

    def align_parameters(self, digest: str) -> dict[str, object]:
        """List the settings that a cohort depends on; none where gaze is not aligned.

        Args:
            digest: Digest of the phrases, "" for the built-in ones.
        """
        parameters: dict[str, object] = {}
        if self.align_report is not None:
            parameters["align_report"] = self.align_report
            if digest:
                parameters["align_phrases"] = digest
            if self.align_matcher != "phrases":
                parameters["align_matcher"] = self.align_matcher
        return parameters
