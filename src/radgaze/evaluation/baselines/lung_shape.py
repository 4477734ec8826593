"""Baseline map of two lungs: the masks of the case's lungs where the store has them, else a fixed shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from radgaze.evaluation.baselines.baseline_map import BaselineInputs, BaselineMap, Floats, register
from radgaze.store.lungs import Lungs
from radgaze.store.placement import Frame
from radgaze.words import count


@register("lung_shape", title="lung shape")
class LungShape(BaselineMap):
    """The lungs of each case where the store has masks of both, else `draw_lung_shape`."""

    def __init__(self, inputs: BaselineInputs) -> None:
        super().__init__(inputs)
        cases = inputs.store.cases
        case_ids = cases["case_id"].to_list()
        self._place = {case_id: i for i, case_id in enumerate(case_ids)}
        self._lungs = Lungs(inputs.store, case_ids, inputs.size)
        self._frames = [
            Frame(rows, columns, inputs.store.size)
            for rows, columns in cases.select("rows", "columns").iter_rows()
        ]

    def __call__(self, case_ids: Sequence[str]) -> Floats:
        """Return the lungs of cases in [0, 1], of shape (B, S, S)."""
        return np.stack([self._lungs_of(self._place[case_id]) for case_id in case_ids])

    def counts(self, case_ids: Sequence[str]) -> dict[str, int]:
        """Return the number of cases for which the store has masks of both lungs, as "own_lungs"."""
        return {"own_lungs": int(self._lungs.own[[self._place[case_id] for case_id in case_ids]].sum())}

    @classmethod
    def summary(cls, counts: Mapping[str, int]) -> str:
        if not (cases := counts.get("own_lungs", 0)):
            return "a lung shape that is the same for all"
        return f"a lung shape, in {count(cases, 'case')} the case's own lungs and else the same for all"

    @classmethod
    def remark(cls, counts: Mapping[str, int]) -> str:
        cases = counts.get("own_lungs")
        return f"the lung shape is that of the case's own lungs in {cases} of them" if cases else ""

    def _lungs_of(self, i: int) -> Floats:
        return self._lungs.of(i, self._frames[i], self.inputs.fit) / 255.0
