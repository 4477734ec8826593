"""Predictions of a trained model for cases on which it was not trained."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import torch
from torch import nn

from radgaze import models
from radgaze.console import progress
from radgaze.objectives.triangle import probabilities
from radgaze.runs.config import Config
from radgaze.runs.data import batches, dataset, uncached
from radgaze.store.store import Store


def predict(
    model: nn.Module,
    store: Store,
    config: Config,
    splits: Sequence[str] = ("validate", "test"),
    device: str = "cpu",
) -> pl.DataFrame:
    """Predict the cases of splits. The model is moved to the device and put into evaluation mode.

    Args:
        model: The trained model.
        store: Store of the run, with its split.
        config: Configuration of the run.
        splits: Names of the splits, at least one of which has cases.
        device: Device of the model.

    Returns:
        A row per case: case_id, patient, split, then probability_<class> and label_<class> for each class.
    """
    model = model.eval().to(device)
    tables = []
    for split in splits:
        cases = dataset(store, uncached(config), split)
        if not len(cases):
            continue
        rows, labels, ids = [], [], []
        with progress(f"Predicting {split}", total=len(cases)) as bar, torch.inference_mode():
            for batch in batches(cases, config.optimisation.batch_size):
                logits = models.forward(model, batch.to(device)).logits
                rows.append(probabilities(logits, config.objective.classification).cpu().double())
                labels.append(batch.label.to(torch.int8))
                ids += batch.case_id
                bar.advance(len(batch.case_id))
        probability, label = torch.cat(rows).numpy(), torch.cat(labels).numpy()
        columns: dict[str, object] = {"case_id": ids, "split": [split] * len(ids)}
        columns |= {f"probability_{c}": probability[:, i] for i, c in enumerate(store.classes)}
        columns |= {f"label_{c}": label[:, i] for i, c in enumerate(store.classes)}
        tables.append(pl.DataFrame(columns))
    patients = store.cases.select("case_id", "patient")
    table = pl.concat(tables).join(patients, on="case_id", how="left", maintain_order="left")
    first = ["case_id", "patient", "split"]
    return table.select(*first, *[c for c in table.columns if c not in first])
