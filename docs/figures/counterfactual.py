"""Make docs/images/counterfactual.png: simulated training images, and what the network sees of them.

From the root of the repository, under a minute on one core:

    OMP_NUM_THREADS=1 .venv/bin/python docs/figures/counterfactual.py [WORK]

WORK keeps phantom and store, which are not made again; without it they go to a temporary folder.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from radgaze.cli.demo import make_store
from radgaze.cli.demo_sizes import Scale
from radgaze.reporting.style import save
from radgaze.reporting.training_images import mosaic
from radgaze.runs import settings
from radgaze.runs.config import Config
from radgaze.runs.data import open_store
from radgaze.store.batch import Batch
from radgaze.training.counterfactual import change
from radgaze.training.loading import StoreData

PICTURE = Path(__file__).parents[1] / "images" / "counterfactual.png"
SEED = 7
SCALE = Scale(patients=60, confounding=0.9, pixels=512, overrides={})
SHOWN = 8
ROWS = {
    "Image": {"share": 1e-9},
    "exchange": {},
    "exchange,\nfeather 0.06": {"feather": 0.06},
    "exchange,\nregion lungs": {"region": "lungs"},
    "fill": {"kind": "fill"},
    "noise": {"kind": "noise"},
    "blur": {"kind": "blur"},
}
"""Fields of `counterfactual` of each row, beside those of the experiment `exchange`."""


def main(work: Path) -> None:
    store = make_store(work, seed=SEED, scale=SCALE)
    configs = {
        label: settings.resolve(
            "exchange", data=str(store.path), seed=SEED, input={"size": 160}, counterfactual=fields
        )
        for label, fields in ROWS.items()
    }
    batches = {label: first_batch(config) for label, config in configs.items()}
    changed = {label: change(batches[label], config.counterfactual) for label, config in configs.items()}
    rows = {label: grey(each.batch.image) for label, each in changed.items()}
    save(mosaic(rows, grey(changed["exchange"].retained)), PICTURE, dpi=110)


def first_batch(config: Config) -> Batch:
    batch: Batch = next(iter(StoreData(open_store(config), config).train_dataloader()))
    return batch


def grey(pixels: Tensor) -> list[NDArray[np.uint8]]:
    return list((255 * pixels[:SHOWN, 0]).round().byte().numpy())


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder))
