"""The design of a reader study, read from a YAML file and checked before anyone reads a case."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from radgaze.errors import UserError, shortened
from radgaze.files import read_yaml
from radgaze.methods import GROUPS, check_methods

STRICT = ConfigDict(extra="forbid")
CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
"""A reader's code, or the name of a condition: it stands in file names and addresses."""

Measured = Literal["accuracy", "sensitivity", "specificity", "auc", "time", "agrees_wrong", "agrees_right"]
"""Name of a measure, see `readings.MEASURES`."""
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Count = Annotated[int, Field(ge=0, le=10_000)]


@dataclass(frozen=True)
class Condition:
    """One of the ways in which cases are shown.

    Attributes:
        name: Name of the condition.
        prediction: Whether the model's answer and its probabilities are shown.
        method: Method of the heatmap that can be laid over the image; None for none.
        target: Class that the heatmap explains: the name of a class, or "predicted", the most probable class
            of the model's answer, where each answer has classes.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: str
    prediction: bool = False
    method: str | None = None
    target: str = "predicted"

    @property
    def explained(self) -> bool:
        """Whether anything of the model is shown."""
        return self.prediction or self.method is not None


@dataclass(frozen=True)
class Selection:
    """The cases of a study: given by their ids, or drawn from a split of the store.

    Attributes:
        ids: Ids of cases of the store.
        per_class: Number of cases drawn for each class, of as many patients; 0 for none.
        split: Split that cases are drawn from.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    ids: tuple[str, ...] = ()
    per_class: Count = 0
    split: str = "test"


@dataclass(frozen=True)
class Design:
    """The design of a reader study.

    Attributes:
        readers: Codes of the readers, never their names.
        conditions: The conditions; the first is the reference that the others are compared with.
        cases: Cases that count.
        practice: Cases that are shown before those that count, at the beginning of the first session, and are
            left out of the results.
        arrangement: "crossover": each reader reads each case in every condition, in as many sessions; or
            "split": each reader reads each case once.
        order: "mixed": conditions change from case to case; or "blocks": all cases of one condition, then all
            of the next.
        washout_days: Least number of days between two sessions of a reader.
        question: Question above the answers.
        answers: Classes of the run that each answer stands for; without answers, each class is one. An answer
            without classes is for cases that have none of the others' classes.
        normal: The answer that means the absence of disease, for sensitivity, specificity and AUC.
        confidence: Largest value of the scale of confidence: 5, for 1 to 5, or 100, for 0 to 100.
        primary: Measures whose tests are corrected together by Holm; those of others are exploratory.
        time_limit: Seconds after which the image is hidden and an answer is due; None for no limit.
        seed: Random seed of the cases and of their order.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    readers: tuple[str, ...]
    conditions: tuple[Condition, ...]
    cases: Selection
    practice: Selection = Selection()
    arrangement: Literal["crossover", "split"] = "crossover"
    order: Literal["mixed", "blocks"] = "mixed"
    washout_days: Annotated[float, Field(ge=0, le=3650)] = 28.0
    question: str = "What does the radiograph show?"
    answers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    normal: str | None = None
    confidence: Literal[5, 100] = 5
    primary: tuple[Measured, ...] = ("accuracy", "time", "agrees_wrong", "agrees_right")
    time_limit: Annotated[float, Field(ge=1, le=86_400)] | None = None
    seed: Seed = 1

    @property
    def sessions(self) -> int:
        """Number of sessions of each reader."""
        return len(self.conditions) if self.arrangement == "crossover" else 1

    @property
    def scale(self) -> tuple[int, int]:
        """Least and largest value of the scale of confidence."""
        return (1, 5) if self.confidence == 5 else (0, 100)

    def condition(self, name: str) -> Condition:
        """The condition of a name."""
        return next(each for each in self.conditions if each.name == name)

    def answers_of(self, classes: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Classes that each answer stands for.

        Raises:
            UserError: An answer stands for a class that the run does not have, or two for the same.
        """
        if not self.answers:
            return {name: (name,) for name in classes}
        named = [name for of_answer in self.answers.values() for name in of_answer]
        unknown = [name for name in named if name not in classes]
        if unknown:
            raise UserError(f"the run has no class {unknown[0]!r}; its classes are {', '.join(classes)}")
        if len(set(named)) < len(named):
            raise UserError("two answers of the study stand for the same class")
        return dict(self.answers)


def read(path: Path) -> Design:
    """Read and check the design of a study.

    Raises:
        UserError: There is no such file, or it is not the design of a study.
    """
    try:
        content = read_yaml(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return checked(content)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def checked(content: object) -> Design:
    """Make a design of the values of a file.

    Raises:
        UserError: A value is missing or not allowed.
    """
    try:
        design = TypeAdapter(Design).validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = shortened(".".join(map(str, first["loc"])) or "the whole")
        raise UserError(f"{place}: {first['msg']}") from error
    _check_names("readers", design.readers, least=1)
    _check_names("conditions", [each.name for each in design.conditions], least=2)
    for name, chosen in (("cases", design.cases), ("practice", design.practice)):
        if chosen.ids and chosen.per_class:
            raise UserError(f"{name}: give ids or per_class, not both")
        if len(set(chosen.ids)) < len(chosen.ids):
            raise UserError(f"{name}: an id is given twice")
    if not design.cases.ids and not design.cases.per_class:
        raise UserError("cases: give ids, or per_class above 0")
    if twice := set(design.cases.ids) & set(design.practice.ids):
        raise UserError(f"practice: {min(twice)} is one of the cases that count")
    for each in design.conditions:
        if each.method is not None:
            if each.method in GROUPS:
                raise UserError(f"conditions: {each.name}: name one method, not the group {each.method}")
            check_methods([each.method])
    if len(design.answers) == 1:
        raise UserError("answers: there must be at least two")
    if design.answers and design.normal is not None and design.normal not in design.answers:
        raise UserError(f"normal: {design.normal} is none of the answers")
    return design


def _check_names(field_name: str, names: Sequence[str], least: int) -> None:
    if len(names) < least:
        raise UserError(f"{field_name}: at least {least} needed")
    for name in names:
        if not CODE.fullmatch(name):
            raise UserError(
                f"{field_name}: {shortened(name, 40)!r} must be a code of up to 32 letters, digits, - and _"
            )
    if len({name.lower() for name in names}) < len(names):
        raise UserError(f"{field_name}: a name is given twice")
