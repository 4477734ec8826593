"""Labels of a data set in Python: an index, a name, several names, or 0 and 1 for each class."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

from radgaze.errors import UserError, shortened
from radgaze.sources.dataset_item import as_array


def labels_of(
    given: Sequence[object], classes: tuple[str, ...], exclusive: bool | None
) -> tuple[list[frozenset[str]], bool]:
    """Read the labels of all items.

    Args:
        given: Label of each item: index of a class, its name, several names, or 0 and 1 for each class.
        classes: Names of the classes.
        exclusive: Whether each item has exactly one class; None if all items do.

    Returns:
        The classes of each item, and whether they are exclusive.

    Raises:
        UserError: A label is no such value, or classes are to be exclusive and an item has none or several.
    """
    labels = []
    for i, label in enumerate(given):
        try:
            labels.append(_classes(label, classes))
        except UserError as error:
            raise UserError(f"item {i} of the data set: {error}") from error
    single = [len(each) == 1 for each in labels]
    if exclusive and not all(single):
        i = single.index(False)
        raise UserError(f"item {i} of the data set has {len(labels[i])} classes, with `exclusive=True`")
    alone = all(single) and len(classes) > 1
    return labels, alone if exclusive is None else exclusive


def _classes(label: object, classes: tuple[str, ...]) -> frozenset[str]:
    if isinstance(label, str):
        return frozenset([_known(label, classes)])
    if isinstance(label, list | tuple | set | frozenset) and all(isinstance(each, str) for each in label):
        return frozenset(_known(str(each), classes) for each in label)
    if isinstance(label, Integral) and not isinstance(label, bool):
        return _at(int(label), classes)
    values = as_array(label, "label")
    if values.size == 1 and (values.ndim == 0 or len(classes) > 1):
        number = float(values.reshape(()))
        if number.is_integer():
            return _at(int(number), classes)
    if values.shape == (len(classes),) and set(values.tolist()) <= {0, 1}:
        return frozenset(name for name, value in zip(classes, values.tolist(), strict=True) if value)
    raise UserError(
        f"`label` must be the index or the name of a class, or {len(classes)} values of 0 and 1, got "
        f"{shortened(repr(label), 80)}"
    )


def _known(name: str, classes: tuple[str, ...]) -> str:
    if name not in classes:
        raise UserError(f"`label` {shortened(name, 80)!r} is none of the classes {', '.join(classes)}")
    return name


def _at(index: int, classes: tuple[str, ...]) -> frozenset[str]:
    if not 0 <= index < len(classes):
        raise UserError(f"`label` {index} is no index of the {len(classes)} classes")
    return frozenset([classes[index]])
