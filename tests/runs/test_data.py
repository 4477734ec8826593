"""Images are kept in memory only where they fit, and loaded the same either way."""

from __future__ import annotations

import pytest
import torch

from radgaze.runs import data
from radgaze.runs.data import batches, dataset
from radgaze.store.store import Store
from tests.training.conftest import Configure


@pytest.mark.parametrize(("workers", "devices"), [(0, 1), (3, 1), (0, 2)])
def test_images_are_kept_where_all_copies_take_less_than_a_quarter_of_the_free_memory(
    workers: int, devices: int, store: Store, config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = config(trainer={"workers": workers, "devices": devices})
    needed = int((store.cases["split"] == "train").sum()) * 32**2 * devices * (1 + workers)
    for free, kept in ((4 * needed, False), (4 * needed + 4, True)):
        monkeypatch.setattr(data, "available_memory", lambda free=free: free)
        assert (dataset(store, wanted, "train")._cache is not None) == kept


def test_what_is_asked_for_is_done_whatever_is_free(
    store: Store, config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "available_memory", lambda: 0)
    found = []
    for cache in (True, False):
        cases = dataset(store, config(input={"cache": cache}), "train")
        assert (cases._cache is not None) == cache
        found.append(torch.cat([batch.image for batch in batches(cases, 8)]))
    assert torch.equal(*found)
