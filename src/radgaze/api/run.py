"""A run with the methods that a user of it looks for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from radgaze.display import html_facts, near, text_facts
from radgaze.errors import UserError
from radgaze.runs import run
from radgaze.runs.history import best_epoch

if TYPE_CHECKING:
    from radgaze.explaining.explanations import Explanations
    from radgaze.predicting.predict import Image
    from radgaze.predicting.prediction import Prediction


class Run(run.Run):
    """A trained run: `Run.open(path)`, or the result of `radgaze.train`."""

    def __repr__(self) -> str:
        """Show the run at the prompt: experiment, folder, best epoch and test AUC."""
        return text_facts(*self._described())

    def _repr_html_(self) -> str:
        """Show the same in a notebook."""
        return html_facts(*self._described())

    def _described(self) -> tuple[str, dict[str, str]]:
        return f"Run {self.name}", {
            "experiment": self.experiment,
            "folder": near(self.path),
            "epochs": self._epochs(),
            "test AUC": self._auc(),
        }

    def _epochs(self) -> str:
        """The number of epochs and the best one, in words; empty for a vote, and where no epoch is recorded.

        To show an object raises no error, so a damaged file is named in place of what it holds.
        """
        try:
            history = self.history()
        except UserError as error:
            return str(error)
        split = self.config.selection
        best = best_epoch(history, split)
        if history.is_empty() or best is None:
            return str(history.height or "")
        return f"{history.height}, the best {best[0]} ({split} AUC {best[1]:.3f})"

    def _auc(self) -> str:
        """The macro AUC on the test cases, in words."""
        from radgaze.evaluation.results import MACRO, METRICS, read_results

        if not (self.path / METRICS).is_file():
            return "not evaluated yet"
        try:
            auc = read_results(self.path).test.auc.get(MACRO)
        except UserError as error:
            return str(error)
        if auc is None or auc.value is None:
            return "undefined"
        interval = "" if auc.low is None or auc.high is None else f" [{auc.low:.3f}, {auc.high:.3f}]"
        return f"{auc.value:.3f}{interval}"

    def predict(
        self, images: Image | Iterable[Image], *, masks: bool = True, **options: object
    ) -> Prediction:
        """Predict images; each goes the way that the run's stored images went.

        Args:
            images: Paths of files and folders, ids of cases of the run's store, arrays or tensors of shape
                (H, W), (B, H, W) or (B, 1, H, W), or an iterable of these.
            masks: Whether masks are made, where the model has any.
            **options: Fields of `PredictOptions`: `device`, `batch_size`, `keep_names`.

        Returns:
            The predictions in the given order: `probabilities` (N, C), `predicted`, `mask`, `accept`, and
            `to_frame()`. An image that cannot be read has an error.

        Raises:
            UserError: There is no such option, a path or case does not exist, or an array has no greys.
        """
        from radgaze.api.options import made
        from radgaze.predicting.options import PredictOptions
        from radgaze.predicting.predict import predict

        return predict(self, images, made(PredictOptions, options, "predict"), masks=masks)

    def explain(
        self, images: Image | Iterable[Image], methods: str | Sequence[str] = "all", **options: object
    ) -> Explanations:
        """Make the maps of images; each goes the way that the run's stored images went.

        Args:
            images: Images as `predict` takes them.
            methods: Names of methods, see `radgaze methods`, or "all" that apply to the model.
            **options: Further fields of `ExplainOptions`: `target` ("predicted", a class, or "all"),
                `reference`, `seed`, `device`, `batch_size`, `keep_names`.

        Returns:
            The explanations in the given order: `heatmaps` by method, (N, S, S), `mask`, `probabilities`;
            `plot()`, `save(folder)`; a notebook shows them as a picture. An image that cannot be read has an
            error.

        Raises:
            UserError: There is no such option, method or class, a path or case does not exist, or an array
                has no greys.
        """
        from radgaze.api.options import made
        from radgaze.explaining.making import explained
        from radgaze.explaining.options import ExplainOptions

        names = (methods,) if isinstance(methods, str) else tuple(methods)
        return explained(self, images, made(ExplainOptions, {**options, "methods": names}, "explain"))
