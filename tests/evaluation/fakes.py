"""A run made of a dozen bright spots: the network looks at the spot, and so did the reader."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import cast

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from radgaze import attribution
from radgaze.gaze import GazeMaps
from radgaze.models import Output
from radgaze.runs.config import Config, InputConfig
from radgaze.runs.run import Run
from radgaze.store.batch import Batch, Sample, collate
from radgaze.store.dataset import GazeDataset
from radgaze.store.store import Store
from tests.evaluation.known import known

SIZE = 64
SIGMA = 4.0
CLASSES = ("Normal", "CHF", "pneumonia")
SIDES = ((0, "left lung"), (1, "right lung"))


@dataclass(frozen=True)
class FakeCase:
    case_id: str
    patient: int
    split: str
    label: int
    spot: tuple[float, float]
    gaze: bool = True
    boxed: bool = False


class Looker(nn.Module):
    """Scores the brightness above 0.5, class by class with other weights; the mask is the image itself."""

    def __init__(self, *, decoder: bool = True) -> None:
        super().__init__()
        self.decoder = decoder
        self.conv = nn.Conv2d(1, 2, 3, padding=1)
        self.act = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(2, 3)
        with torch.no_grad():
            self.conv.weight.fill_(1 / 9)
            known(self.conv.bias).fill_(-0.5)
            self.head.weight.copy_(torch.tensor([[1.0, 0.5], [0.9, 0.2], [0.1, 0.1]]))
            self.head.bias.zero_()

    def forward(self, images: Tensor) -> Output:
        features = self.act(self.conv(images))
        mask = 8 * images - 4 if self.decoder else None
        return Output(self.head(self.pool(features).flatten(1)), mask)


@dataclass(frozen=True)
class FakeRegions:
    """Regions as a store has them, held in memory."""

    table: pl.DataFrame
    flags: Sequence[np.ndarray]

    def union(self, rows: Iterable[int]) -> np.ndarray:
        inside: np.ndarray = np.any([self.flags[row] for row in rows], axis=0)
        return inside


@dataclass(frozen=True)
class FakeStore:
    """The part of a store that evaluation reads."""

    cases: pl.DataFrame
    regions: FakeRegions
    twins: pl.DataFrame = field(default_factory=pl.DataFrame)
    size: int = SIZE
    manifest: dict[str, dict[str, str]] = field(default_factory=lambda: {"hashes": {}})


@dataclass(frozen=True)
class FakeRun(Run):
    config: Config = field(init=False, repr=False)
    cases: tuple[FakeCase, ...] = field(default_factory=lambda: cases())
    experiment: str = "set3_guided"
    classes: tuple[str, ...] = CLASSES
    decoder: bool = True
    skill: float = 1.0
    seed: int = 0
    lungs: Mapping[str, np.ndarray] = field(default_factory=dict)  # (2, SIZE, SIZE), left and right
    vote: None = None

    @property
    def voters(self) -> tuple[FakeRun, ...]:
        return (self,)

    def __post_init__(self) -> None:
        own = Config(experiment=self.experiment, input=InputConfig(size=SIZE))
        object.__setattr__(self, "config", own)

    @cached_property
    def store(self) -> Store:
        marks = [(case_id, side, flags[k]) for case_id, flags in self.lungs.items() for k, side in SIDES]
        table = pl.DataFrame(
            {
                "case_id": pl.Series([case_id for case_id, _, _ in marks], dtype=pl.String),
                "label": pl.Series([side for _, side, _ in marks], dtype=pl.String),
                "area": pl.Series([int(flags.sum()) for _, _, flags in marks], dtype=pl.Int32),
            }
        )
        cases = pl.DataFrame(
            {
                "case_id": [case.case_id for case in self.cases],
                "split": [case.split for case in self.cases],
                "rows": SIZE,
                "columns": SIZE,
            }
        )
        held = FakeStore(cases, FakeRegions(table, [flags for _, _, flags in marks]))
        return cast(Store, held)  # which has all that evaluation reads

    def model(self, device: str = "cpu") -> nn.Module:
        return Looker(decoder=self.decoder).eval().to(device)

    def generator(self, model: nn.Module, name: str | None = None) -> attribution.Generator:
        return attribution.create(name or "guided_backprop", model)

    def of_split(self, split: str) -> list[FakeCase]:
        return [case for case in self.cases if case.split == split]

    def dataset(self, split: str) -> GazeDataset:
        return cast(GazeDataset, self.of_split(split))  # of which evaluation takes the length

    def with_evidence(self, split: str) -> list[str]:
        return [case.case_id for case in self.of_split(split) if case.gaze or case.boxed]

    def batches(
        self, split: str, batch_size: int | None = None, case_ids: Sequence[str] | None = None
    ) -> Iterator[Batch]:
        own = {case.case_id: case for case in self.of_split(split)}
        chosen = [own[name] for name in case_ids] if case_ids is not None else list(own.values())
        for start in range(0, len(chosen), batch_size or 8):
            yield collate([sample(case) for case in chosen[start : start + (batch_size or 8)]])

    def readers(
        self, split: str, case_ids: Sequence[str], batch_size: int = 16
    ) -> Iterator[tuple[Batch, Batch]]:
        """Cases that several readers read: none, unless a test says so."""
        yield from ()

    def predictions(self) -> pl.DataFrame:
        """Probabilities that rise with `skill`; the noise is the case's own, so that runs correlate."""
        held = [case for case in self.cases if case.split != "train"]
        labels = np.eye(3)[[case.label for case in held]]
        shared = np.random.default_rng(0).normal(size=labels.shape)
        own = np.random.default_rng(self.seed).normal(size=labels.shape)
        scores = np.exp(shared + 0.5 * own + self.skill * labels)
        probabilities = scores / scores.sum(1, keepdims=True)
        return pl.DataFrame(
            {
                "case_id": [case.case_id for case in held],
                "patient": pl.Series([case.patient for case in held], dtype=pl.Int32),
                "split": [case.split for case in held],
                **{f"probability_{name}": probabilities[:, k] for k, name in enumerate(CLASSES)},
                **{f"label_{name}": labels[:, k].astype(np.int8) for k, name in enumerate(CLASSES)},
            }
        )


def cases(train: int = 6, validate: int = 9, test: int = 24) -> tuple[FakeCase, ...]:
    """Cases of three classes with a spot anywhere in the middle.

    Every fifth patient has two; test case 3 has no gaze.
    """
    random, made = np.random.default_rng(5), []
    for first, split, n in ((0, "train", train), (1000, "validate", validate), (2000, "test", test)):
        for k in range(n):
            x, y = random.uniform(14, SIZE - 14, 2)
            patient = first + k - (k % 5 == 4)
            gaze = (split, k) != ("test", 3)
            made.append(FakeCase(f"{split}-{k:02d}", patient, split, k % 3, (float(x), float(y)), gaze))
    return tuple(made)


def without_class(of: Sequence[FakeCase], label: int) -> tuple[FakeCase, ...]:
    """The cases with one class renamed to the next."""
    return tuple(replace(case, label=(label + 1) % 3) if case.label == label else case for case in of)


def sample(case: FakeCase) -> Sample:
    """An image with a spot, one to three fixations on it, or none, and perhaps a box about it.

    Such a case has a second box too, of another class, in a corner.
    """
    y, x = torch.meshgrid(torch.arange(SIZE) + 0.5, torch.arange(SIZE) + 0.5, indexing="ij")
    u, v = case.spot
    fixations = int(case.case_id[-1]) % 3 + 1 if case.gaze else 0
    shifts = 1.5 * torch.arange(fixations)[:, None] - 1.5
    return Sample(
        image=torch.exp(-((x - case.spot[0]) ** 2 + (y - case.spot[1]) ** 2) / 50)[None],
        label=torch.eye(3)[case.label],
        gaze=None,
        case_id=case.case_id,
        patient=case.patient,
        points=torch.tensor([case.spot]) + shifts,
        weights=0.2 + 0.1 * torch.arange(fixations),
        sigma=torch.full((2,), SIGMA),
        times=torch.stack([0.3 * torch.arange(fixations), torch.full((fixations,), 0.2)], 1),
        order=torch.arange(fixations),
        recorded=fixations,
        spec=GazeMaps(),
        boxes=torch.tensor([[u - 8, v - 8, u + 8, v + 8], [0, 0, 5, 5]]) if case.boxed else torch.zeros(0, 4),
        box_class=torch.tensor([-1, (case.label + 1) % 3])
        if case.boxed
        else torch.zeros(0, dtype=torch.int64),
    )


def lungs_about_the_spot(case: FakeCase) -> np.ndarray:
    """Both lungs (2, SIZE, SIZE) as if each were one half of the spot."""
    y, x = np.arange(SIZE)[:, None] + 0.5, np.arange(SIZE) + 0.5
    near = (x - case.spot[0]) ** 2 + (y - case.spot[1]) ** 2 <= 36
    return np.stack([near & (x >= case.spot[0]), near & (x < case.spot[0])])
