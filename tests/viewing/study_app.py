"""The pages of a study over made images, without a network."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
from starlette.applications import Starlette

from radgaze.viewing.app import make_app
from radgaze.viewing.service import PlacedMap, Service
from radgaze.viewing.shown import Shown
from radgaze.viewing.study.conduct import Conduct
from radgaze.viewing.study.design import Design
from radgaze.viewing.study.order import trials
from radgaze.viewing.study.pages import study_routes
from radgaze.viewing.study.record import Recorder
from radgaze.viewing.study.setting import Setting
from tests.viewing.studies import ANSWERS, begun, design, known


class FakeService:
    """Grey images and maps, whose first value is the number of the case."""

    async def image(self, key: str) -> Shown:
        pixels = np.full((100, 80), int(key.removeprefix("case-")), dtype=np.uint16)
        return Shown(key, pixels, (0.0, 65535.0), 100, 80)

    async def map_of(self, key: str, run: int, method: str, target: str) -> PlacedMap:
        return PlacedMap(np.zeros((8, 8), np.uint16), (0.0, 0.0, 80.0, 100.0))

    async def warm(self) -> None:
        """Start nothing."""

    def close(self) -> None:
        """End nothing."""


STUDY = design(2, 3, washout_days=0)
CASES = known(3, 1)


def conducted(recorder: Recorder, study: Design = STUDY) -> Conduct:
    ids = [each.case_id for each in CASES]
    plan = {reader: trials(study, ids, [], reader) for reader in study.readers}
    return Conduct(study, recorder, list(ANSWERS), plan)


def app_of(recorder: Recorder, study: Design = STUDY) -> Starlette:
    keys = {each.case_id: f"case-{k}" for k, each in enumerate(CASES)}
    targets = {(c.case_id, each.name): "disease" for c in CASES for each in study.conditions}
    setting = Setting(conducted(recorder, study), keys, targets)
    return make_app(cast(Service, FakeService()), routes=study_routes(setting))


def serve(record: Path, port: int) -> None:
    import uvicorn

    uvicorn.run(app_of(begun(record, STUDY, CASES)), host="127.0.0.1", port=port, log_level="error")
