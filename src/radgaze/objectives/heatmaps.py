"""The heatmaps of a training step: several generators on one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

from radgaze import attribution
from radgaze.attribution.generator import Generator, Read
from radgaze.attribution.readout import Normalise
from radgaze.attribution.targets import runner_up, target_index
from radgaze.draws import uniform_maps
from radgaze.models.layers import layer_at
from radgaze.models.output import Output
from radgaze.objectives.config import HeatmapConfig, Map, ObjectiveConfig
from radgaze.objectives.terms import compares

PURPOSE = 201
"""Number of the draw of a class, of those that a case has."""


class Targets:
    """The classes that a step's heatmaps explain, each target determined once.

    Args:
        output: Output of the model.
        labels: Labels (B, C).
        classification: Kind of the classification, "softmax" or "sigmoid".
        draw: Key of the random choices for each case, (B,) int64, see `radgaze.draws`; None draws from
            torch's global generator.
    """

    def __init__(
        self, output: Output, labels: Tensor, classification: str, draw: Tensor | None = None
    ) -> None:
        self.output, self.labels, self.classification, self.draw = output, labels, classification, draw
        self._classes: dict[str, Tensor] = {}

    def classes(self, target: str) -> Tensor:
        """The class (B,) of a target; "true" draws one where a case has several."""
        if target not in self._classes:
            logits, draw = self.output.logits, self.draw
            drawn = None if draw is None else uniform_maps(draw, PURPOSE, (1, logits.shape[1]))[:, 0, 0]
            self._classes[target] = (
                runner_up(logits, self.labels, self.classes("true"))
                if target == "runner_up"
                else target_index(logits, target, self.labels, drawn=drawn)
            )
        return self._classes[target]

    def of(self, target: str) -> Tensor | Callable[..., Tensor]:
        """The target as a generator takes it: a class of each case, or a function of the output."""
        if target == "contrast":
            return Contrast(self.classes("true"), self.classes("runner_up"))
        return self.all_classes if target == "all" else self.classes(target)

    def all_classes(self, output: Output) -> Tensor:
        """Σ_k log p_k (B,), or Σ_k (log p_k + log(1 − p_k)) where classes do not exclude each other."""
        logits = output.logits.float()
        if self.classification == "sigmoid":
            log_sigmoid = nn.functional.logsigmoid
            return (log_sigmoid(logits) + log_sigmoid(-logits)).sum(1)
        return logits.log_softmax(1).sum(1)


@dataclass(frozen=True)
class Contrast:
    """The logit of each case's true class less that of its runner-up, as a target of some cases.

    Attributes:
        true: The true class, (B,).
        other: The runner-up, (B,).
    """

    true: Tensor
    other: Tensor

    def __call__(self, output: Output) -> Tensor:
        """Compute the difference (B,)."""
        true, other = (output.logits.gather(1, each[:, None]) for each in (self.true, self.other))
        return (true - other)[:, 0]

    def __getitem__(self, cases: Tensor) -> Contrast:
        """The target of copies of some of the cases (N,), of which generators of many passes are made."""
        return Contrast(self.true[cases], self.other[cases])


class Heatmaps:
    """The generators of the heatmaps that an objective needs.

    Args:
        model: The network.
        config: Settings of the objective.

    Raises:
        UserError: The network has no such layer.
        ValueError: A generator has no such option.
    """

    def __init__(self, model: nn.Module, config: ObjectiveConfig) -> None:
        names = [name for name in (Map.HEATMAP.value, *config.heatmaps) if compares(config, name)]
        self.configs: Mapping[str, HeatmapConfig] = {name: config.heatmap_config(name) for name in names}
        self._places: dict[str, int] = {}
        self.generators: list[Generator] = []
        made: dict[tuple[object, ...], int] = {}
        for name, heatmap in self.configs.items():
            key = (
                heatmap.generator,
                heatmap.readout,
                heatmap.layer,
                heatmap.channel_weights,
                heatmap.attention_gradients,
                heatmap.compiled,
            )
            if key not in made:
                made[key] = len(self.generators)
                self.generators.append(create(model, heatmap))
            self._places[name] = made[key]

    @contextmanager
    def capture(self, model: nn.Module) -> Iterator[Callable[[Output, Targets], dict[str, Tensor]]]:
        """Capture the model's next forward pass.

        Yields:
            Function of the output and its targets that returns the raw heatmaps (B, 1, H, W) by name.
        """
        with ExitStack() as stack:
            reads: list[Read] = [stack.enter_context(each.capture(model)) for each in self.generators]

            def read(output: Output, targets: Targets) -> dict[str, Tensor]:
                return {
                    name: reads[self._places[name]](output, targets.of(heatmap.target), targets.labels)
                    for name, heatmap in self.configs.items()
                }

            yield read


def create(model: nn.Module, heatmap: HeatmapConfig, normalise: Normalise = "none") -> Generator:
    """Create the generator of a heatmap's settings.

    Args:
        model: The network.
        heatmap: The settings.
        normalise: Scaling of each map, see `Generator`.

    Raises:
        UserError: The network has no such layer.
        ValueError: The generator has no such option.
    """
    options: dict[str, object] = {"normalise": normalise, "compiled": heatmap.compiled}
    if heatmap.readout is not None:
        options["readout"] = heatmap.readout
    if heatmap.layer is not None:
        options["layer"] = layer_at(model, heatmap.layer)
    if heatmap.channel_weights != "exact":
        options["channel_weights"] = heatmap.channel_weights
    if heatmap.attention_gradients != "held":
        options["attention_gradients"] = heatmap.attention_gradients
    return attribution.create(heatmap.generator, model, **options)
