"""A run with the methods that a user of it looks for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from radgaze.runs import run

if TYPE_CHECKING:
    from radgaze.predicting.predict import Image
    from radgaze.predicting.prediction import Prediction


class Run(run.Run):
    """A trained run: `Run.open(path)`, or the result of `radgaze.train`."""

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
