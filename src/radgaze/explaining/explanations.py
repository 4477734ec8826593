"""The explanations of several images: arrays, a picture, and files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from radgaze.errors import UserError
from radgaze.explaining.explanation import Explanation
from radgaze.explaining.folders import folder_of
from radgaze.explaining.record import ExplanationSettings
from radgaze.outputs import check_folder
from radgaze.predicting.inputs import Unreadable

if TYPE_CHECKING:
    from radgaze.reporting.style import ShownFigure

DRAWN = 8
"""Most images of one picture."""

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Explanations:
    """Explanations of N images; an image that could not be read has NaN in every array, and an error.

    `explanations[i]` and `explanations[i:j]` are those of some of the images, and so are those that a loop
    over them gives.

    Attributes:
        parts: The explanation of each image, or the reason why there is none.
        classes: Names of the C classes.
        methods: Names of the methods.
        settings: The settings that the maps depend on.
    """

    parts: tuple[Explanation | Unreadable, ...]
    classes: tuple[str, ...]
    methods: tuple[str, ...]
    settings: ExplanationSettings

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.parts)

    def __getitem__(self, at: int | slice) -> Explanations:
        """Return the explanations of one image, or of several."""
        return replace(self, parts=self.parts[at] if isinstance(at, slice) else (self.parts[at],))

    def __iter__(self) -> Iterator[Explanations]:
        """Iterate over the images."""
        return (self[i] for i in range(len(self)))

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each image: the id of a case, or image-001 and so on."""
        return tuple(
            each.requested.name if isinstance(each, Unreadable) else each.subject.name for each in self.parts
        )

    @property
    def errors(self) -> tuple[str | None, ...]:
        """Reason why an image could not be read; None for all others."""
        return tuple(each.reason if isinstance(each, Unreadable) else None for each in self.parts)

    @property
    def predicted(self) -> tuple[str | None, ...]:
        """The most probable class of each image."""
        return tuple(None if isinstance(each, Unreadable) else each.predicted for each in self.parts)

    @property
    def targets(self) -> tuple[tuple[str, ...], ...]:
        """The classes whose maps were made, of each image."""
        return tuple(() if isinstance(each, Unreadable) else each.targets for each in self.parts)

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        """Probability of each class, (N, C)."""
        rows = np.full((len(self), len(self.classes)), np.nan)
        for i, each in self._made:
            rows[i] = [each.probabilities[name] for name in self.classes]
        return rows

    @cached_property
    def images(self) -> Array | None:
        """The images as the model got them, (N, S, S) in [0, 1]; None where none could be read."""
        return self._stacked(lambda each: each.subject.image[0].numpy())

    @cached_property
    def heatmaps(self) -> dict[str, Array]:
        """Heatmaps in [0, 1] by method: (N, S, S), or (N, C, S, S) if the maps of all classes were made."""
        several = self.settings.target == "all"

        def of(method: str) -> Callable[[Explanation], Array]:
            def maps_of(each: Explanation) -> Array:
                maps = [each.maps[method, target] for target in each.targets]
                return np.stack(maps) if several else maps[0]

            return maps_of

        made = {name: self._stacked(of(name)) for name in self.methods}
        return {name: maps for name, maps in made.items() if maps is not None}

    @cached_property
    def mask(self) -> Array | None:
        """Probabilities of the decoder's mask, (N, S, S); None where the model has none."""
        return self._stacked(lambda each: each.mask)

    def plot(self, most: int = DRAWN) -> ShownFigure:
        """Draw the maps of the first images, each beside its radiograph and its prediction.

        Args:
            most: Largest number of images.

        Returns:
            A Matplotlib figure, which is independent of pyplot.
        """
        from radgaze.explaining.writing import sheet
        from radgaze.reporting.case_panels import Panel, mosaic

        rows = list[tuple[str, list[Panel]]]()
        for each, name in zip(self.parts[:most], self.names, strict=False):
            if isinstance(each, Unreadable):
                rows.append((name, [Panel("Radiograph", None, "could not be read")]))
                continue
            of_image = sheet(each)
            if len(self) > 1:
                label, panels = of_image[0]
                of_image[0] = (f"{name}\n{label}", panels)
            rows += of_image
        return mosaic(rows)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write what `radgaze explain` writes: a folder for each image, with maps.npz and pictures.

        Args:
            folder: The folder; images that could not be read have none in it.
            overwrite: Whether to replace maps that are in it; those of an image that could not be read are
                removed.

        Returns:
            The folder.

        Raises:
            UserError: It holds maps of such images, two images have one name, or it cannot be written.
        """
        from radgaze.explaining.writing import ADVICE, DONE, clear, write
        from radgaze.predicting.finding import replaced

        out = Path(folder)
        check_folder(out, "folder")
        names = [folder_of(name) for name in self.names]
        twice = sorted(name for name, times in Counter(names).items() if times > 1)
        if twice:
            raise UserError(f"two images are called {twice[0]}; save them in different folders")
        for name in names:
            if (out / name / DONE).is_file() and not overwrite:
                raise UserError(f"{out / name} holds maps already: {ADVICE}")
        out.mkdir(parents=True, exist_ok=True)
        for name in replaced(names, out) if overwrite else names:
            clear(out / name)
        for name, each in zip(names, self.parts, strict=True):
            if isinstance(each, Explanation):
                write(replace(each, subject=replace(each.subject, name=name)), out, self.settings)
        return out

    def __repr__(self) -> str:
        """Describe the explanations on one line."""
        words = f"{len(self)} of {', '.join(self.methods)}"
        failed = sum(error is not None for error in self.errors)
        return f"Explanations({words}{f'; {failed} could not be read' if failed else ''})"

    def _repr_png_(self) -> bytes:
        """The picture, as a notebook shows it."""
        return self.plot()._repr_png_()

    @property
    def _made(self) -> list[tuple[int, Explanation]]:
        """The explanations with their places."""
        return [(i, each) for i, each in enumerate(self.parts) if isinstance(each, Explanation)]

    def _stacked(self, array_of: Callable[[Explanation], Array | None]) -> Array | None:
        """The arrays of the images, with NaN for those that could not be read; None where there is none."""
        arrays = {i: array for i, each in self._made if (array := array_of(each)) is not None}
        if not arrays:
            return None
        shape = next(iter(arrays.values())).shape
        missing = np.full(shape, np.nan, np.float32)
        return np.stack([arrays.get(i, missing) for i in range(len(self))]).astype(np.float32)
