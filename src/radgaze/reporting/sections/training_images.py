"""Section of the training images that a run changed."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from radgaze.errors import UserError
from radgaze.reporting.page import Picture
from radgaze.reporting.sections.section import EvaluatedRun, Section, register
from radgaze.reporting.training_images import draw_training_images
from radgaze.reporting.wording import count, listed
from radgaze.runs.training_images import FILE, read

_REASONS = {
    "without_region": "without a region",
    "without_partner": "without a partner in their batch",
}


@dataclass(frozen=True)
class TrainingImages:
    """Content of the section.

    Attributes:
        summary: How images were changed.
        counts: How many were changed, and why others were not.
        picture: Images of the first training step; None where the run has none.
        missing: Reason why there is no picture; empty where there is one.
    """

    summary: str
    counts: str
    picture: Picture | None
    missing: str = ""


@register("training_images", title="What the network saw in training", order=65)
class TrainingImagesSection(Section):
    """Training images as the network saw them; left out for a run that changed none."""

    html = (
        "<p>{{ content.summary }} {{ content.counts }} Images of validation and test cases are never "
        "changed.</p>\n{% if content.picture %}{{ picture(content.picture, content.picture.caption) }}"
        "{% else %}<p>{{ content.missing }}</p>{% endif %}"
    )

    def unsupported(self, evaluated: EvaluatedRun) -> str | None:
        return "" if evaluated.run.config.counterfactual.kind == "none" else None

    def content(self, evaluated: EvaluatedRun) -> TrainingImages:
        run = evaluated.run
        summary, counts = run.config.counterfactual.summary, _counts(run.history())
        try:
            images = read(run.path / FILE)
        except UserError as error:
            return TrainingImages(summary, counts, None, f"There is no picture: {error}.")
        if not images:
            return TrainingImages(summary, counts, None, f"The run has no {FILE}, which training writes.")
        drawn = evaluated.picture(
            draw_training_images(images),
            "training_images",
            "Training images above the same images as the network saw them",
            "Images of the first training step: as they are, with the outline of what stays, and as the "
            "network saw them.",
        )
        return TrainingImages(summary, counts, drawn)


def _counts(history: pl.DataFrame) -> str:
    """Say how many images were changed in an epoch, as a mean over the epochs."""
    columns = [f"counterfactual/{name}" for name in ("changed", *_REASONS)]
    if history.is_empty() or not set(columns) <= set(history.columns):
        return ""
    means = [float(history[column].drop_nulls().mean() or 0) for column in columns]  # type: ignore[arg-type]
    left = [f"{mean:,.0f} {words}" for mean, words in zip(means[1:], _REASONS.values(), strict=True) if mean]
    stayed = f"; {listed(left)} stayed as they are" if left else ""
    return f"Changed in an epoch: {count(round(means[0]), 'image')}{stayed}."
