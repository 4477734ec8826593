"""The radiographs of cases as a store has them, at its resolution."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from radgaze.store.placement import Fit, Frame
from radgaze.store.store import Store


def scans(store: Store, case_ids: Iterable[str], fit: Fit) -> dict[str, NDArray[np.uint8]]:
    """Cut the radiographs of some cases out of their squares in the store.

    Args:
        store: The store.
        case_ids: Ids of the cases.
        fit: Placement in a model's input: for "stretch" the radiograph without its padding, and for "pad" the
            whole square, so that maps of that input lie over the result.

    Returns:
        The radiographs (h, w), by case id.
    """
    chosen = set(case_ids)
    cases = store.cases.select("case_id", "rows", "columns")
    cut = {}
    for place, (case_id, rows, columns) in enumerate(cases.iter_rows()):
        if case_id in chosen:
            left, top, right, bottom = Frame(rows, columns, store.size).seen(fit)
            cut[case_id] = np.array(store.image(place)[top:bottom, left:right])
    return cut
