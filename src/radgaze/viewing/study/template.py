"""An example of a design, with a comment for each setting, as a file to edit."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import dedent

import yaml

COMMAND = "radgaze view RUN --study FILE"  # flags: text of a file for the command line
HEAD = f"# Design of a reader study, for `{COMMAND}`; see docs/reader_study.md.\n"


def template(classes: Sequence[str], method: str, per_class: int = 10, split: str = "test") -> str:
    """Write the design of a study with three conditions as YAML.

    Args:
        classes: Classes of the run; one whose name says so is the normal answer.
        method: Method of the heatmap.
        per_class: Number of cases of each class.
        split: Split that they are drawn from.
    """
    normal = next((name for name in classes if name.lower() in ("normal", "no finding", "healthy")), None)
    answers = "".join(f"\n#   {_yaml(name)}: [{_yaml(name)}]" for name in classes)
    return HEAD + dedent(f"""
        # Codes of the readers, never their names. Their order decides who reads which case first in which
        # condition: add further readers at the end. With three conditions in a crossover, multiples of 6
        # readers are balanced exactly; with two, of 2.
        readers: [R1, R2, R3, R4, R5, R6]

        # What is shown of the model. The first condition is the reference of all comparisons.
        conditions:
          - name: image
          - name: prediction
            prediction: true        # the model's answer and its probabilities
          - name: explanation
            prediction: true
            method: {method}
            target: predicted       # the class that the heatmap explains: predicted, or one class

        # crossover: each reader reads each case in every condition, once in each session.
        # split: each reader reads each case once, and other readers in the other conditions.
        arrangement: crossover
        # mixed: conditions change from case to case. blocks: one condition after the other.
        order: mixed
        # Least number of days between two sessions of a reader, so that cases are forgotten.
        washout_days: 28

        # Cases of the store: some of each class, no two of one patient, or their ids: [ID, ...]
        cases:
          per_class: {per_class}
          split: {split}
        # Cases to practise on, at the beginning of the first session; they do not count.
        practice:
          per_class: 1
          split: validate

        question: What does the radiograph show?
        # Classes that each answer stands for; without it, each class is an answer.
        # answers:{{answers}}
        # The answer that means the absence of disease, for sensitivity, specificity and AUC.
        normal: {"null" if normal is None else _yaml(normal)}
        # Largest confidence: 5 for a scale of 1 to 5, 100 for one of 0 to 100.
        confidence: 5
        # Measures whose tests are corrected together; fix them before the first reading.
        primary: [accuracy, time, agrees_wrong, agrees_right]
        # Seconds after which the image is hidden; null for no limit.
        time_limit: null
        seed: 1
        """).replace("{answers}", answers)


def _yaml(text: str) -> str:
    """A text as a value of YAML on one line."""
    style = None if text.isprintable() else '"'  # in which a line break is written as an escape
    words: str = yaml.safe_dump(text, default_style=style, width=10**6, allow_unicode=True)
    return words.removesuffix("\n").removesuffix("\n...")
