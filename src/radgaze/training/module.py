"""One training step: a forward pass shared by classification, mask and heatmaps, and their loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torchmetrics import MeanMetric
from torchmetrics.classification import MultilabelAUROC
from torchmetrics.utilities import dim_zero_cat

from radgaze import attribution, models
from radgaze.errors import UserError
from radgaze.models import freezing
from radgaze.models.layers import kept_features
from radgaze.models.output import Output
from radgaze.models.second_pass import run_again
from radgaze.objectives import triangle
from radgaze.objectives.config import PARTS, Map
from radgaze.objectives.heatmaps import Heatmaps, Targets
from radgaze.objectives.step import ForwardPass, Maps, Outputs
from radgaze.objectives.terms import compares
from radgaze.objectives.triangle import ALONE, Shares, classification, probabilities
from radgaze.runs.config import Config, OptimisationConfig
from radgaze.runs.training_images import TrainingImage
from radgaze.store.batch import Batch
from radgaze.training.checkpoints import count_as
from radgaze.training.counterfactual import change
from radgaze.training.factors import Factors
from radgaze.training.optimiser import groups


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

    Attributes:
        shown: Images of the first step, in the first process, of a run that changes them.
    """

    def __init__(self, model: nn.Module, config: Config, classes: int) -> None:
        super().__init__()
        self.model = model
        self.config = config
        # torchmetrics would refuse a single class, which it computes as each of several.
        self.auc = DefinedAUROC(num_labels=classes, average="none", validate_args=classes > 1)
        # Not Lightning's own mean: of processes with 5 and 4 cases, that counts 9 as 8.
        self.validation_loss = MeanMetric()
        self.heatmaps = Heatmaps(model, config.objective)
        self.factors = Factors(config.objective)
        self._has_boxes_term = compares(config.objective, Map.BOXES)
        self._parts = [part.value for part in PARTS if compares(config.objective, part)]
        self.shown: list[TrainingImage] = []

    def train(self, mode: bool = True) -> Self:
        """Set the mode; batch norms of frozen parts stay in evaluation mode."""
        super().train(mode)
        freezing.hold_norms(self)
        return self

    def on_train_epoch_start(self) -> None:
        # Drop-out depends on seed, epoch and process alone: a resumed run equals one that never stopped, on
        # the same number of devices.
        torch.manual_seed((self.config.seed * 100_003 + self.current_epoch) * 1_009 + self.global_rank)

    def training_step(self, batch: Batch, step: int) -> Tensor:
        batch = self._counterfactual(batch)
        shares, objective = self._shares(batch), self.config.objective
        terms, maps = self._terms(batch, shares)
        counts = triangle.cases(maps, objective) if self.factors.counting else {}
        factors = self.factors.at(self._progress(), terms, counts, self._mean_of_processes)
        terms = {"loss": triangle.total(terms, objective, factors), **terms}
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

    def terms(self, batch: Batch, shares: Shares = ALONE) -> dict[str, Tensor]:
        """The terms of the loss of a batch, without their weights; see `objectives.triangle.terms`.

        Args:
            batch: The batch, on the model's device.
            shares: Share of this batch in the batches of all processes.

        Raises:
            MissingError: A term needs a map or an output that the model does not have.
        """
        return self._terms(batch, shares)[0]

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
        kind = torch.optim.Adam if settings.optimiser == "adam" else torch.optim.AdamW
        optimiser = kind(groups(self.model, settings), lr=settings.learning_rate)
        if settings.schedule == "triangular2":
            schedule = torch.optim.lr_scheduler.LambdaLR(
                optimiser, lambda epoch: triangular2(epoch, settings)
            )
            return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "epoch"}}
        steps = int(self.trainer.estimated_stepping_batches)
        warmup = settings.warmup_epochs * steps / max(self.config.trainer.max_epochs, 1)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: cosine(step, steps, warmup))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if state := self.factors.state():
            checkpoint["factors"] = state

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.factors.restore(checkpoint.get("factors", {}))
        # Another number of devices makes another number of steps of an epoch. Schedules go by the steps done.
        data = self.trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it
        steps = (checkpoint["epoch"] + 1) * len(data.train_dataloader())
        if steps != checkpoint["global_step"]:
            count_as(checkpoint, steps, rate_by_steps=self.config.optimisation.schedule == "cosine")

    def _terms(self, batch: Batch, shares: Shares) -> tuple[dict[str, Tensor], Maps]:
        """The terms of the loss, and the maps that they were computed from."""
        output, maps, forward = self._forward(batch)
        if maps.has_boxes is not None and shares is not ALONE:
            shares = replace(shares, boxes=self._share(maps.has_boxes))
        goal = self.config.objective
        return triangle.terms(output.logits, batch.label, maps, goal, shares, forward=forward), maps

    def _forward(self, batch: Batch) -> tuple[Output, Maps, ForwardPass]:
        """Run the model and make the maps; where each class has a mask, it is that of the heatmap's class."""
        with (
            attribution.synchronised(),
            kept_features(self.model) as features,
            self.heatmaps.capture(self.model) as read,
        ):
            output = models.forward(self.model, batch)
            outputs = _outputs(output, features)  # before generators run the encoder on further images
            targets = Targets(output, batch.label, self.config.objective.classification, batch.draw)
            explained = self.config.objective.heatmap.explained
            mask = output.mask
            if output.class_maps is not None:
                mask = output.mask_of(targets.classes(explained))
            heatmaps = read(output, targets)
        heatmap = heatmaps.pop(Map.HEATMAP.value, None)
        maps = Maps(
            self._gaze(batch),
            batch.has_gaze,
            batch.sigma,
            mask,
            heatmap,
            heatmaps,
            self._gaze_of_classes(batch, targets, masks_of_classes=output.class_maps is not None),
        )
        if self._has_boxes_term:
            boxes, has_boxes = batch.box_maps(targets.classes(explained))
            maps = replace(maps, boxes=boxes, has_boxes=has_boxes)
        maps = replace(maps, parts={part: batch.part_maps(part) for part in self._parts})

        device = batch.image.device.type
        autocast = torch.is_autocast_enabled(device)  # not while the terms are computed

        def again(images: Tensor) -> Outputs:
            with (
                torch.autocast(device, torch.get_autocast_dtype(device), enabled=autocast),
                attribution.synchronised(),
                kept_features(self.model) as features,
            ):
                return _outputs(run_again(self.model, batch, images), features)

        patient = None
        if self.config.objective.terms:
            patient = torch.tensor(batch.patient, device=batch.image.device)
        return output, maps, ForwardPass(batch.image, outputs, targets.classes, again, patient, batch.draw)

    def _counterfactual(self, batch: Batch) -> Batch:
        """Change the images as the configuration says, and log how many are changed and are not."""
        if self.config.counterfactual.kind == "none":
            return batch
        changed = change(batch, self.config.counterfactual)
        if self.global_step == 0 and self.global_rank == 0:
            self.shown = changed.shown(batch)
        for name, count in changed.counts.items():
            self.log(name, count, on_step=False, on_epoch=True, reduce_fx="sum", sync_dist=True)
        return changed.batch

    def _progress(self) -> float:
        """The share of all training steps that are done, in [0, 1]."""
        return min(1.0, self.global_step / max(1.0, float(self.trainer.estimated_stepping_batches)))

    def _mean_of_processes(self, value: Tensor) -> float:
        if self.trainer.world_size == 1:
            return float(value.detach())
        return float(self.trainer.strategy.reduce(value.detach().clone(), reduce_op="mean"))

    def _shares(self, batch: Batch) -> Shares:
        if self.trainer.world_size == 1:
            return ALONE
        every = torch.ones_like(batch.has_gaze)
        return Shares(self._share(every), self._share(batch.has_gaze), share_of=self._share)

    def _share(self, counted: Tensor) -> Tensor:
        """The number of cases (B,) that are counted, over its mean of all processes."""
        count = counted.sum().float()
        mean: Tensor = self.trainer.strategy.reduce(count.clone(), reduce_op="mean")
        return count / mean.clamp(min=1e-6)

    def _gaze(self, batch: Batch) -> Tensor:
        if compares(self.config.objective, Map.GAZE):
            return batch.gaze_maps()
        return torch.zeros_like(batch.image)

    def _gaze_of_classes(
        self, batch: Batch, targets: Targets, *, masks_of_classes: bool
    ) -> dict[str, Tensor]:
        """The gaze of the class that each heatmap explains, and the mask where each class has one."""
        objective = self.config.objective
        if self.config.gaze.per == "case" or not compares(objective, Map.GAZE):
            return {}
        explained = {name: heatmap.target for name, heatmap in self.heatmaps.configs.items()}
        if masks_of_classes:
            explained[Map.MASK.value] = objective.heatmap.target
        maps = {
            target: batch.gaze_maps(classes=targets.classes(target))
            for target in set(explained.values()) & {"true", "predicted"}
        }
        return {name: maps[target] for name, target in explained.items() if target in maps}

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


def _outputs(output: Output, features: Sequence[Tensor]) -> Outputs:
    return Outputs(output.logits, output.aux_logits, features[-1] if features else None)


def cosine(step: int, steps: int, warmup: float) -> float:
    """Multiplier of the learning rate in a step: linear to 1 over `warmup` steps, then a half cosine to 0."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1.0, steps - warmup))))


def triangular2(epoch: int, config: OptimisationConfig) -> float:
    """Multiplier of the learning rate in an epoch, as in the published code.

    It is a triangle wave with a period of 2 · `step_epochs`, whose height above the floor is halved in each
    cycle; the first peak is 1. The floor has the number of the learning rate, so that the lowest rate is the
    learning rate squared.
    """
    low, half = config.learning_rate, config.step_epochs
    cycle = math.floor(1 + epoch / (2 * half))
    x = abs(epoch / half - 2 * cycle + 1)
    return low + (1 - low) * max(0.0, 1 - x) / 2.0 ** (cycle - 1)
