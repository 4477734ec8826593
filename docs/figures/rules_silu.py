"""Make docs/images/rules_silu.png: what the rules show of a network whose activation is SiLU.

A U-Net on EfficientNet-b0 is trained from random weights, on made radiographs, as `radgaze train` trains
the baseline. Then the abnormal test case that it is surest of is read out under each rule. From the root of
the repository, some minutes on one core:

    OMP_NUM_THREADS=1 .venv/bin/python docs/figures/rules_silu.py [WORK]

WORK keeps phantom, store and run, which are not made again; without it they go to a temporary folder.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from radgaze import attribution
from radgaze.cli.demo import make_store
from radgaze.cli.demo_sizes import Scale
from radgaze.reporting.style import HEAT, MUTED, canvas, save, styled
from radgaze.runs import settings
from radgaze.runs.run import Run
from radgaze.training.train import train

PICTURE = Path(__file__).parents[1] / "images" / "rules_silu.png"
SEED = 7
SCALE = Scale(patients=600, confounding=0.0, pixels=512, overrides={})
TRAINING = {
    "model": {"encoder": "timm-efficientnet-b0", "weights": "none", "decoder_channels": [64, 32, 16, 8, 8]},
    "input": {"size": 160, "augment": True},
    "optimisation": {"learning_rate": 0.002, "batch_size": 16, "warmup_epochs": 1},
    "trainer": {"max_epochs": 15, "patience": 0, "accelerator": "cpu", "logger": "none"},
}
PANELS = {
    "Back-propagation": ("backprop", {}),
    'Guided, rule_for="relu"': ("guided_backprop", {"rule_for": "relu"}),
    'DeconvNet, rule_for="relu"': ("deconvnet", {"rule_for": "relu"}),
    "Guided": ("guided_backprop", {}),
    "DeconvNet": ("deconvnet", {}),
}


def main(work: Path) -> None:
    run = trained(work)
    model = run.model()
    image, target = surest(run, model)
    maps = read_out(model, image, target)
    plain = maps["Back-propagation"]
    notes = {name: difference(heat, plain) for name, heat in maps.items()}
    print(run.classes[target], notes)
    draw(image, maps, notes)


def trained(work: Path) -> Run:
    if (work / "run" / "predictions.parquet").is_file():
        return Run.open(work / "run")
    store = make_store(work, seed=SEED, scale=SCALE)
    config = settings.resolve("baseline", data=str(store.path.resolve()), seed=SEED, **TRAINING)
    return train(config, work / "run", overwrite=True)


@torch.no_grad()
def surest(run: Run, model: nn.Module) -> tuple[Tensor, int]:
    """Image (1, 1, H, W) and class of the abnormal test case whose own class is the most probable."""
    batches = list(run.batches("test"))
    images, labels = (torch.cat([getattr(batch, name) for batch in batches]) for name in ("image", "label"))
    own = model(images).logits.softmax(1) * labels
    own[:, run.classes.index("Normal")] = 0
    case, target = divmod(int(own.argmax()), own.shape[1])
    return images[case : case + 1], target


def read_out(model: nn.Module, image: Tensor, target: int) -> dict[str, Tensor]:
    """The raw map (1, 1, H, W) of each panel."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the literal rule met no ReLU: so it is meant
        return {
            title: attribution.create(name, model, normalise="none", **options)(image, target)
            for title, (name, options) in PANELS.items()
        }


def difference(heat: Tensor, plain: Tensor) -> str:
    """In words: from the plain gradient, each map over its largest value."""
    if heat is plain:
        return ""
    apart = float((heat / heat.max() - plain / plain.max()).abs().max())
    alike = float(torch.corrcoef(torch.stack([heat.flatten(), plain.flatten()]))[0, 1])
    return f"largest difference {apart:.2g}\ncorrelation {alike:.2f}"


def draw(image: Tensor, maps: dict[str, Tensor], notes: dict[str, str]) -> None:
    with styled():
        figure = canvas(13, 2.95)
        axes = figure.subplots(1, 1 + len(maps))
        axes[0].imshow(image[0, 0].numpy(), cmap="gray")
        axes[0].set_title("Radiograph (made)", fontsize=9.5)
        for ax, (title, heat) in zip(axes[1:], maps.items(), strict=True):
            values = heat[0, 0].numpy()
            ax.imshow(values / np.quantile(values, 0.99), cmap=HEAT, vmin=0, vmax=1)
            ax.set_title(title, fontsize=9.5)
            ax.set_xlabel(notes[title], color=MUTED)
        for ax in axes:
            ax.set(xticks=[], yticks=[])
            ax.grid(False)
            ax.spines[:].set_visible(False)
    save(figure, PICTURE, dpi=115)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder))
