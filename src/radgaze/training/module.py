"""One training step: a forward pass shared by classification, mask and heatmap, and the triangle's loss."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torchmetrics import MeanMetric
from torchmetrics.classification import MultilabelAUROC
from torchmetrics.utilities import dim_zero_cat

from radgaze import attribution, models
from radgaze.attribution.generator import Read
from radgaze.attribution.targets import Target, target_index
from radgaze.errors import UserError
from radgaze.objectives.config import Map
from radgaze.objectives.triangle import (
    ALONE,
    Maps,
    Shares,
    classification,
    objective,
    probabilities,
)
from radgaze.runs.config import Config, OptimisationConfig
from radgaze.store.batch import Batch


class NonFiniteLossError(UserError):
    """A term of the loss became NaN or infinite; the message names the step, the cases and the term."""


class DefinedAUROC(MultilabelAUROC):
    """The mean AUC of the classes that some cases have and some lack; NaN without any.

    torchmetrics counts the AUC of every other class as 0, which lowers the mean of many rare classes.
    """

    def compute(self) -> Tensor:  # type: ignore[override]  # MultilabelAUROC's own differs from its base's too
        labels = dim_zero_cat(self.target)
        return super().compute()[labels.any(0) & ~labels.all(0)].mean()


class GazeGuided(L.LightningModule):
    """Trains a model on the objective of a configuration.

    Args:
        model: Network that returns an `Output`, called by `models.forward`.
        config: Configuration of the run.
        classes: Number of classes.
    """

    def __init__(self, model: nn.Module, config: Config, classes: int) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.auc = DefinedAUROC(num_labels=classes, average="none")
        # Not Lightning's own mean: of processes with 5 and 4 cases, that counts 9 as 8.
        self.validation_loss = MeanMetric()
        self.generator: attribution.Generator | None = None
        if config.objective.compares(Map.HEATMAP):
            heatmap = config.objective.heatmap
            options = {} if heatmap.readout is None else {"readout": heatmap.readout}
            self.generator = attribution.create(
                heatmap.generator, model, normalise="none", compiled=heatmap.compiled, **options
            )

    def on_train_epoch_start(self) -> None:
        # Drop-out depends on seed, epoch and process alone: a resumed run equals one that never stopped.
        torch.manual_seed((self.config.seed * 100_003 + self.current_epoch) * 1_009 + self.global_rank)

    def training_step(self, batch: Batch, step: int) -> Tensor:
        logits, mask, heat = self._forward(batch)
        maps = Maps(self._gaze(batch), batch.has_gaze, batch.sigma, mask, heat)
        shares = self._shares(batch)
        terms = objective(logits, batch.label, maps, self.config.objective, shares)
        self._stop_if_not_finite(terms, batch)
        # A step counts as its cases do, all processes' together: these are as many in each of them.
        cases = round(len(batch.case_id) / float(shares.cases) * self.trainer.world_size)
        for name, value in terms.items():
            self.log(
                f"train/{name}",
                value.detach(),
                on_step=False,
                on_epoch=True,
                batch_size=cases,
                sync_dist=True,
            )
        return terms["loss"]

    def validation_step(self, batch: Batch, step: int) -> None:
        logits = models.forward(self.model, batch).logits
        loss = classification(logits, batch.label, self.config.objective.classification)
        split = self.config.selection
        self.validation_loss.update(loss, len(batch.case_id))
        self.log(f"{split}/classification", self.validation_loss, on_epoch=True, batch_size=1)
        self.auc.update(probabilities(logits, self.config.objective.classification), batch.label.long())
        self.log(f"{split}/auc", self.auc, on_epoch=True, batch_size=len(batch.case_id))

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        settings = self.config.optimisation
        if settings.optimiser == "adam":
            optimiser: torch.optim.Optimizer = torch.optim.Adam(
                self.model.parameters(), lr=settings.learning_rate
            )
        else:
            optimiser = torch.optim.AdamW(
                decay_groups(self.model, settings.weight_decay), lr=settings.learning_rate
            )
        if settings.schedule == "triangular2":
            schedule = torch.optim.lr_scheduler.LambdaLR(
                optimiser, lambda epoch: triangular2(epoch, settings)
            )
            return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "epoch"}}
        steps = int(self.trainer.estimated_stepping_batches)
        warmup = settings.warmup_epochs * steps / max(self.config.trainer.max_epochs, 1)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: cosine(step, steps, warmup))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _forward(self, batch: Batch) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Compute logits, mask and heatmap; of a mask of one class, the heatmap of the same class."""
        capture: AbstractContextManager[Read | None] = (
            nullcontext() if self.generator is None else self.generator.capture(self.model)
        )
        with attribution.synchronised(), capture as read:
            output, target = models.forward(self.model, batch), self.config.objective.heatmap.target
            shown: Target = target
            mask = output.mask
            if output.class_maps is not None:
                shown = target_index(output.logits, target, batch.label)
                mask = output.mask_of(shown)
            return output.logits, mask, None if read is None else read(output, shown, batch.label)

    def _shares(self, batch: Batch) -> Shares:
        if self.trainer.world_size == 1:
            return ALONE
        counts = torch.stack([torch.ones_like(batch.has_gaze).sum(), batch.has_gaze.sum()]).float()
        cases, gaze = counts / self.trainer.strategy.reduce(counts.clone(), reduce_op="mean").clamp(min=1e-6)
        return Shares(cases, gaze)

    def _gaze(self, batch: Batch) -> Tensor:
        if self.config.objective.compares(Map.GAZE):
            return batch.gaze_maps()
        return torch.zeros_like(batch.image)

    def _stop_if_not_finite(self, terms: dict[str, Tensor], batch: Batch) -> None:
        if torch.isfinite(terms["loss"]):
            return
        broken = [name for name, value in terms.items() if name != "loss" and not torch.isfinite(value)] or [
            "loss"
        ]
        raise NonFiniteLossError(
            f"the loss is not finite at step {self.global_step}: {', '.join(broken)}; "
            f"cases {', '.join(batch.case_id)}; try a lower `optimisation.learning_rate`, "
            "or `trainer.precision=32-true`"
        )


def cosine(step: int, steps: int, warmup: float) -> float:
    """Multiplier of the learning rate: linear up to 1 over `warmup` steps, then half a cosine down to 0."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1.0, steps - warmup))))


def triangular2(epoch: int, config: OptimisationConfig) -> float:
    """Multiplier of the seed: a triangle that peaks at 1 and halves each cycle, above the rate itself."""
    low, half = config.learning_rate, config.step_epochs
    cycle = math.floor(1 + epoch / (2 * half))
    x = abs(epoch / half - 2 * cycle + 1)
    return low + (1 - low) * max(0.0, 1 - x) / 2.0 ** (cycle - 1)


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Group the parameters with weight decay, and those without: biases and norms, of one dimension."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
