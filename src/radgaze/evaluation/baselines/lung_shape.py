"""Baseline map of two lungs: the masks of the case's lungs where the store has them, else a fixed shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from radgaze.evaluation.baselines.baseline_map import BaselineInputs, BaselineMap, Floats, register
from radgaze.store.lungs import Lungs
from radgaze.words import count


@register("lung_shape", title="lung shape")
class LungShape(BaselineMap):
    """The lungs of each case where the store has masks of both, else `draw_lung_shape`."""

    def __init__(self, inputs: BaselineInputs) -> None:
        super().__init__(inputs)
        self._lungs = Lungs(inputs.store, inputs.fit, inputs.size)

    def __call__(self, case_ids: Sequence[str]) -> Floats:
        """Return the lungs of cases in [0, 1], of shape (B, S, S)."""
        return np.stack([self._lungs(case_id) / 255.0 for case_id in case_ids])

    def counts(self, case_ids: Sequence[str]) -> dict[str, int]:
        """Return the number of cases for which the store has masks of both lungs, as "own_lungs"."""
        return {"own_lungs": sum(case_id in self._lungs.own for case_id in case_ids)}

    @classmethod
    def summary(cls, counts: Mapping[str, int]) -> str:
        if not (cases := counts.get("own_lungs", 0)):
            return "a lung shape that is the same for all"
        return f"a lung shape, in {count(cases, 'case')} the case's own lungs and else the same for all"

    @classmethod
    def remark(cls, counts: Mapping[str, int]) -> str:
        cases = counts.get("own_lungs")
        return f"the lung shape is that of the case's own lungs in {cases} of them" if cases else ""
